"""Intervals of workers' scores: a parametric bootstrap of the lowest score over models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.people.scoring import Terms
from tamis.people.strata import Floats
from tamis.people.worker_scores import FEWEST, group_moments

LEVEL = 0.95
DRAWS_AT_ONCE = 1 << 23
_Z95 = 1.959963984540054


def score_covariance(conditions: Sequence[Terms], *, renormalise: bool = False) -> Floats:
    """Covariance of each worker's scores under several conditionings, shape (n_workers, M, M).

    An answer moves the score by ``u = P(z) / n_z (x - mean_z) sqrt(n_z / (n_z - 1))``, with x its term; covariances are
    sums of products of these over the worker's answers. On the diagonal that is the squared standard error of
    :func:`tamis.people.worker_scores.score_workers`.

    Parameters
    ----------
    conditions : sequence of Terms, length M
    renormalise : bool, default False
        As in :func:`tamis.people.worker_scores.score_workers`.
    """
    codes = conditions[0].strata.codes
    moves = []
    for terms in conditions:
        strata, values = terms.strata, terms.values[:, 0]
        n, mean, _ = group_moments(values, strata.group, len(strata.group_worker))
        counted = n >= FEWEST
        weight = np.where(counted, strata.weight[strata.group_stratum], 0.0)
        if renormalise:
            seen = np.bincount(strata.group_worker, weight, minlength=codes.n_workers)
            weight = weight / np.where(seen > 0, seen, 1.0)[strata.group_worker]
        scale = weight / np.sqrt(np.where(counted, n * (n - 1), 1.0))
        move = np.zeros(len(codes))
        move[strata.order] = np.nan_to_num(scale[strata.group] * (values - mean[strata.group]))
        moves.append(move)
    M = len(moves)
    covariance = np.empty((codes.n_workers, M, M))
    for i in range(M):
        for j in range(i + 1):
            shared = np.bincount(codes.worker, moves[i] * moves[j], minlength=codes.n_workers)
            covariance[:, i, j] = covariance[:, j, i] = shared
    return covariance


def bootstrap_scores(
    score: Floats, covariance: Floats, used: NDArray[np.bool_], *, n_bootstrap: int, rng: np.random.Generator
) -> Floats:
    """Return 95 % intervals of each worker's lowest score over conditionings.

    The scores of a worker are drawn together from the normal distribution with their estimates as mean and
    :func:`score_covariance` as covariance, and the lowest is taken in every replicate. Where one conditioning counts,
    nothing needs to be drawn: score plus and minus 1.96 standard errors. Sign matrix and peers stay as they are.

    Parameters
    ----------
    score : ndarray of shape (n_workers, M)
        Under each conditioning.
    covariance : ndarray of shape (n_workers, M, M)
    used : ndarray of bool, shape (n_workers, M)
        Which conditionings count for which worker.
    n_bootstrap : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (2, n_workers)
        Lower and upper end; nan for workers without a score.

    Examples
    --------
    >>> score, covariance = np.array([[0.1, 0.3]]), 1e-4 * np.eye(2)[None]
    >>> used, rng = np.array([[True, True]]), np.random.default_rng(0)
    >>> bootstrap_scores(score, covariance, used, n_bootstrap=1000, rng=rng).round(2).ravel().tolist()
    [0.08, 0.12]
    """
    lowest = np.where(used, score, np.inf).argmin(axis=1)
    every = np.arange(len(score))
    middle, half = score[every, lowest], _Z95 * np.sqrt(covariance[every, lowest, lowest])
    ends: Floats = np.stack([middle - half, middle + half])
    several = np.flatnonzero(used.sum(axis=1) > 1)
    size = max(1, DRAWS_AT_ONCE // (n_bootstrap * score.shape[1]))
    for start in range(0, len(several), size):
        at = several[start : start + size]
        noise = rng.standard_normal((len(at), n_bootstrap, score.shape[1]), dtype=np.float32)
        drawn = score[at][:, None, :] + noise @ _roots(covariance[at]).astype(np.float32).transpose(0, 2, 1)
        minimum = np.where(used[at][:, None, :], drawn, np.inf).min(axis=2)
        ends[:, at] = np.quantile(minimum, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    ends[:, ~used.any(axis=1)] = np.nan
    return ends


def _roots(covariance: Floats) -> Floats:
    """Matrix square roots, for matrices that may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    roots: Floats = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return roots
