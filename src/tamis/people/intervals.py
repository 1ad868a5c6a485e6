"""Intervals of workers' scores, which are the lowest of several estimates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tamis.people.strata import Floats

LEVEL = 0.95


def lowest_intervals(score: Floats, se: Floats, used: NDArray[np.bool_]) -> Floats:
    """Return 95 % intervals of each worker's lowest expected score over conditionings.

    The lowest of M estimates is too low when models explain about as much as each other, and a bootstrap of it repeats
    that error: with two to eight equal models its upper end lay below the truth in 6 to 14 % of simulations, instead of
    2.5 %. These ends hold whatever the models share: below, the lowest of the lower ends; above, the lowest of upper
    ends that are each wrong with probability 2.5 % / M (Bonferroni). Normal approximation; sign matrix, peers and LLM
    labels are taken as they are.

    Parameters
    ----------
    score, se : ndarray of shape (n_workers, M)
        Under each conditioning.
    used : ndarray of bool, shape (n_workers, M)
        Which conditionings count for which worker.

    Returns
    -------
    ndarray of shape (2, n_workers)
        Lower and upper end; nan for workers without a score.

    Examples
    --------
    >>> lowest_intervals(np.array([[0.1, 0.3]]), np.array([[0.01, 0.01]]), np.array([[True, True]])).round(3).tolist()
    [[0.08], [0.122]]
    """
    tail = (1 - LEVEL) / 2
    n_used = np.maximum(used.sum(axis=1, keepdims=True), 1)
    low = np.where(used, score + ndtri(tail) * se, np.inf).min(axis=1)
    high = np.where(used, score - ndtri(tail / n_used) * se, np.inf).min(axis=1)
    ends = np.stack([low, high])
    ends[:, ~used.any(axis=1)] = np.nan
    return ends
