"""NeighborGraph: what it accepts, what it refuses, and the disk."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.neighbors import NeighborGraph, knn_graph

IDX = [[1, 2], [0, 2], [0, -1]]
DIST = [[0.1, 0.2], [0.1, 0.3], [0.2, 0.0]]


@pytest.fixture
def graph():
    X = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    X[250:] = X[:50]
    return knn_graph(X, k=5)


def test_from_arrays_sorts_and_pads():
    graph = NeighborGraph.from_arrays(
        [[2, 1, -1], [2, 0, -1], [-1, 1, 0]], [[0.5, 0.2, 9], [0.3, 0.3, 0], [np.nan, 0.1, -1e-7]]
    )
    assert graph.idx.tolist() == [[1, 2, -1], [0, 2, -1], [0, 1, -1]]
    np.testing.assert_allclose(graph.dist, [[0.2, 0.5, np.inf], [0.3, 0.3, np.inf], [0, 0.1, np.inf]])
    assert (graph.idx.dtype, graph.dist.dtype) == (np.int32, np.float32)
    assert (graph.method, graph.recall, graph.duplicate_share) == ("precomputed", None, 0.0)
    assert graph.group.tolist() == graph.first.tolist() == [0, 1, 2]


def test_from_arrays_accepts_a_graph_without_neighbours():
    assert NeighborGraph.from_arrays(np.empty((1, 0), int), np.empty((1, 0))).k == 0


@pytest.mark.parametrize(
    ("row", "entry", "value", "message"),
    [
        ("idx", (1, 0), 1, "own neighbour.*row 1"),
        ("idx", (1, 0), 3, "rows 0 to 2.*Got 3 in row 1"),
        ("idx", (1, 0), -2, "or -1 for none.*Got -2 in row 1"),
        ("idx", (0, 1), 1, "once per row.*Got 1 in row 0"),
        ("dist", (1, 0), -0.1, "not negative.*row 1"),
        ("dist", (1, 0), np.nan, "numbers.*row 1"),
        ("dist", (1, 0), np.inf, "infinite distance.*row 1"),
    ],
)
def test_from_arrays_names_the_row_at_fault(row, entry, value, message):
    arrays = {"idx": np.array(IDX), "dist": np.array(DIST)}
    NeighborGraph.from_arrays(**arrays)
    arrays[row][entry] = value
    with pytest.raises(DataError, match=message):
        NeighborGraph.from_arrays(**arrays)


@pytest.mark.parametrize(
    ("idx", "dist"),
    [
        ([1, 0], [0.1, 0.1]),
        ([[1], [0]], [[0.1]]),
        (np.empty((0, 2), int), np.empty((0, 2))),
        ([[1.0], [0.0]], [[0.1]] * 2),
    ],
)
def test_from_arrays_refuses_other_shapes_and_dtypes(idx, dist):
    with pytest.raises(DataError, match="idx"):
        NeighborGraph.from_arrays(idx, dist)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"idx": lambda g: g.idx.astype(np.int64)}, "idx must be an array of int32"),
        ({"dist": lambda g: g.dist[:, ::-1].copy()}, "ascending"),
        ({"idx": lambda g: g.idx[:, ::-1].copy(), "dist": lambda g: np.zeros_like(g.dist)}, "ties by lower index"),
        ({"dist": lambda g: g.dist[:, :-1]}, "one shape"),
        ({"group": lambda g: g.group[::-1].copy()}, "group and first"),
        ({"group": lambda g: np.where(g.group == 0, -1, g.group)}, "group and first"),
        ({"first": lambda g: g.first[::-1].copy()}, "group and first"),
        ({"first": lambda g: g.first + 300}, "group and first"),
        ({"first": lambda g: g.first[:-1]}, "group and first"),
        ({"recall": lambda g: 1.5}, "recall"),
    ],
)
def test_validate_refuses_a_graph_that_breaks_a_promise(graph, changes, message):
    graph.validate()
    if "ties" in message:
        descending = np.sort(graph.idx, axis=1)
        graph = dataclasses.replace(graph, idx=descending)
    broken = dataclasses.replace(graph, **{name: change(graph) for name, change in changes.items()})
    with pytest.raises(DataError, match=message):
        broken.validate()


def test_save_and_load_round_trip(graph, tmp_path):
    graph.save(tmp_path / "a" / "graph")
    loaded = NeighborGraph.load(tmp_path / "a" / "graph")
    for name in ("idx", "dist", "group", "first"):
        one, two = getattr(graph, name), getattr(loaded, name)
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    assert (loaded.method, loaded.recall, loaded.duplicate_share) == ("exact", 1.0, 50 / 300)
    assert not list((tmp_path / "a" / "graph").glob(".tmp*"))


def test_saving_twice_replaces_and_unknown_recall_stays_unknown(graph, tmp_path):
    graph.save(tmp_path)
    NeighborGraph.from_arrays(IDX, DIST).save(tmp_path)
    loaded = NeighborGraph.load(tmp_path)
    assert (loaded.n_rows, loaded.method, loaded.recall) == (3, "precomputed", None)


def test_a_crash_while_replacing_leaves_no_mixture(graph, tmp_path, monkeypatch):
    graph.save(tmp_path)
    real, calls = np.save, []

    def failing(path, array, **options):
        calls.append(path)
        if len(calls) == 3:
            raise OSError("disk full")
        real(path, array, **options)

    monkeypatch.setattr(np, "save", failing)
    with pytest.raises(OSError, match="disk full"):
        NeighborGraph.from_arrays(IDX, DIST).save(tmp_path)
    with pytest.raises(DataError, match="whole neighbour graph"):
        NeighborGraph.load(tmp_path)


@pytest.mark.parametrize("name", ["idx.npy", "dist.npy", "group.npy", "first.npy", "graph.json"])
def test_load_refuses_missing_and_damaged_files(graph, tmp_path, name):
    graph.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="readable"):
        NeighborGraph.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=name):
        NeighborGraph.load(tmp_path)


def test_load_refuses_another_format(graph, tmp_path):
    graph.save(tmp_path)
    (tmp_path / "graph.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="format 1"):
        NeighborGraph.load(tmp_path)
