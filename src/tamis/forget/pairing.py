"""Which retained and forgotten examples meet in a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cycled(n: int, total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions 0 to n - 1 in a fresh order each time round, ``total`` of them.

    Examples
    --------
    >>> found = cycled(3, 7, np.random.default_rng(0))
    >>> [sorted(found[start : start + 3].tolist()) for start in (0, 3)], len(found)
    ([[0, 1, 2], [0, 1, 2]], 7)
    """
    rounds = -(-total // n)
    return np.concatenate([rng.permutation(n) for _ in range(rounds)])[:total].astype(np.int64)


def paired(
    retain: NDArray[np.int64], forget: NDArray[np.int64], *, plus: bool, epochs: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lay out the pairs of a whole run in the order of its steps.

    Parameters
    ----------
    retain, forget : ndarray of int
        Positions of the examples.
    plus : bool
        An epoch passes over the retained examples (UGradSL+), else over the forgotten ones (UGradSL). The others come
        in random order, again and again.
    epochs : float
    rng : numpy.random.Generator

    Returns
    -------
    retain, forget : ndarray of int, shape (n,)
        Steps take both from the front, the same number of each.

    Examples
    --------
    >>> pairs = paired(np.arange(6), np.array([8, 9]), plus=True, epochs=1, rng=np.random.default_rng(0))
    >>> [sorted(each.tolist()) for each in pairs]
    [[0, 1, 2, 3, 4, 5], [8, 8, 8, 9, 9, 9]]
    """
    total = max(1, round(epochs * len(retain if plus else forget)))
    return retain[cycled(len(retain), total, rng)], forget[cycled(len(forget), total, rng)]
