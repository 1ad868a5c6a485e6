"""``TrainSettings``: all that a training run depends on besides the network and the data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tamis.errors import parameter_error

SCHEDULES = ("linear", "cosine", "constant")
PRECISIONS = ("auto", "float32", "bfloat16")
NORMALISATIONS = ("step", "micro")
OPTIMIZERS = ("adamw", "sgd")
ORDERS = ("shuffled", "given")
_LAST = re.compile(r"last:(0|[1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of a training run. The defaults are those that Token Cleaning was published with.

    Parameters
    ----------
    steps : int, optional
        Optimiser steps. By default as many as ``epochs`` take.
    epochs : float, default 1
        Passes over the examples; used when ``steps`` is None.
    batch_rows : int, default 16
        Examples of an optimiser step, over all devices together.
    micro_tokens : int, default 1024
        Largest padded size of the batch that a device holds at a time, in tokens; a longer example goes alone. It is a
        matter of memory: without dropout it changes a result by rounding only (but see ``normalise="micro"``); with
        dropout also which random numbers fall on which example.
    learning_rate : float, default 1e-4
        At its highest.
    schedule : {"linear", "cosine", "constant"}, default "linear"
        How the learning rate falls after the warm-up, towards 0 after the last step.
    warmup : float, default 0.03
        Share of the steps over which the learning rate rises to its highest, in equal increments.
    optimizer : {"adamw", "sgd"}, default "adamw"
    momentum : float, default 0
        Of SGD.
    weight_decay : float, default 0
        Never applied to one-dimensional weights (norms and biases).
    clip : float, optional
        Largest norm of a step's gradient. By default it is not clipped.
    precision : {"auto", "float32", "bfloat16"}, default "auto"
        ``"bfloat16"``: matrix products in bfloat16, while the weights that learn are kept in float32. ``"float32"``:
        everything in float32. ``"auto"``: bfloat16 on CUDA, else float32.
    tune : str, default "lora"
        Which weights learn: ``"lora"`` (low-rank adapters), ``"full"`` (all), ``"head"`` (the output layer) or
        ``"last:N"`` (the last N layers, the final norm and the output layer; N may be 0).
    lora_rank : int, default 64
    lora_alpha : int, default 16
        Adapters are scaled by ``lora_alpha / lora_rank``.
    lora_dropout : float, default 0.1
    normalise : {"step", "micro"}, default "step"
        ``"step"`` divides the summed loss by the summed weight of the whole optimiser step, so that every kept token
        counts the same. ``"micro"`` is what the published code does: the mean over micro-batches of each one's mean.
        Tokens of a micro-batch with few kept tokens count more there, and results depend on ``micro_tokens`` and on
        the number of devices.
    order : {"shuffled", "given"}, default "shuffled"
        Whether examples come in a fresh permutation each epoch or as the objective has them.
    eval_every : int, default 0
        Steps between two evaluations of the held-out loss, and between two questions whether to stop; 0 for only before
        the first step and after the last.
    patience : int, default 0
        Stop after so many evaluations in a row without a new lowest held-out loss, and go back to the weights that
        had it; 0 for never.
    checkpoint_every : int, default 0
        Steps between two checkpoints; 0 for only after the last.
    seed : int, default 0

    Notes
    -----
    Pang et al., Token Cleaning (arXiv 2502.01968): LoRA of rank 64, alpha 16 and dropout 0.1 on all projections, AdamW,
    learning rate 1e-4, linear with 3 % warm-up, no weight decay, no clipping, 1 epoch of 48 rows a step.

    Examples
    --------
    >>> settings = TrainSettings(epochs=2, batch_rows=4)
    >>> settings.validate()
    >>> settings.n_steps(10)
    5
    >>> TrainSettings(clip=-1).validate()
    Traceback (most recent call last):
    ...
    tamis.errors.RecipeError: The 'clip' parameter of TrainSettings must be a float > 0 or None. Got -1 instead.
    """

    steps: int | None = None
    epochs: float = 1.0
    batch_rows: int = 16
    micro_tokens: int = 1024
    learning_rate: float = 1e-4
    schedule: str = "linear"
    warmup: float = 0.03
    optimizer: str = "adamw"
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    precision: str = "auto"
    tune: str = "lora"
    lora_rank: int = 64
    lora_alpha: int = 16
    lora_dropout: float = 0.1
    normalise: str = "step"
    order: str = "shuffled"
    eval_every: int = 0
    patience: int = 0
    checkpoint_every: int = 0
    seed: int = 0

    def validate(self) -> None:
        """Raise unless every setting is one that training can use.

        Raises
        ------
        RecipeError
            Names the first setting that is not.
        """
        for name, expected, holds in _EXPECTED:
            value = getattr(self, name)
            if not holds(value):
                raise parameter_error("TrainSettings", name, expected, value)
        if self.patience and not self.eval_every:
            raise parameter_error("TrainSettings", "eval_every", "at least 1 when patience is set", self.eval_every)

    def rows_seen(self, n_rows: int) -> int:
        """Examples that are trained on in all, each counted as often as it is seen.

        Examples
        --------
        >>> TrainSettings(epochs=0.5).rows_seen(10), TrainSettings(steps=3, batch_rows=4).rows_seen(10)
        (5, 12)
        """
        return max(1, round(self.epochs * n_rows)) if self.steps is None else self.steps * self.batch_rows

    def n_steps(self, n_rows: int) -> int:
        """Optimiser steps on so many examples; those without any weight do not count."""
        return math.ceil(self.rows_seen(n_rows) / self.batch_rows)

    @property
    def last_layers(self) -> int | None:
        """The N of ``tune="last:N"``, else None."""
        match = _LAST.fullmatch(self.tune)
        return int(match[1]) if match else None

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _whole(lowest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(map(repr, names))}", lambda value: isinstance(value, str) and value in names


def _tuning(value: Any) -> bool:
    return isinstance(value, str) and (value in ("lora", "full", "head") or _LAST.fullmatch(value) is not None)


_EXPECTED: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("steps", "an int >= 1 or None", lambda value: value is None or _whole(1)(value)),
    ("epochs", "a float > 0", _positive),
    ("batch_rows", "an int >= 1", _whole(1)),
    ("micro_tokens", "an int >= 1", _whole(1)),
    ("learning_rate", "a float > 0", _positive),
    ("schedule", *_one_of(*SCHEDULES)),
    ("warmup", "a float in [0, 1]", lambda value: _number(value) and 0 <= value <= 1),
    ("optimizer", *_one_of(*OPTIMIZERS)),
    ("momentum", "a float in [0, 1)", lambda value: _number(value) and 0 <= value < 1),
    ("weight_decay", "a float >= 0", lambda value: _number(value) and value >= 0),
    ("clip", "a float > 0 or None", lambda value: value is None or _positive(value)),
    ("precision", *_one_of(*PRECISIONS)),
    ("tune", "'lora', 'full', 'head' or 'last:N' with N >= 0", _tuning),
    ("lora_rank", "an int >= 1", _whole(1)),
    ("lora_alpha", "an int >= 1", _whole(1)),
    ("lora_dropout", "a float in [0, 1)", lambda value: _number(value) and 0 <= value < 1),
    ("normalise", *_one_of(*NORMALISATIONS)),
    ("order", *_one_of(*ORDERS)),
    ("eval_every", "an int >= 0", _whole(0)),
    ("patience", "an int >= 0", _whole(0)),
    ("checkpoint_every", "an int >= 0", _whole(0)),
    ("seed", "an int", lambda value: isinstance(value, int) and not isinstance(value, bool)),
)
