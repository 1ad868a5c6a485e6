"""Cosines whose last bit depends on the two vectors alone.

A matrix product rounds differently with the shape of the block, the number of threads and the processor. Neighbours are
therefore *found* by matrix products and then *ordered* by the similarity computed here: products of float32 values,
which float64 holds exactly, added up in NumPy's fixed pairwise order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 19
"""Float64 scratch per chunk of pairs; small enough for a core's second-level cache."""


def pair_similarity(
    queries: NDArray[np.float32], X: NDArray[np.float32], idx: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return ``queries[i] . X[idx[i, j]]`` in float64, the same bits however the queries are cut into blocks.

    Parameters
    ----------
    queries : ndarray of shape (Q, d), float32
    X : ndarray of shape (N, d), float32
    idx : ndarray of shape (Q, m), integer
        Rows of ``X``; -1 marks a missing entry.

    Returns
    -------
    ndarray of shape (Q, m), float64
        ``-inf`` where ``idx`` is -1.

    Examples
    --------
    >>> X = np.eye(2, dtype=np.float32)
    >>> pair_similarity(X, X, np.array([[0, 1], [1, -1]]))
    array([[  1.,   0.],
           [  1., -inf]])
    """
    n_queries, width = idx.shape
    sim = np.empty(idx.shape, dtype=np.float64)
    pairs = max(1, _CHUNK_BYTES // (8 * X.shape[1]))
    columns = max(1, min(width, pairs))
    rows = max(1, pairs // columns)
    for top in range(0, n_queries, rows):
        wide = queries[top : top + rows, None, :].astype(np.float64)
        for left in range(0, width, columns):
            products = X[idx[top : top + rows, left : left + columns]].astype(np.float64)
            products *= wide
            sim[top : top + rows, left : left + columns] = products.sum(axis=-1)
    sim[idx < 0] = -np.inf
    return sim


def cosine_distance(sim: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``1 - sim`` clipped at zero, as float32; a missing entry (``-inf``) is at distance infinity.

    Unit float32 rows have a length of one only to within 1e-6, so distances below about 1e-6 mean "next to equal" and
    their order is not to be trusted.

    Examples
    --------
    >>> cosine_distance(np.array([1.0000001, 0.25, -np.inf]))
    array([0.  , 0.75,  inf], dtype=float32)
    """
    return np.maximum(1.0 - sim, 0.0).astype(np.float32)


def nearest_first(sim: NDArray[np.float64], idx: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sort each row by ascending float32 distance, ties by lower index, missing entries last.

    Examples
    --------
    >>> nearest_first(np.array([[0.5, 0.9, 0.5]]), np.array([[7, 3, 2]]))[1]
    array([[3, 2, 7]])
    """
    order = np.lexsort((idx, cosine_distance(sim)), axis=-1)
    return np.take_along_axis(sim, order, axis=-1), np.take_along_axis(idx, order, axis=-1)
