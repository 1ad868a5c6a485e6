"""``Trained``: how a training run went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class Trained:
    """How a training run went. The network itself was trained in place.

    Attributes
    ----------
    steps : int
        Optimiser steps done.
    weight : float
        Summed weight of the examples trained on: kept tokens for a language model. One seen twice counts twice.
    losses : list of float
        Loss of each step, before it: what was minimised.
    held_out : list of (int, float)
        Steps done, and the held-out loss then.
    stopped_early : bool
        Whether patience ran out.
    stop_reason : str
        Why the rule that was asked stopped it; empty if none did.
    noted : list
        What that rule noted, each time that it was asked.
    kept_step : int
        Steps after which the network had the weights that it has now: ``steps``, or fewer with ``patience``.
    seconds : float
        Spent in all, those before an interruption included.

    Examples
    --------
    >>> trained = Trained(steps=4, held_out=[(0, 2.0), (2, 1.0), (4, 1.5)])
    >>> trained.best_evaluation
    1
    """

    steps: int = 0
    weight: float = 0.0
    losses: list[float] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    stopped_early: bool = False
    stop_reason: str = ""
    noted: list[Any] = field(default_factory=list)
    kept_step: int = 0
    seconds: float = 0.0

    @property
    def best_evaluation(self) -> int:
        """Index of the lowest held-out loss, the first of equal ones."""
        return min(range(len(self.held_out)), key=lambda i: self.held_out[i][1])

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return what ``to_json`` gave."""
        return cls(**{**fields, "held_out": [(step, value) for step, value in fields["held_out"]]})
