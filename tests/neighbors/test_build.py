"""knn_graph end to end: exactness, copies, blocks, tiny pools, memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from tamis.errors import DataError, RecipeError
from tamis.neighbors import assemble, knn_graph, query_blocks, search_block, unit_rows


def points(n=800, d=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def same_bytes(one, two):
    return all(
        getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in ("idx", "dist", "group", "first")
    )


def test_agrees_with_scikit_learn_on_digits():
    X = load_digits().data
    graph = knn_graph(X, k=10)
    graph.validate()
    dist, idx = NearestNeighbors(n_neighbors=11, metric="cosine", algorithm="brute").fit(X).kneighbors(X)
    assert (graph.n_unique, graph.method, graph.recall) == (len(X), "exact", 1.0)
    np.testing.assert_allclose(graph.dist, dist[:, 1:], atol=2e-6)
    clear = (np.diff(dist[:, 1:], axis=1) > 1e-5).all(axis=1)
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(graph.idx[clear][:, :9], idx[clear][:, 1:10])


def test_copies_share_a_node_and_change_nothing_for_the_others():
    X = points()
    plain = knn_graph(X, k=7)
    copied = np.concatenate([X, X[100:300], X[:50], X[:50]])
    graph = knn_graph(copied, k=7)
    graph.validate()
    assert graph.idx.tobytes() == plain.idx.tobytes()
    assert graph.dist.tobytes() == plain.dist.tobytes()
    np.testing.assert_array_equal(
        graph.group, np.concatenate([np.arange(800), np.arange(100, 300), np.arange(50), np.arange(50)])
    )
    assert graph.duplicate_share == pytest.approx(300 / 1100)
    assert graph.n_rows == 1100


def test_copies_between_the_rows_are_left_out_of_idx():
    X = points()
    X[1::2] = X[::2]
    graph = knn_graph(X, k=7)
    np.testing.assert_array_equal(graph.first, np.arange(0, 800, 2))
    assert graph.idx.tobytes() == knn_graph(X[::2], k=7).idx.tobytes()


@pytest.mark.parametrize("unit", [True, False])
def test_input_with_copies_is_not_written_to(unit):
    X = unit_rows(points(), copy=True) if unit else points()
    X[1::2] = X[::2]
    before = X.copy()
    knn_graph(X, k=7)
    np.testing.assert_array_equal(X, before)


def test_near_copies_are_neighbours_of_each_other_and_never_of_themselves():
    rng = np.random.default_rng(1)
    X = unit_rows(np.repeat(rng.normal(size=(20, 32)), 30, axis=0), copy=True)
    X = (X + 3e-8 * rng.normal(size=X.shape)).astype(np.float32)
    graph = knn_graph(X, k=8)
    graph.validate()
    assert graph.n_unique > 500, "the perturbation must survive rounding"
    assert (graph.first[graph.idx] // 30 == (graph.first // 30)[:, None]).all()


@pytest.mark.parametrize("block_size", [1, 33, 799, 800, 4096])
def test_blocks_of_any_size_give_the_same_bytes(block_size):
    X = points()
    assert same_bytes(knn_graph(X, k=9, block_size=block_size), knn_graph(X, k=9, block_size=100))


def test_threads_do_not_show():
    X = points(3000, 64)
    before = faiss.omp_get_max_threads()
    try:
        graphs = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            graphs.append(knn_graph(X, k=9))
    finally:
        faiss.omp_set_num_threads(before)
    assert same_bytes(*graphs)


def test_another_order_of_rows_is_the_same_geometry():
    X = points()
    order = np.random.default_rng(2).permutation(len(X))
    graph, permuted = knn_graph(X, k=9), knn_graph(X[order], k=9)
    assert permuted.dist.tobytes() == graph.dist[order].tobytes()
    np.testing.assert_array_equal(order[permuted.idx], graph.idx[order])


def test_scale_of_rows_does_not_matter_and_exact_multiples_merge():
    X = points()
    graph = knn_graph(np.concatenate([X, 4 * X[:10]]), k=5)
    assert graph.n_unique == 800
    assert graph.idx.tobytes() == knn_graph(X, k=5).idx.tobytes()


@pytest.mark.parametrize("method", ["exact", "ivf", "hnsw"])
@pytest.mark.parametrize("rows", [[0], [0, 0, 0], [0, 1], [0, 1, 0], [0, 1, 2]])
def test_tiny_pools(method, rows):
    X = points(3)[rows]
    graph = knn_graph(X, k=40, method=method)
    graph.validate()
    unique = len(set(rows))
    assert (graph.n_unique, graph.k, graph.n_rows) == (unique, unique - 1, len(rows))
    assert graph.idx.shape == graph.dist.shape == (unique, unique - 1)
    assert graph.recall == 1.0


@pytest.mark.parametrize("method", ["ivf", "hnsw"])
def test_reported_recall_is_that_of_the_graph(method):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(10, 24))[rng.integers(10, size=900)] + 0.3 * rng.normal(size=(900, 24))
    graph, exact = knn_graph(X, k=12, method=method, n_probe=12), knn_graph(X, k=12)
    graph.validate()
    found = np.mean([np.isin(a, b).mean() for a, b in zip(graph.idx, exact.idx, strict=True)])
    assert graph.method == method
    assert graph.recall == pytest.approx(found, abs=1e-12)
    assert graph.recall >= 0.95
    assert same_bytes(graph, knn_graph(X, k=12, method=method, n_probe=12, block_size=64))


def test_recall_from_a_sample_of_rows_is_near_that_of_the_graph():
    X = points(2500, 24)
    graph, exact = knn_graph(X, k=10, method="ivf", n_probe=20), knn_graph(X, k=10)
    found = np.mean([np.isin(a, b).mean() for a, b in zip(graph.idx, exact.idx, strict=True)])
    assert 0.3 < found < 0.99
    assert graph.recall == pytest.approx(found, abs=0.03)


def test_a_runner_can_compute_blocks_apart_and_in_any_order():
    X = unit_rows(points(), copy=True)
    graph = knn_graph(X, k=6)
    blocks = query_blocks(800, 150)
    assert blocks[-1] == (750, 800)
    idx, dist = assemble([search_block(X, *block, 6) for block in reversed(blocks)])
    assert idx.tobytes() == graph.idx.tobytes()
    assert dist.tobytes() == graph.dist.tobytes()
    seen = []

    def backwards(search, todo):
        search = pickle.loads(pickle.dumps(search))
        for block in reversed(todo):
            seen.append(block)
            yield search(block)

    assert same_bytes(knn_graph(X, k=6, block_size=150, map_blocks=backwards), graph)
    assert seen == blocks[::-1]


def test_assemble_refuses_holes_overlaps_and_other_widths():
    X = unit_rows(points(100), copy=True)
    one, two = search_block(X, 0, 50, 4), search_block(X, 50, 100, 4)
    for blocks in ([two], [one, search_block(X, 60, 100, 4)], [one, one, two], [one, search_block(X, 50, 100, 3)]):
        with pytest.raises(DataError, match="follow on each other"):
            assemble(blocks)
    with pytest.raises(DataError, match="at least one block"):
        assemble([])


def test_a_graph_with_a_block_missing_at_the_end_is_refused():
    with pytest.raises(DataError, match="covers 150 of 800 rows"):
        knn_graph(points(), k=3, block_size=150, map_blocks=lambda search, blocks: [search(blocks[0])])


def test_progress_counts_rows():
    calls = []
    knn_graph(points(), k=3, block_size=300, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(300, 800), (600, 800), (800, 800)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_bad_rows(bad):
    X = points(50)
    X[[7, 9]] = bad
    with pytest.raises(DataError, match=r"2 of 50 rows .*\(rows 7, 9\)"):
        knn_graph(X)


def test_no_rows():
    with pytest.raises(DataError, match="at least one"):
        knn_graph(np.empty((0, 8), dtype=np.float32))


@pytest.mark.parametrize(
    ("options", "name"),
    [({"k": 0}, "k"), ({"k": 2.5}, "k"), ({"block_size": 0}, "block_size"), ({"method": "kd"}, "method")],
)
def test_bad_parameters(options, name):
    with pytest.raises(RecipeError, match=f"'{name}' parameter of knn_graph"):
        knn_graph(points(20), **options)


@pytest.mark.parametrize(("start", "stop", "k"), [(0, 0, 1), (-1, 2, 1), (5, 21, 1), (0, 5, 20), (0, 5, -1)])
def test_bad_blocks(start, stop, k):
    with pytest.raises(RecipeError, match="search_block"):
        search_block(unit_rows(points(20), copy=True), start, stop, k)


PEAK_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from tamis.neighbors import GraphBlock, knn_graph

n, d, k, scale = 50_000, 384, 40, float(sys.argv[1])
rng = np.random.default_rng(0)
X = np.empty((n, d), dtype=np.float32)
for start in range(0, n, 5000):
    block = rng.standard_normal((5000, d), dtype=np.float32)
    X[start : start + 5000] = scale * block / np.linalg.norm(block, axis=1, keepdims=True)
knn_graph(X[:6000], k=k)  # libraries loaded, thread buffers there

def first_and_last(search, blocks):
    for place, (start, stop) in enumerate(blocks):
        if place in (0, len(blocks) - 1):
            yield search((start, stop))
        else:  # the search repeats itself; its memory was seen
            yield GraphBlock(start, np.ones((stop - start, k), np.int32), np.ones((stop - start, k), np.float32))

def memory(field):  # not ru_maxrss, which a child process takes over from its parent
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024

before = memory("VmRSS")
knn_graph(X, k=k, map_blocks=first_and_last)
print((memory("VmHWM") - before) / X.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux' /proc")
@pytest.mark.parametrize(("scale", "least", "most"), [(1.0, 0.0, 0.6), (3.0, 0.6, 1.6)], ids=["unit", "to-normalise"])
def test_peak_memory_over_the_input(scale, least, most):
    """Unit input is not copied, other input once; the graph itself is 0.2 of the input and held twice."""
    done = subprocess.run([sys.executable, "-c", PEAK_SCRIPT, str(scale)], capture_output=True, text=True, check=True)
    assert least <= float(done.stdout) <= most
