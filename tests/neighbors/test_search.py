"""The exact search against float64 brute force and integer arithmetic."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.neighbors import cosine_distance, pair_similarity, search_exact, self_excluded, unit_rows


def gaussian(n, d, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)), copy=True)


def brute_force(queries, X, k):
    sim = queries.astype(np.float64) @ X.astype(np.float64).T
    dist = np.maximum(1 - sim, 0).astype(np.float32)
    order = np.lexsort((np.broadcast_to(np.arange(len(X)), dist.shape), dist), axis=1)[:, :k]
    return np.take_along_axis(sim, order, axis=1), order


def signs(n, seed=0):
    """Return distinct rows of +-1/4 in 16 dimensions: unit length exactly, and ties by the hundred."""
    codes = np.random.default_rng(seed).choice(2**16, size=n, replace=False)
    return ((codes[:, None] >> np.arange(16)) % 2 * 2 - 1).astype(np.float32) / 4


@pytest.mark.parametrize(
    ("n", "d", "k"), [(1500, 48, 12), (1500, 3, 12), (1500, 1, 5), (30, 8, 30), (2, 5, 1), (1, 2, 1)]
)
def test_equals_float64_brute_force(n, d, k):
    X, queries = gaussian(n, d), gaussian(200, d, seed=1)
    sim, idx = search_exact(queries, X, k)
    true_sim, true_idx = brute_force(queries, X, k)
    np.testing.assert_array_equal(idx, true_idx)
    np.testing.assert_allclose(sim, true_sim, atol=1e-14)


def test_ties_go_to_the_lower_row_also_at_the_edge_of_the_list():
    X = signs(3000)
    sim, idx = search_exact(X[:300], X, 10)
    whole = np.rint(X * 4).astype(np.int64)
    products = whole[:300] @ whole.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(idx, expected)
    np.testing.assert_array_equal(sim, np.take_along_axis(products, expected, axis=1) / 16)
    bare = faiss.knn(X[:300], X, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
    assert (np.sort(bare, axis=1) != np.sort(idx, axis=1)).any(), "faiss alone breaks these ties otherwise"


def test_neighbours_closer_than_float32_can_tell_are_ordered_by_float64():
    rng = np.random.default_rng(2)
    base = rng.normal(size=64)
    X = unit_rows(base + 3e-4 * rng.normal(size=(2000, 64)), copy=True)
    true_idx = brute_force(X[:50], X, 15)[1]
    idx = search_exact(X[:50], X, 15)[1]
    np.testing.assert_array_equal(idx, true_idx)
    bare = faiss.knn(X[:50], X, 15, metric=faiss.METRIC_INNER_PRODUCT)[1]
    assert (bare != true_idx).any(), "the case must be hard for float32"


@pytest.mark.parametrize("X", [gaussian(1200, 40), signs(1200)], ids=["gaussian", "ties"])
@pytest.mark.parametrize("block_size", [1, 7, 19, 20, 500])
def test_block_size_changes_no_bit(X, block_size):
    whole_sim, whole_idx = search_exact(X[:60], X, 9)
    sim, idx = search_exact(X[:60], X, 9, block_size=block_size)
    assert sim.tobytes() == whole_sim.tobytes()
    assert idx.tobytes() == whole_idx.tobytes()


def test_pair_similarity_is_symmetric_and_independent_of_shape():
    X = gaussian(400, 384)
    everyone = np.broadcast_to(np.arange(400), (400, 400))
    whole = pair_similarity(X, X, everyone)
    np.testing.assert_array_equal(whole, whole.T)
    one_by_one = [pair_similarity(X[i : i + 1], X, np.array([[j]]))[0, 0] for i, j in [(0, 1), (5, 399), (77, 77)]]
    assert one_by_one == [whole[0, 1], whole[5, 399], whole[77, 77]]
    wide = pair_similarity(X[:1], X, np.tile(np.arange(400), 20)[None])
    np.testing.assert_array_equal(wide[0, :400], whole[0])


def test_distance_is_clipped_and_missing_entries_are_infinitely_far():
    np.testing.assert_array_equal(
        cosine_distance(np.array([1.5, 1.0, 0.0, -1.0, -np.inf])), np.array([0, 0, 1, 2, np.inf], dtype=np.float32)
    )


def test_self_is_taken_out_wherever_it_is():
    idx = np.array([[3, 1, 2], [1, 3, 0], [4, 3, 2], [5, 6, 7]])
    sim = np.array([[0.9, 0.8, 0.7]] * 4)
    left, left_sim = self_excluded(idx, sim, np.array([3, 3, 2, 0]), 2)
    assert left.tolist() == [[1, 2], [1, 0], [4, 3], [5, 6]]
    assert left_sim.tolist() == [[0.8, 0.7], [0.9, 0.7], [0.9, 0.8], [0.9, 0.8]]


@pytest.mark.parametrize("k", [0, -1, 11, 2.0, True, "3"])
def test_bad_k(k):
    X = gaussian(10, 4)
    with pytest.raises(RecipeError, match="'k' parameter of search_exact"):
        search_exact(X, X, k)


def test_bad_block_size():
    X = gaussian(10, 4)
    with pytest.raises(RecipeError, match="'block_size'"):
        search_exact(X, X, 2, block_size=0)


def test_widths_must_agree():
    with pytest.raises(DataError, match="same width"):
        search_exact(gaussian(3, 4), gaussian(3, 5), 1)
