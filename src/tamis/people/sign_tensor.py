"""How peers' answers go together inside a stratum, and the sign of it that scores are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Joint:
    """Estimated joint distribution of two workers' answers to one task, and what independence would give.

    Attributes
    ----------
    joint : ndarray of shape (K, K)
        P(x, y): probability that one rater of a task writes x and another y.
    independent : ndarray of shape (K, K)
        Q1(x) Q2(y).
    n_tasks : int
        Tasks that the estimate rests on: those with two raters.
    """

    joint: Floats
    independent: Floats
    n_tasks: int

    @property
    def difference(self) -> Floats:
        """P(x, y) - Q1(x) Q2(y), shape (K, K)."""
        return self.joint - self.independent

    def signs(self, *, guard: float = 0.0, ordinal: bool = False) -> Floats:
        """Return D(x, y), shape (K, K), with entries in [-1, 1].

        Parameters
        ----------
        guard : float, default 0
            D is 0 where the difference is below ``guard / sqrt(n_tasks)``: in thin cells its sign is a coin flip.
        ordinal : bool, default False
            Classes are ordered. D is then the mean over the K - 1 cuts "at least k" of the sign of the 2 x 2 difference
            at that cut, so that answers which lie close to each other count as partly alike.

        Examples
        --------
        >>> Joint(np.array([[0.4, 0.1], [0.1, 0.4]]), np.full((2, 2), 0.25), 100).signs()
        array([[ 1., -1.],
               [-1.,  1.]])
        """
        least = guard / np.sqrt(max(1, self.n_tasks))
        if not ordinal:
            return _sign(self.difference, least)
        K = len(self.joint)
        above = _upper_sums(self.difference)  # at [k, l]: x >= k and y >= l
        agree = _sign(np.diagonal(above)[1:], least)  # margins of the difference are 0, so one cell tells all four
        side = np.arange(K)[:, None] >= np.arange(1, K)[None, :]
        apart = np.where(side, 1.0, -1.0)
        return (apart * agree) @ apart.T / max(1, K - 1)


def pair_joint(counts: sparse.csr_array) -> Joint:
    """Estimate from all ordered pairs of distinct raters of each task.

    ``P(x, y) = mean_t c_t(x) (c_t(y) - 1[x = y]) / (n_t (n_t - 1))`` and ``Q(x) = mean_t c_t(x) / n_t`` over tasks with
    two raters or more. The published estimator (:func:`tamis.people.split.split_joint`) splits raters in two groups.

    Parameters
    ----------
    counts : csr_array of shape (T, K)
        How often each task was given each label.

    Examples
    --------
    >>> found = pair_joint(sparse.csr_array([[2.0, 0.0], [1.0, 1.0]]))
    >>> found.joint.tolist(), found.n_tasks
    ([[0.5, 0.25], [0.25, 0.0]], 2)
    """
    n = np.asarray(counts.sum(axis=1)).ravel()
    several = np.flatnonzero(n >= 2)
    c, n = counts[several], n[several]
    if not len(several):
        K = counts.shape[1]
        return Joint(np.zeros((K, K)), np.zeros((K, K)), 0)
    weight = 1 / (n * (n - 1))
    weighted = sparse.diags_array(weight) @ c
    joint = (weighted.T @ c).toarray() - np.diag(np.asarray(weighted.sum(axis=0)).ravel())
    margin = np.asarray((sparse.diags_array(1 / n) @ c).sum(axis=0)).ravel() / len(n)
    return Joint(joint / len(n), np.outer(margin, margin), len(n))


def _sign(difference: Floats, least: float) -> Floats:
    rounding = 1e-12  # a difference that is zero in exact arithmetic must not become a sign
    signs: Floats = np.where(np.abs(difference) < max(least, rounding), 0.0, np.sign(difference))
    return signs


def _upper_sums(matrix: Floats) -> Floats:
    sums: Floats = matrix[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    return sums
