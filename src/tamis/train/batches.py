"""Which examples a step trains on, and how they are cut into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.runs.digests import derive_seed
from tamis.train.objective import Objective
from tamis.train.settings import TrainSettings


@dataclass(frozen=True)
class MicroBatch:
    """Examples that one device holds at a time.

    Attributes
    ----------
    positions : list of int
    denominator : float
        What their summed loss is divided by.
    """

    positions: list[int]
    denominator: float


class Batches:
    """The batches of every step, from the seed alone: any step can be asked for at any time.

    Examples come in a fresh permutation each epoch (or as they are, with ``order="given"``), one epoch after the other
    without a gap, so that every step but the last has ``batch_rows`` of them. Those of weight 0 are left out.

    Parameters
    ----------
    objective : Objective
    settings : TrainSettings

    Raises
    ------
    DataError
        If the weights and lengths do not fit the objective, or no example has any weight.
    """

    def __init__(self, objective: Objective, settings: TrainSettings) -> None:
        self.weights = np.asarray(objective.weights, dtype=np.float64)
        self.lengths = np.maximum(np.asarray(objective.lengths, dtype=np.int64), 1)
        self._settings = settings
        n = len(objective)
        if self.weights.shape != (n,) or self.lengths.shape != (n,):
            raise DataError(
                f"{type(objective).__name__} must give one weight and one length for each of its {n} examples. "
                f"Got shapes {self.weights.shape} and {self.lengths.shape} instead."
            )
        if not np.isfinite(self.weights).all() or (n and self.weights.min() < 0):
            raise DataError(f"The weights of {type(objective).__name__} must be finite and not negative.")
        self.examples: NDArray[np.int64] = np.flatnonzero(self.weights)
        if not len(self.examples):
            raise DataError(f"There is nothing to train on: none of the {n} examples has any weight (kept tokens).")
        self.steps = settings.n_steps(len(self.examples))
        self._orders: tuple[int, NDArray[np.int64]] = (-1, self.examples)

    def of_step(self, step: int) -> NDArray[np.int64]:
        """Positions of the examples of a step, in the order drawn."""
        rows, n = self._settings.batch_rows, len(self.examples)
        drawn = np.arange(step * rows, min((step + 1) * rows, self._settings.rows_seen(n)))
        return np.array([self._order(place // n)[place % n] for place in drawn.tolist()], dtype=np.int64)

    def micro_batches(self, step: int, *, process: int = 0, processes: int = 1) -> list[MicroBatch]:
        """Micro-batches of one process in a step; the gradients of all their losses add up to the step's.

        The denominator is the weight of the whole step, or with ``normalise="micro"`` the micro-batch's own weight
        times the number of micro-batches of the step.
        """
        positions, most = by_length(self.of_step(step), self.lengths), self._settings.micro_tokens
        shares = [micro_batches(positions[start::processes], self.lengths, most) for start in range(processes)]
        total = float(self.weights[positions].sum())
        if self._settings.normalise == "step":
            return [MicroBatch(each, total) for each in shares[process]]
        n = sum(map(len, shares))
        return [MicroBatch(each, float(self.weights[each].sum()) * n) for each in shares[process]]

    def weight_of(self, step: int) -> float:
        """Summed weight of the examples of a step."""
        return float(self.weights[self.of_step(step)].sum())

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._settings.order == "given":
            return self.examples
        if self._orders[0] != epoch:
            rng = np.random.default_rng(derive_seed(self._settings.seed, "epoch", epoch))
            self._orders = epoch, rng.permutation(self.examples)
        return self._orders[1]


def by_length(positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort positions by the length of their examples, shortest first; equal ones stay in order."""
    return positions[np.argsort(lengths[positions], kind="stable")]


def micro_batches(positions: NDArray[np.int64], lengths: NDArray[np.int64], micro_tokens: int) -> list[list[int]]:
    """Cut positions, sorted by length, into batches of at most ``micro_tokens`` tokens with padding.

    An example longer than that makes a batch of its own.

    Examples
    --------
    >>> micro_batches(np.array([2, 0, 1]), np.array([3, 9, 2]), micro_tokens=6)
    [[2, 0], [1]]
    """
    batches: list[list[int]] = []
    for position in positions.tolist():
        if batches and (len(batches[-1]) + 1) * int(lengths[position]) <= micro_tokens:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches
