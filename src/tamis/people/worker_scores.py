"""From the scores of answers to the score of a worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.people.scoring import Terms
from tamis.people.strata import Floats, Indices

FEWEST = 2
"""Answers a worker must have in a stratum for it to count."""


@dataclass(frozen=True, eq=False)
class WorkerScores:
    """Scores under one conditioning; column 0 is the worker, the others are virtual workers in their place.

    Attributes
    ----------
    score : ndarray of shape (n_workers, 1 + V)
        ``S_i = sum_z P(z) mean of the worker's terms in z``. nan where nothing could be scored.
    se : ndarray of shape (n_workers, 1 + V)
        Standard error of the sampling of tasks, ``SE^2 = sum_z P(z)^2 var_z / n_z``; the sign matrix and the peers are
        taken as they are.
    n : ndarray of int, shape (n_workers, 1 + V)
        Answers that went into the score.
    """

    score: Floats
    se: Floats
    n: NDArray[np.int64]


def score_workers(terms: Terms, *, renormalise: bool = False) -> WorkerScores:
    """Average the terms of each worker.

    Parameters
    ----------
    terms : Terms
    renormalise : bool, default False
        Weight strata by their share among those in which the worker was scored. By default strata with fewer than two
        answers count as zero, as published, which pulls workers who saw few strata towards 0.

    Returns
    -------
    WorkerScores
    """
    strata = terms.strata
    shape = (strata.codes.n_workers, terms.values.shape[1])
    totals = [np.zeros(shape) for _ in range(4)]
    for column in range(shape[1]):
        n, mean, variance = group_moments(terms.values[:, column], strata.group, len(strata.group_worker))
        counted = n >= FEWEST
        weight = np.where(counted, strata.weight[strata.group_stratum], 0.0)
        parts = (weight * mean, weight**2 * variance / np.maximum(n, 1), np.where(counted, n, 0), weight)
        for total, part in zip(totals, parts, strict=True):
            total[:, column] = np.bincount(strata.group_worker, np.where(counted, part, 0.0), minlength=shape[0])
    score, variance, n_scored, seen = totals
    none = n_scored == 0
    scale = np.where(none, np.nan, seen if renormalise else 1.0)
    return WorkerScores(score / scale, np.sqrt(variance) / scale, n_scored.astype(np.int64))


def group_moments(values: Floats, group: Indices, n_groups: int) -> tuple[Floats, Floats, Floats]:
    """Return count, mean and unbiased variance of the values in each group, nan left out.

    Examples
    --------
    >>> [part.tolist() for part in group_moments(np.array([1.0, 3.0, np.nan, 5.0]), np.array([0, 0, 0, 1]), 2)]
    [[2.0, 1.0], [2.0, 5.0], [2.0, 0.0]]
    """
    there = ~np.isnan(values)
    kept, at = values[there], group[there]
    n = np.bincount(at, minlength=n_groups).astype(np.float64)
    mean = np.bincount(at, kept, minlength=n_groups) / np.maximum(n, 1)
    variance = np.bincount(at, (kept - mean[at]) ** 2, minlength=n_groups) / np.maximum(n - 1, 1)
    return n, mean, variance
