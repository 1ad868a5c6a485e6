"""Exact nearest neighbours by brute force over faiss, with an order that can be reproduced."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, parameter_error
from tamis.neighbors.similarity import nearest_first, pair_similarity

DEFAULT_BLOCK_SIZE = 4096
"""Queries per block: faiss cuts its own work at 4096 queries, so larger blocks are no faster."""
_MARGIN = 8
"""Neighbours fetched beyond k, so that float32 rounding at the edge of the list seldom asks for a second look."""
_SETTLE_QUERIES = 64
_SETTLE_ROWS = 8192


def checked_int(owner: str, name: str, value: Any, low: int) -> int:
    """Return ``value`` as an int of at least ``low``, or raise RecipeError.

    Examples
    --------
    >>> checked_int("search_exact", "k", np.int64(3), 1)
    3
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < low:
        raise parameter_error(owner, name, f"an int in [{low}, inf)", value)
    return int(value)


def search_exact(
    queries: NDArray[np.float32], X: NDArray[np.float32], k: int, *, block_size: int = DEFAULT_BLOCK_SIZE
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the ``k`` rows of ``X`` with the largest cosine to each query.

    faiss lists a few more than ``k`` candidates by float32 matrix products, and those are ordered by
    :func:`pair_similarity`. Where the rounding of float32 could have kept a true neighbour off the list (for a product
    of length d it is below ``d * 2**-24``), every row of ``X`` within that bound is looked at again. The result is thus
    the exact one for the vectors as stored, and neither block size nor threads show in it. The second look costs time
    where many rows tie for the last place, as in vectors that hold few distinct values; embeddings do not.

    Parameters
    ----------
    queries : ndarray of shape (Q, d), float32
        Unit rows, as :func:`unit_rows` returns them (not checked again).
    X : ndarray of shape (N, d), float32
        Unit rows. Not copied if C-contiguous.
    k : int
        Neighbours per query, 1 to N.
    block_size : int, default=4096
        Queries searched at a time; bounds the scratch memory.

    Returns
    -------
    sim : ndarray of shape (Q, k), float64
        Cosines, ordered by ascending float32 distance ``1 - cosine``, ties by lower row.
    idx : ndarray of shape (Q, k), int64
        Rows of ``X``. A query that is itself a row of ``X`` finds itself; see :func:`self_excluded`.

    Raises
    ------
    RecipeError
        If ``k`` or ``block_size`` is out of range.
    DataError
        If the dimensions of queries and ``X`` differ.

    Examples
    --------
    >>> from tamis.neighbors import unit_rows
    >>> X = unit_rows([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], copy=True)
    >>> sim, idx = search_exact(X[:1], X, 2)
    >>> idx.tolist(), sim.round(3).tolist()
    ([[0, 1]], [[1.0, 0.707]])
    """
    queries, X = _matching(queries, X)
    checked_int("search_exact", "block_size", block_size, 1)
    if checked_int("search_exact", "k", k, 1) > X.shape[0]:
        raise parameter_error("search_exact", "k", f"an int in [1, {X.shape[0]}], the rows of X", k)
    sim = np.empty((queries.shape[0], k), dtype=np.float64)
    idx = np.empty((queries.shape[0], k), dtype=np.int64)
    for start in range(0, queries.shape[0], block_size):
        block = slice(start, start + block_size)
        sim[block], idx[block] = _search_one_block(queries[block], X, k)
    return sim, idx


def self_excluded(
    idx: NDArray[np.int64], sim: NDArray[np.float64], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Take each query's own row out of its list and cut the list to ``k``.

    A query need not come first in its own list: float32 rows have a length of one only up to rounding, so a near copy
    may lie closer. It may even be missing; then the last entry goes.

    Parameters
    ----------
    idx : ndarray of shape (Q, m), m > k
        Neighbours, nearest first.
    sim : ndarray of shape (Q, m)
    rows : ndarray of shape (Q,)
        Row of each query.
    k : int
        Entries to keep.

    Returns
    -------
    idx : ndarray of shape (Q, k)
    sim : ndarray of shape (Q, k)

    Examples
    --------
    >>> self_excluded(np.array([[4, 0, 2]]), np.array([[1.0, 1.0, 0.5]]), np.array([0]), 2)
    (array([[4, 2]]), array([[1. , 0.5]]))
    """
    is_self = idx == rows[:, None]
    place = np.where(is_self.any(axis=1), is_self.argmax(axis=1), idx.shape[1] - 1)
    columns = np.arange(k)[None, :]
    columns = columns + (columns >= place[:, None])
    return np.take_along_axis(idx, columns, axis=1), np.take_along_axis(sim, columns, axis=1)


def _matching(queries: Any, X: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both as C-contiguous float32 matrices of equal width."""
    queries, X = np.ascontiguousarray(queries, dtype=np.float32), np.ascontiguousarray(X, dtype=np.float32)
    if queries.ndim != 2 or X.ndim != 2 or queries.shape[1] != X.shape[1]:
        raise DataError(
            f"queries and X must be matrices of the same width. Got shapes {queries.shape} and {X.shape} instead; "
            "embed both with the same model."
        )
    return queries, X


def _search_one_block(
    queries: NDArray[np.float32], X: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Search one block of queries: list by float32, order by float64, look again where the list may be short."""
    import faiss

    listed = min(X.shape[0], k + _MARGIN)
    rough, candidates = faiss.knn(queries, X, listed, metric=faiss.METRIC_INNER_PRODUCT)
    sim, idx = nearest_first(pair_similarity(queries, X, candidates), candidates)
    sim, idx = sim[:, :k], idx[:, :k]
    if listed < X.shape[0]:
        # Rows off the list have a float32 product of at most `rough[:, -1]`. Eight units more cover the rounding of
        # the distance to float32, where ties are decided.
        bound = (X.shape[1] + 8) * 2.0**-24 * 1.001
        unsure = np.flatnonzero(sim[:, -1] <= rough[:, -1] + bound)
        for start in range(0, unsure.shape[0], _SETTLE_QUERIES):
            some = unsure[start : start + _SETTLE_QUERIES]
            sim[some], idx[some] = _settle(queries[some], X, sim[some, -1] - bound, k)
    return sim, idx


def _settle(
    queries: NDArray[np.float32], X: NDArray[np.float32], least: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Order all rows whose float32 product with a query reaches ``least``, and return the first ``k``."""
    found_by: list[NDArray[np.int64]] = []
    found: list[NDArray[np.int64]] = []
    for start in range(0, X.shape[0], _SETTLE_ROWS):
        by, row = np.nonzero(queries @ X[start : start + _SETTLE_ROWS].T >= least[:, None])
        found_by.append(by)
        found.append(row + start)
    by, rows = np.concatenate(found_by), np.concatenate(found)
    rows = rows[np.argsort(by, kind="stable")]
    ends = np.cumsum(np.bincount(by, minlength=queries.shape[0]))
    sim = np.empty((queries.shape[0], k), dtype=np.float64)
    idx = np.empty((queries.shape[0], k), dtype=np.int64)
    for query, candidates in enumerate(np.split(rows, ends[:-1])):
        one_sim = pair_similarity(queries[query : query + 1], X, candidates[None, :])
        one_sim, one_idx = nearest_first(one_sim, candidates[None, :])
        sim[query], idx[query] = one_sim[0, :k], one_idx[0, :k]
    return sim, idx
