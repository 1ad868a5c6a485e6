"""Consensus moments: how often an item and its two nearest neighbours carry labels a, b and c."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, parameter_error
from tamis.noise._inputs import checked_labels, checked_neighbors

_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class ConsensusMoments:
    """Relative frequencies of one, two and three labels inside 2-nearest-neighbour triples.

    Parameters
    ----------
    c1 : ndarray of float64, shape (K,)
        ``c1[a]``: share of triples whose own label is ``a``.
    c2 : ndarray of float64, shape (K, K)
        ``c2[a, b]``: share whose own label is ``a`` and first neighbour's is ``b``.
    c3 : ndarray of float64, shape (K, K, K)
        The same with the second neighbour's label ``c``.
    n_triples : int
        Number of triples counted; 0 for moments computed from a model.
    counts : ndarray of int64, shape (K, K, K)
        The raw counts behind ``c3``, never averaged over index permutations.
    """

    c1: NDArray[np.float64]
    c2: NDArray[np.float64]
    c3: NDArray[np.float64]
    n_triples: int
    counts: NDArray[np.int64]

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return int(self.c1.shape[0])


def triple_moments(triples: ArrayLike, n_classes: int, *, symmetric: bool = True) -> ConsensusMoments:
    """Count label triples given as rows (own label, first neighbour's, second neighbour's).

    Parameters
    ----------
    triples : array-like of int, shape (E, 3)
        Rows that hold a -1 anywhere are left out.
    n_classes : int
        Number of classes K, at least 2.
    symmetric : bool, default=True
        Average ``c2`` and ``c3`` over permutations of their indices, as the model is exchangeable.

    Returns
    -------
    ConsensusMoments

    Raises
    ------
    DataError
        If no complete triple is left or a label is out of range.

    Examples
    --------
    >>> moments = triple_moments([[0, 0, 1], [1, 1, 1]], 2, symmetric=False)
    >>> moments.c1, moments.c3[0, 0, 1]
    (array([0.5, 0.5]), np.float64(0.5))
    """
    if n_classes < 2:
        raise parameter_error("triple_moments", "n_classes", "an int in [2, inf)", n_classes)
    rows = np.asarray(triples)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise DataError(f"triple_moments expects rows of three labels, shape (E, 3). Got shape {rows.shape}.")
    values = checked_labels(rows.reshape(-1), n_classes, "triple_moments").reshape(-1, 3)
    values = values[(values >= 0).all(axis=1)]
    codes = (values[:, 0] * n_classes + values[:, 1]) * n_classes + values[:, 2]
    counts = np.bincount(codes, minlength=n_classes**3).reshape((n_classes,) * 3)
    return _from_counts(counts.astype(np.int64), symmetric=symmetric)


def count_moments(labels: ArrayLike, idx: ArrayLike, n_classes: int, *, symmetric: bool = True) -> ConsensusMoments:
    """Count the consensus moments of noisy labels on a nearest-neighbour graph.

    Parameters
    ----------
    labels : array-like of int, shape (N,)
        Noisy labels 0..K-1; -1 is missing and is never counted.
    idx : array-like of int, shape (N, k)
        Neighbours, ascending by distance, the item itself excluded, -1 as padding. The first two neighbours that
        have a label are used; an item without an own label or without two such neighbours gives no triple.
    n_classes : int
        Number of classes K, at least 2.
    symmetric : bool, default=True
        Average ``c2`` over (a, b) and ``c3`` over all six orders of (a, b, c); ``c1`` stays the own label's.

    Returns
    -------
    ConsensusMoments

    Raises
    ------
    DataError
        If labels or neighbours are malformed, or no item has a label and two labelled neighbours.

    Notes
    -----
    HOC consensus statistics (Zhu, Song and Liu, ICML 2021, "Clusterability as an alternative to anchor points"),
    counted once per item on one graph. Triples overlap, so their number overstates the independent evidence.

    Examples
    --------
    >>> moments = count_moments([0, 0, 0, 1, 1, 1], [[1, 2], [0, 2], [1, 0], [4, 5], [3, 5], [4, 3]], 2)
    >>> moments.n_triples, moments.c1
    (6, array([0.5, 0.5]))
    """
    if n_classes < 2:
        raise parameter_error("count_moments", "n_classes", "an int in [2, inf)", n_classes)
    own = checked_labels(labels, n_classes, "count_moments")
    neighbors = checked_neighbors(idx, own.shape[0], "count_moments", at_least=2)
    counts = np.zeros(n_classes**3, dtype=np.int64)
    for start in range(0, own.shape[0], _BLOCK):
        rows = slice(start, start + _BLOCK)
        first, second = first_two_labelled(own, neighbors[rows])
        codes = (own[rows] * n_classes + first) * n_classes + second
        whole = (own[rows] >= 0) & (second >= 0)
        counts += np.bincount(codes[whole], minlength=n_classes**3)
    return _from_counts(counts.reshape((n_classes,) * 3), symmetric=symmetric)


def average_moments(rounds: Sequence[ConsensusMoments]) -> ConsensusMoments:
    """Average moments over rounds, each round weighing the same, as the official HOC code does.

    ``counts`` and ``n_triples`` are summed. Rounds drawn from one data set share items: intervals bootstrapped from
    the sum would be far too narrow.

    Raises
    ------
    DataError
        If there is no round or the rounds differ in their number of classes.

    Examples
    --------
    >>> one, two = triple_moments([[0, 0, 0]], 2), triple_moments([[1, 1, 1]], 2)
    >>> average_moments([one, two]).c1
    array([0.5, 0.5])
    """
    if not rounds or len({one.n_classes for one in rounds}) != 1:
        raise DataError(
            f"average_moments expects at least one round, all with the same number of classes. Got {len(rounds)} "
            f"rounds with {sorted({one.n_classes for one in rounds})} classes."
        )
    return ConsensusMoments(
        c1=np.mean([one.c1 for one in rounds], axis=0),
        c2=np.mean([one.c2 for one in rounds], axis=0),
        c3=np.mean([one.c3 for one in rounds], axis=0),
        n_triples=sum(one.n_triples for one in rounds),
        counts=np.sum([one.counts for one in rounds], axis=0),
    )


def model_moments(T: ArrayLike, p: ArrayLike) -> ConsensusMoments:
    """Return the moments that a transition matrix and a prior imply under 2-NN clusterability.

    ``c1[a] = sum_i p_i T_ia``, ``c2[a,b] = sum_i p_i T_ia T_ib``, ``c3[a,b,c] = sum_i p_i T_ia T_ib T_ic``.

    Parameters
    ----------
    T : array-like, shape (K, K)
        Row = true class, column = observed class, rows sum to 1.
    p : array-like, shape (K,)
        Prior of the true class.

    Examples
    --------
    >>> model_moments([[1.0, 0.0], [0.0, 1.0]], [0.25, 0.75]).c2
    array([[0.25, 0.  ], [0.  , 0.75]])
    """
    rows, prior = np.asarray(T, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] != rows.shape[1] or prior.shape != rows.shape[:1]:
        raise DataError(f"model_moments expects T (K, K) and p (K,). Got shapes {rows.shape} and {prior.shape}.")
    weighted = prior[:, None] * rows
    return ConsensusMoments(
        c1=weighted.sum(axis=0),
        c2=weighted.T @ rows,
        c3=np.einsum("ia,ib,ic->abc", weighted, rows, rows),
        n_triples=0,
        counts=np.zeros((prior.shape[0],) * 3, dtype=np.int64),
    )


def _from_counts(counts: NDArray[np.int64], *, symmetric: bool) -> ConsensusMoments:
    total = int(counts.sum())
    if total == 0:
        raise DataError(
            "No item has a label and two labelled neighbours, so a transition matrix cannot be estimated. "
            "Expected at least one; rate more items or give a graph with more neighbours."
        )
    c1, c2, c3 = moments_of_counts(counts, symmetric=symmetric)
    return ConsensusMoments(c1=c1, c2=c2, c3=c3, n_triples=total, counts=counts)


def moments_of_counts(
    counts: NDArray[np.int64], *, symmetric: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Turn triple counts of shape (..., K, K, K) into the frequencies ``c1, c2, c3``; leading axes are a batch.

    Examples
    --------
    >>> moments_of_counts(np.ones((2, 2, 2), dtype=np.int64), symmetric=True)[0]
    array([0.5, 0.5])
    """
    total = counts.sum(axis=(-3, -2, -1), keepdims=True)
    c3 = counts / total
    c2 = c3.sum(axis=-1)
    c1 = c2.sum(axis=-1)
    if symmetric:
        c2 = (c2 + np.swapaxes(c2, -1, -2)) / 2
        c3 = symmetrised(c3)
    return c1, c2, c3


