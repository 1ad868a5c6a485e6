"""Two readings of the same record, and of neighbours: joint frequencies, kappas, and what a matrix implies for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tamis.noise import TransitionMatrix, model_moments

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def joint_of(first: Labels, second: Labels, n_classes: int) -> Floats:
    """Symmetrised joint frequencies of two readings, shape (K, K): which of them came first is forgotten."""
    counts = np.bincount(first * n_classes + second, minlength=n_classes**2).reshape(n_classes, n_classes)
    return np.asarray((counts + counts.T) / (2 * counts.sum()), dtype=np.float64)


def kappa(joint: Floats) -> float:
    """Cohen's kappa of a joint table: agreement beyond chance as a share of what is possible."""
    chance = float(joint.sum(axis=1) @ joint.sum(axis=0))
    return (float(np.trace(joint)) - chance) / (1.0 - chance) if chance < 1.0 else float("nan")


def conditional(joint: Floats) -> Floats:
    """P(second = j | first = i) from a joint table; a row of nan for a class that never occurs."""
    total = joint.sum(axis=1, keepdims=True)
    return np.divide(joint, total, out=np.full(joint.shape, np.nan), where=total > 0)


def implied_repeat(matrix: TransitionMatrix) -> Floats:
    """P(second = j | first = i) of two readings of one record, if T were the noise of each reading.

    ``c2[i, j] / c1[i]`` with ``c2 = T' diag(p) T`` (HOC's second moment): what a repeat can be held against. T itself
    cannot, since a repeat compares two noisy readings and not a reading with the truth.
    """
    return conditional(model_moments(matrix.T, matrix.p).c2)


def balanced_root(joint: Floats) -> tuple[Floats, float]:
    """T from two readings, *if* errors are balanced: as many true i written j as true j written i.

    Two readings give K(K+1)/2 - 1 numbers and T with p has K^2 - 1, so T is not identified without such an assumption.
    With ``p_i T_ij = p_j T_ji`` the prior equals the label frequencies m, ``joint = diag(m) T T``, and the root with
    non-negative eigenvalues is ``T = D^-1/2 (D^-1/2 joint D^-1/2)^1/2 D^1/2`` with ``D = diag(m)``.

    Returns
    -------
    T : ndarray of shape (K, K)
        Negative entries cut off, rows scaled to sum to one.
    cut : float
        What had to be cut: the largest of the negative entries and negative eigenvalues, in absolute value.
    """
    scale = np.sqrt(joint.sum(axis=1))
    values, vectors = np.linalg.eigh(joint / np.outer(scale, scale))
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    T = root * scale[None, :] / scale[:, None]
    cut = max(0.0, -float(T.min()), -float(values.min()))
    T = np.maximum(T, 0.0)
    return T / T.sum(axis=1, keepdims=True), cut


@dataclass(frozen=True)
class Clusterability:
    """How far neighbours agree, as a share of how far a record agrees with itself read again.

    If a share s of the neighbours had the record's own true class and the others any class at random, every covariance
    between neighbours would be s times that of the repeat: the ratio estimates s. Intervals are 95 %, from resampled
    records; neighbour pairs share records, so they are rather too narrow.

    Attributes
    ----------
    repeat, neighbor, ratio : tuple of float
        Value, lower and upper end. The ratio is nan where the repeat does not clearly exceed chance.
    """

    repeat: tuple[float, float, float]
    neighbor: tuple[float, float, float]
    ratio: tuple[float, float, float]


def exact_kappa(first: Labels, second: Labels) -> float:
    """Cohen's kappa of two readings whose order is forgotten: what a matrix of classes is about."""
    return kappa(joint_of(first, second, int(max(first.max(), second.max())) + 1))


def rank_correlation(first: Labels, second: Labels) -> float:
    """Spearman's correlation: blind to a shift of one reading against the other."""
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def clusterability(
    measure: Callable[[Labels, Labels], float],
    first: Labels,
    second: Labels,
    nearest: Labels,
    *,
    seed: int,
    draws: int = 1000,
) -> Clusterability:
    """Compare two readings of a record with readings of the record and its neighbour, taken in different positions.

    Parameters
    ----------
    measure : callable
        :func:`exact_kappa` or :func:`rank_correlation`.
    first, second : ndarray of shape (n,)
        Classes of the two readings.
    nearest : ndarray of shape (n,)
        Row of each record's nearest neighbour; -1 leaves the record out.
    seed, draws : int
        Bootstrap.
    """
    rows = np.flatnonzero(nearest >= 0)
    near = nearest[rows]
    rng = np.random.default_rng(seed)

    def both(drawn: NDArray[np.intp]) -> tuple[float, float]:
        own, other = rows[drawn], near[drawn]
        crossed = (measure(first[own], second[other]) + measure(second[own], first[other])) / 2
        return measure(first[own], second[own]), crossed

    repeat, neighbor = both(np.arange(rows.size))
    samples = np.array([both(rng.integers(rows.size, size=rows.size)) for _ in range(draws)])
    tails = [0.025, 0.975]
    ends = np.quantile(samples, tails, axis=0)
    ratio = (float("nan"),) * 3
    if ends[0, 0] > 0:
        low, high = np.quantile(samples[:, 1] / samples[:, 0], tails)
        ratio = (neighbor / repeat, float(low), float(high))
    return Clusterability(
        (repeat, float(ends[0, 0]), float(ends[1, 0])), (neighbor, float(ends[0, 1]), float(ends[1, 1])), ratio
    )
