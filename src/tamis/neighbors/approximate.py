"""Approximate nearest neighbours over faiss, never without a measured recall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import parameter_error
from tamis.neighbors.search import checked_int, search_exact
from tamis.neighbors.similarity import cosine_distance, nearest_first, pair_similarity

ApproximateMethod = Literal["ivf", "hnsw"]
RECALL_SAMPLE = 1000
_HNSW_LINKS = 32


@dataclass(frozen=True, eq=False)
class ApproximateSearch:
    """Neighbours from an approximate index, and how many of the true ones it found.

    Attributes
    ----------
    sim : ndarray of shape (Q, k), float64
        Cosines, nearest first, ties by lower row.
    idx : ndarray of shape (Q, k), int64
        Rows of the searched matrix.
    recall : float
        Mean share of the true ``k`` neighbours found, over a random sample of the queries (see :func:`recall_at_k`).
    n_sampled : int
        Queries in that sample. Over 1,000 queries the standard error is at most 0.016 and usually far less.
    """

    sim: NDArray[np.float64]
    idx: NDArray[np.int64]
    recall: float
    n_sampled: int


class ApproximateIndex:
    """An inverted-file or HNSW index over unit rows.

    Parameters
    ----------
    X : ndarray of shape (N, d), float32
        Unit rows (:func:`unit_rows`). The index holds a copy of them, and growing it may hold half as much again.
    method : {"ivf", "hnsw"}, default="ivf"
        ``"ivf"`` clusters the rows into ``4 * sqrt(N)`` lists by spherical k-means and scans the ``n_probe`` lists
        nearest to a query. ``"hnsw"`` builds a hierarchical small-world graph (Malkov and Yashunin,
        arXiv:1603.09320), on one thread with a faiss whose parallel build gives another graph each time.
    n_probe : int, default=4
        Lists scanned per query (``"ivf"``). More cost time and find more.
    ef_search : int, default=128
        Length of the candidate list of a query (``"hnsw"``). Raised to ``2 * k`` where that is more.
    seed : int or numpy.random.Generator, default=0
        Starts k-means, draws the levels of HNSW.

    Raises
    ------
    RecipeError
        If a parameter is not one of the above.

    Notes
    -----
    Either pays off on vectors that form clusters; on vectors without structure both need settings at which they are
    slower than the exact search. Measure the recall on your own data.

    Examples
    --------
    >>> from tamis.neighbors import unit_rows
    >>> X = unit_rows(np.random.default_rng(0).normal(size=(300, 8)), copy=False)
    >>> sim, idx = ApproximateIndex(X, method="ivf", n_probe=8).search(X[:2], 3)
    >>> idx[:, 0].tolist()
    [0, 1]
    """

    def __init__(
        self,
        X: NDArray[np.float32],
        *,
        method: str = "ivf",
        n_probe: int = 4,
        ef_search: int = 128,
        seed: int | np.random.Generator = 0,
    ) -> None:
        if method not in ("ivf", "hnsw"):
            raise parameter_error("ApproximateIndex", "method", "'ivf' or 'hnsw'", method)
        self.X = np.ascontiguousarray(X, dtype=np.float32)
        self.method = method
        self.n_probe = checked_int("ApproximateIndex", "n_probe", n_probe, 1)
        self.ef_search = checked_int("ApproximateIndex", "ef_search", ef_search, 1)
        faiss_seed = int(np.random.default_rng(seed).integers(2**31 - 1))
        self._index = _built_ivf(self.X, faiss_seed) if method == "ivf" else _built_hnsw(self.X, faiss_seed)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return about the ``k`` nearest rows of ``X`` to each query, as :func:`search_exact` does.

        A query for which the index finds fewer than ``k`` rows (small lists, HNSW islands) is searched exactly, so
        that no entry is ever missing.

        Returns
        -------
        sim : ndarray of shape (Q, k), float64
        idx : ndarray of shape (Q, k), int64
        """
        if checked_int("ApproximateIndex.search", "k", k, 1) > self.X.shape[0]:
            raise parameter_error("ApproximateIndex.search", "k", f"an int in [1, {self.X.shape[0]}]", k)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        candidates = self._search_ivf(queries, k) if self.method == "ivf" else self._search_hnsw(queries, k)
        sim, idx = nearest_first(pair_similarity(queries, self.X, candidates), candidates)
        short = np.flatnonzero(candidates.min(axis=1, initial=0) < 0)
        if short.size:
            sim[short], idx[short] = search_exact(queries[short], self.X, k)
        return sim, idx

    def _search_ivf(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Scan the lists chosen by the exact search over centroids, so that block size cannot change the choice."""
        centroids = self._index.quantizer.reconstruct_n(0, self._index.nlist)
        n_probe = min(self.n_probe, self._index.nlist)
        self._index.nprobe = n_probe
        near, lists = search_exact(queries, centroids, n_probe)
        found: NDArray[np.int64] = self._index.search_preassigned(queries, k, lists, near.astype(np.float32))[1]
        return found

    def _search_hnsw(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        self._index.hnsw.efSearch = max(self.ef_search, 2 * k)
        found: NDArray[np.int64] = self._index.search(queries, k)[1]
        return found


def search_approximate(
    queries: NDArray[np.float32],
    X: NDArray[np.float32],
    k: int,
    *,
    method: str = "ivf",
    n_probe: int = 4,
    ef_search: int = 128,
    n_sample: int = RECALL_SAMPLE,
    seed: int | np.random.Generator = 0,
) -> ApproximateSearch:
    """Search an approximate index over ``X`` and measure its recall against the exact search.

    Parameters
    ----------
    queries : ndarray of shape (Q, d), float32
        Unit rows.
    X : ndarray of shape (N, d), float32
        Unit rows.
    k : int
        Neighbours per query, 1 to N.
    method, n_probe, ef_search
        See :class:`ApproximateIndex`.
    n_sample : int, default=1000
        Queries, drawn without replacement, that are searched exactly too; all of them if there are fewer.
    seed : int or numpy.random.Generator, default=0
        Builds the index and draws the sample.

    Returns
    -------
    ApproximateSearch

    Raises
    ------
    RecipeError
        If a parameter is out of range.

    Examples
    --------
    >>> from tamis.neighbors import unit_rows
    >>> X = unit_rows(np.random.default_rng(0).normal(size=(300, 4)), copy=False)
    >>> search_approximate(X[:50], X, 5, n_probe=70).recall
    1.0
    """
    checked_int("search_approximate", "n_sample", n_sample, 1)
    rng = np.random.default_rng(seed)
    index = ApproximateIndex(X, method=method, n_probe=n_probe, ef_search=ef_search, seed=rng)
    sim, idx = index.search(queries, k)
    sample = sampled_rows(queries.shape[0], n_sample, rng)
    true_sim, _ = search_exact(queries[sample], X, k)
    recall = recall_at_k(cosine_distance(sim[sample]), cosine_distance(true_sim))
    return ApproximateSearch(sim=sim, idx=idx, recall=recall, n_sampled=sample.shape[0])


def recall_at_k(dist: NDArray[np.float32], exact_dist: NDArray[np.float32]) -> float:
    """Return the mean share of entries in ``dist`` that are no farther than the true k-th neighbour.

    Counting by distance makes another row at the same distance as good as the true one (Aumueller, Bernhardsson and
    Faithfull, "ANN-Benchmarks", 2018, section 2.1).

    Parameters
    ----------
    dist : ndarray of shape (Q, k)
        Distances of the neighbours found.
    exact_dist : ndarray of shape (Q, k)
        Distances of the true neighbours, ascending.

    Examples
    --------
    >>> recall_at_k(np.array([[0.1, 0.4]], np.float32), np.array([[0.1, 0.2]], np.float32))
    0.5
    """
    if dist.size == 0:
        return 1.0
    return float((dist <= exact_dist[:, -1:]).mean())


def sampled_rows(n: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``min(n, size)`` distinct rows out of ``n``, ascending.

    Examples
    --------
    >>> sampled_rows(3, 10, np.random.default_rng(0)).tolist()
    [0, 1, 2]
    """
    return np.sort(rng.choice(n, size=min(n, size), replace=False))


def _built_ivf(X: NDArray[np.float32], seed: int) -> Any:
    """Return a filled inverted-file index."""
    import faiss

    n, d = X.shape
    n_lists = min(n, max(1, round(4 * n**0.5)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(d), d, n_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    # Lists of fewer than 39 rows are meant here; faiss would print a warning from C++.
    index.cp.min_points_per_centroid = 1
    index.train(X)
    index.add(X)
    return index


def _built_hnsw(X: NDArray[np.float32], seed: int) -> Any:
    """Return a filled HNSW index."""
    import faiss

    library: Any = faiss  # its type stubs leave out the random generator
    index = library.IndexHNSWFlat(X.shape[1], _HNSW_LINKS, library.METRIC_INNER_PRODUCT)
    index.hnsw.rng = library.RandomGenerator(seed)
    with _reproducible_build(index):
        index.add(X)
    return index


@contextmanager
def _reproducible_build(index: Any) -> Iterator[None]:
    """Run the block on one faiss thread, unless this faiss links HNSW nodes in an order that threads cannot change.

    The order-free build came with https://github.com/facebookresearch/faiss/pull/5486, first behind a switch.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    switched_on = getattr(faiss.cvar, "hnsw_deterministic_build", True)
    if not (hasattr(index.hnsw, "merge_reverse_links_deterministic") and switched_on):
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
