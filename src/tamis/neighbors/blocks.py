"""The k-NN graph as a list of query blocks that can be computed apart, stored and put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, parameter_error
from tamis.neighbors.approximate import ApproximateIndex
from tamis.neighbors.search import checked_int, search_exact, self_excluded
from tamis.neighbors.similarity import cosine_distance


@dataclass(frozen=True, eq=False)
class GraphBlock:
    """Neighbours of the rows from ``start`` on.

    Attributes
    ----------
    start : int
        First row of the block.
    idx : ndarray of shape (rows, k), int32
        Neighbours, nearest first, the row itself excluded.
    dist : ndarray of shape (rows, k), float32
        ``1 - cosine``.
    """

    start: int
    idx: NDArray[np.int32]
    dist: NDArray[np.float32]


def query_blocks(n: int, block_size: int) -> list[tuple[int, int]]:
    """Cut ``n`` rows into ``(start, stop)`` blocks of ``block_size`` rows, the last one shorter.

    Examples
    --------
    >>> query_blocks(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    checked_int("query_blocks", "block_size", block_size, 1)
    return [(start, min(start + block_size, n)) for start in range(0, n, block_size)]


def search_block(
    X_unit: NDArray[np.float32], start: int, stop: int, k: int, *, index: ApproximateIndex | None = None
) -> GraphBlock:
    """Return the ``k`` nearest other rows of rows ``start:stop``.

    A pure function of its arguments: a runner can compute blocks anywhere, in any order, and store each.

    Parameters
    ----------
    X_unit : ndarray of shape (U, d), float32
        Unit rows without exact copies.
    start, stop : int
        The block.
    k : int
        Neighbours per row, 0 to U - 1.
    index : ApproximateIndex or None, default=None
        Searched instead of brute force, if given.

    Returns
    -------
    GraphBlock

    Raises
    ------
    RecipeError
        If the block or ``k`` does not fit ``X_unit``.

    Examples
    --------
    >>> block = search_block(np.eye(3, dtype=np.float32), 1, 3, 1)
    >>> block.idx.tolist(), block.dist.tolist()
    ([[0], [0]], [[1.0], [1.0]])
    """
    n = X_unit.shape[0]
    if not 0 <= start < stop <= n:
        raise parameter_error("search_block", "start, stop", f"a non-empty range within [0, {n}]", (start, stop))
    if checked_int("search_block", "k", k, 0) > n - 1:
        raise parameter_error("search_block", "k", f"an int in [0, {n - 1}]", k)
    return GraphBlock(start, *rows_searched(X_unit, np.arange(start, stop), k, index=index))


def rows_searched(
    X_unit: NDArray[np.float32], rows: NDArray[np.int64], k: int, *, index: ApproximateIndex | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return neighbours and distances of any ascending ``rows``, each row itself excluded.

    Examples
    --------
    >>> rows_searched(np.eye(3, dtype=np.float32), np.array([0, 2]), 1)[0].tolist()
    [[1], [0]]
    """
    if k == 0:
        return np.empty((rows.size, 0), dtype=np.int32), np.empty((rows.size, 0), dtype=np.float32)
    contiguous = rows.size == rows[-1] - rows[0] + 1
    queries = X_unit[rows[0] : rows[-1] + 1] if contiguous else X_unit[rows]
    if index is None:
        sim, found = search_exact(queries, X_unit, k + 1, block_size=max(1, rows.size))
    else:
        sim, found = index.search(queries, k + 1)
    idx, sim = self_excluded(found, sim, rows, k)
    return idx.astype(np.int32), cosine_distance(sim)


def assemble(blocks: Iterable[GraphBlock]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Put blocks, in any order, together as ``idx`` and ``dist`` of all rows.

    Raises
    ------
    DataError
        If there is no block, or if the blocks overlap, leave rows out or differ in width.

    Examples
    --------
    >>> X = np.eye(3, dtype=np.float32)
    >>> idx, dist = assemble(search_block(X, start, stop, 2) for start, stop in query_blocks(3, 2))
    >>> idx.tolist()
    [[1, 2], [0, 2], [0, 1]]
    """
    ordered = sorted(blocks, key=lambda block: block.start)
    if not ordered:
        raise DataError("A graph needs at least one block of rows. Got none; search the missing blocks first.")
    expected, width = 0, ordered[0].idx.shape[1]
    for block in ordered:
        if block.start != expected or block.idx.shape[1] != width:
            raise DataError(
                f"Blocks must follow on each other and have {width} neighbours. Got a block at row {block.start} with "
                f"{block.idx.shape[1]} neighbours where row {expected} was due; search the blocks again with one "
                "block_size and k."
            )
        expected += block.idx.shape[0]
    return np.concatenate([block.idx for block in ordered]), np.concatenate([block.dist for block in ordered])