def symmetrised(c3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average an array (..., K, K, K) over the six orders of its last three axes.

    Examples
    --------
    >>> symmetrised(np.arange(8.0).reshape(2, 2, 2))[0, 0, 1] == (1 + 2 + 4) / 3
    np.True_
    """
    lead = tuple(range(c3.ndim - 3))
    orders = [lead + tuple(c3.ndim - 3 + axis for axis in order) for order in permutations(range(3))]
    total = np.zeros_like(c3)
    for order in orders:
        total += c3.transpose(order)
    return total / len(orders)


def first_two_labelled(
    labels: NDArray[np.int64], neighbors: NDArray[np.signedinteger]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of each row's first two labelled neighbours, -1 where there is none.

    Examples
    --------
    >>> first_two_labelled(np.array([0, -1, 2, 1]), np.array([[1, 2, 3]]))
    (array([2]), array([1]))
    """
    first = np.full(neighbors.shape[0], -1, dtype=np.int64)
    second = first.copy()
    open_rows = np.arange(neighbors.shape[0])
    for column in range(neighbors.shape[1]):
        nearest = neighbors[open_rows, column]
        label = np.where(nearest >= 0, labels[nearest], -1)
        seen, value = open_rows[label >= 0], label[label >= 0]
        has_first = first[seen] >= 0
        second[seen[has_first]] = value[has_first]
        first[seen[~has_first]] = value[~has_first]
        open_rows = open_rows[second[open_rows] < 0]
        if open_rows.size == 0:
            break
    return first, second
