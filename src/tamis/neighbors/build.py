"""From embeddings to a k-NN graph in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, parameter_error
from tamis.neighbors.approximate import RECALL_SAMPLE, ApproximateIndex, recall_at_k, sampled_rows
from tamis.neighbors.blocks import GraphBlock, assemble, query_blocks, rows_searched, search_block
from tamis.neighbors.duplicates import merge_duplicates, unique_rows
from tamis.neighbors.graph import NeighborGraph
from tamis.neighbors.search import DEFAULT_BLOCK_SIZE, checked_int
from tamis.neighbors.vectors import as_matrix, unit_rows

SearchBlock = Callable[[tuple[int, int]], GraphBlock]
MapBlocks = Callable[[SearchBlock, Sequence[tuple[int, int]]], Iterable[GraphBlock]]


def knn_graph(
    X: ArrayLike,
    *,
    k: int = 40,
    method: str = "exact",
    n_probe: int = 4,
    ef_search: int = 128,
    block_size: int = DEFAULT_BLOCK_SIZE,
    seed: int | np.random.Generator = 0,
    progress: Callable[[int, int], object] | None = None,
    map_blocks: MapBlocks | None = None,
) -> NeighborGraph:
    """Return the graph of the ``k`` nearest neighbours by cosine, exact copies merged, rows themselves excluded.

    Parameters
    ----------
    X : array-like of shape (N, d)
        Embeddings, in the order that the caller has made canonical: ties go to the lower row and copies to the first
        row, so another order of rows is another graph. A memory map will do.
    k : int, default=40
        Neighbours per distinct row; cut to U - 1 where there are only U distinct rows.
    method : {"exact", "ivf", "hnsw"}, default="exact"
        Brute force, or an index described at :class:`ApproximateIndex`.
    n_probe : int, default=4
        Lists scanned per query, for ``method="ivf"``.
    ef_search : int, default=128
        Candidate list of a query, for ``method="hnsw"``.
    block_size : int, default=4096
        Rows searched at a time; bounds memory, does not change the result.
    seed : int or numpy.random.Generator, default=0
        Builds an approximate index and draws the 1,000 rows on which its recall is measured. The exact method draws
        nothing.
    progress : callable or None, default=None
        Called as ``progress(rows done, rows in all)`` after each block.
    map_blocks : callable or None, default=None
        ``map_blocks(search, blocks)`` returns ``search(block)`` for each ``(start, stop)`` of ``blocks``, in any order.
        A runner can store each block, skip those it has, or spread them. Default: one after the other.

    Returns
    -------
    NeighborGraph

    Raises
    ------
    DataError
        If ``X`` is not a non-empty real matrix with finite, non-zero rows, or if ``map_blocks`` left out blocks.
    RecipeError
        If a parameter is out of range.

    Notes
    -----
    Copies are found after normalisation, so a row and its double merge if the scaling is exact in float32.

    Memory beyond ``X``: nothing of its size if ``X`` is C-contiguous float32 with unit rows and no copies, else one
    float32 matrix; the graph, twice while it is put together; one block. An approximate index adds a copy of ``X``
    and, while it grows, up to another.

    The exact graph is the same bytes for the same ``X``, whatever the block size and the number of threads, on one
    version of NumPy. The approximate ones depend on faiss' training, which may differ between processors.

    Examples
    --------
    >>> graph = knn_graph([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]], k=1)
    >>> graph.idx.tolist(), graph.group.tolist(), graph.duplicate_share
    ([[1], [0], [1]], [0, 1, 2, 0], 0.25)
    """
    if method not in ("exact", "ivf", "hnsw"):
        raise parameter_error("knn_graph", "method", "'exact', 'ivf' or 'hnsw'", method)
    checked_int("knn_graph", "k", k, 1)
    checked_int("knn_graph", "block_size", block_size, 1)
    unit, group, first = _distinct_unit_rows(X)
    k = min(k, unit.shape[0] - 1)
    rng = np.random.default_rng(seed)
    index = None
    if method != "exact":
        index = ApproximateIndex(unit, method=method, n_probe=n_probe, ef_search=ef_search, seed=rng)
    search = _BlockSearch(unit, k, index)
    blocks = query_blocks(unit.shape[0], block_size)
    results = (map_blocks or map)(search, blocks)
    idx, dist = assemble(_reported(results, progress, unit.shape[0]))
    if idx.shape[0] != unit.shape[0]:
        raise DataError(
            f"map_blocks must return a block for each one asked for. Got a graph that covers {idx.shape[0]} of "
            f"{unit.shape[0]} rows; search the rest."
        )
    recall = 1.0 if index is None else _measured_recall(unit, dist, rng)
    return NeighborGraph(idx=idx, dist=dist, group=group, first=first, method=method, recall=recall)


@dataclass(frozen=True, eq=False)
class _BlockSearch:
    """``search_block`` with everything but the block filled in; picklable unless it holds an index."""

    X_unit: NDArray[np.float32]
    k: int
    index: ApproximateIndex | None

    def __call__(self, block: tuple[int, int]) -> GraphBlock:
        """Search rows ``block[0]`` to ``block[1]``."""
        return search_block(self.X_unit, *block, self.k, index=self.index)


def _distinct_unit_rows(X: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct unit rows with ``group`` and ``first``, in memory of ours or of X unchanged."""
    matrix = as_matrix(X)
    unit = unit_rows(matrix, copy=False)
    copies = merge_duplicates(unit)
    if copies.n_merged:
        unit = unique_rows(unit, copies.first, in_place=not np.may_share_memory(unit, matrix))
    return unit, copies.group, copies.first


def _reported(
    results: Iterable[GraphBlock], progress: Callable[[int, int], object] | None, total: int
) -> Iterator[GraphBlock]:
    """Pass blocks on and count their rows."""
    done = 0
    for block in results:
        done += block.idx.shape[0]
        if progress is not None:
            progress(done, total)
        yield block


def _measured_recall(unit: NDArray[np.float32], dist: NDArray[np.float32], rng: np.random.Generator) -> float:
    """Search a sample of rows exactly and return the recall of the graph on them."""
    rows = sampled_rows(unit.shape[0], RECALL_SAMPLE, rng)
    _, exact_dist = rows_searched(unit, rows, dist.shape[1])
    return recall_at_k(dist[rows], exact_dist)
