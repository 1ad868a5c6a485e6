"""IVF and HNSW: recall as reported, and nothing missing."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.neighbors import ApproximateIndex, recall_at_k, search_approximate, search_exact, unit_rows


def clustered(n=6000, d=32, n_centres=60, seed=0):
    rng = np.random.default_rng(seed)
    centres = unit_rows(rng.normal(size=(n_centres, d)), copy=True)
    noise = rng.normal(size=(n, d)) / np.sqrt(d)
    return unit_rows(0.7 * centres[rng.integers(n_centres, size=n)] + 0.71 * noise, copy=True)


def overlap(idx, queries, X):
    """Return the mean share of the true neighbours (float64 brute force) in ``idx``."""
    sim = queries.astype(np.float64) @ X.astype(np.float64).T
    true = np.argsort(-sim, axis=1)[:, : idx.shape[1]]
    return np.mean([np.isin(a, b).mean() for a, b in zip(idx, true, strict=True)])


@pytest.mark.parametrize(("method", "n_probe"), [("ivf", 16), ("hnsw", 4)])
def test_recall_is_high_on_clusters_and_equals_what_brute_force_finds(method, n_probe):
    X = clustered()
    found = search_approximate(X[:500], X, 20, method=method, n_probe=n_probe, n_sample=500)
    assert found.recall == pytest.approx(overlap(found.idx, X[:500], X), abs=1e-12)
    assert found.recall >= 0.95
    assert found.n_sampled == 500
    assert (np.diff(found.sim, axis=1) <= 1e-7).all()


def test_default_probes_reach_95_percent_where_clusters_are_about_as_many_as_lists():
    X = clustered(d=128, n_centres=300)
    found = search_approximate(X[:400], X, 10, n_sample=400)
    assert found.recall == pytest.approx(overlap(found.idx, X[:400], X), abs=1e-12)
    assert found.recall >= 0.95


def test_recall_says_so_when_neighbours_are_missed():
    X = unit_rows(np.random.default_rng(0).normal(size=(6000, 64)), copy=True)
    found = search_approximate(X[:300], X, 10, n_probe=1, n_sample=300)
    assert found.recall == pytest.approx(overlap(found.idx, X[:300], X), abs=1e-12)
    assert found.recall < 0.5


def test_recall_on_a_sample_is_near_the_recall_on_all():
    X = clustered()
    everyone = search_approximate(X[:2000], X, 10, n_probe=2, n_sample=2000)
    sampled = search_approximate(X[:2000], X, 10, n_probe=2, n_sample=400)
    assert sampled.n_sampled == 400
    assert sampled.recall == pytest.approx(everyone.recall, abs=0.05)
    assert sampled.recall != everyone.recall


def test_equally_near_rows_count_as_found():
    exact = np.array([[0.1, 0.2]], dtype=np.float32)
    assert recall_at_k(exact, exact) == 1.0
    assert recall_at_k(np.array([[0.2, 0.2]], dtype=np.float32), exact) == 1.0
    assert recall_at_k(np.array([[0.1, 0.3]], dtype=np.float32), exact) == 0.5


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
def test_same_seed_same_bytes(method):
    X = clustered(2000)
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(4)
        one, two = (search_approximate(X, X, 8, method=method, seed=3) for _ in range(2))
        assert faiss.omp_get_max_threads() == 4
    finally:
        faiss.omp_set_num_threads(before)
    assert one.idx.tobytes() == two.idx.tobytes()
    assert one.sim.tobytes() == two.sim.tobytes()
    assert one.recall == two.recall


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_small_pools_and_short_lists_leave_no_entry_missing(method, n):
    X = unit_rows(np.random.default_rng(1).normal(size=(n, 4)), copy=True)
    k = min(n, 60)
    _, idx = ApproximateIndex(X, method=method, n_probe=1, ef_search=1).search(X, k)
    assert (idx >= 0).all()
    assert all(np.unique(row).size == k for row in idx)
    if method == "ivf":
        np.testing.assert_array_equal(idx, search_exact(X, X, k)[1])


def test_ivf_does_not_depend_on_how_queries_are_cut():
    X = clustered(3000)
    index = ApproximateIndex(X)
    whole = index.search(X[:210], 9)
    parts = [index.search(X[start : start + 7], 9) for start in range(0, 210, 7)]
    assert np.concatenate([sim for sim, _ in parts]).tobytes() == whole[0].tobytes()
    assert np.concatenate([idx for _, idx in parts]).tobytes() == whole[1].tobytes()


def test_no_warning_reaches_the_terminal(capfd):
    search_approximate(clustered(800), clustered(800), 3)
    out, err = capfd.readouterr()
    assert out + err == ""


@pytest.mark.parametrize(
    ("options", "name"),
    [({"method": "lsh"}, "method"), ({"n_probe": 0}, "n_probe"), ({"ef_search": 1.5}, "ef_search")],
)
def test_bad_options(options, name):
    with pytest.raises(RecipeError, match=f"'{name}' parameter of ApproximateIndex"):
        ApproximateIndex(clustered(50), **options)


@pytest.mark.parametrize("k", [0, 51])
def test_bad_k(k):
    with pytest.raises(RecipeError, match="'k'"):
        ApproximateIndex(clustered(50)).search(clustered(5), k)


def test_bad_sample():
    with pytest.raises(RecipeError, match="'n_sample'"):
        search_approximate(clustered(50), clustered(50), 2, n_sample=0)
