"""Segments of the vector store: several, overlapping, failed."""

import numpy as np
import polars as pl
import pytest

from tamis.models import VectorStore


@pytest.fixture
def store(tmp_path):
    return VectorStore(tmp_path / "vectors")


def vectors(*rows):
    return np.array(rows, dtype=np.float32)


def test_vectors_come_back_in_the_order_asked_for_from_all_segments(store):
    store.add(["a", "b"], vectors([1, 2], [3, 4]))
    store.add(["c"], vectors([5, 6]))
    assert len(list(store.folder.glob("part-*.parquet"))) == 2
    found = store.get(["c", "a", "b"])
    assert found.tolist() == [[5, 6], [1, 2], [3, 4]]
    assert found.dtype == np.float32
    assert store.missing(["x", "b", "y", "a"]) == ["x", "y"]


def test_floats_come_back_bit_for_bit(store):
    values = np.random.default_rng(0).normal(size=(1500, 7)).astype(np.float32)
    names = [f"t{i}" for i in range(1500)]
    store.add(names, values)
    np.testing.assert_array_equal(store.get(names[::-1]), values[::-1])
    np.testing.assert_array_equal(store.get(names[3:9]), values[3:9])


def test_a_write_that_fails_leaves_no_segment(store, monkeypatch):
    def torn(frame, path, **options):
        path.write_bytes(b"PAR1 half")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", torn)
    with pytest.raises(OSError, match="disk full"):
        store.add(["a"], vectors([1, 2]))
    assert list(store.folder.iterdir()) == []


def test_the_same_segment_twice_is_one(store):
    store.add(["a"], vectors([1, 2]))
    store.add(["a"], vectors([1, 2]))
    assert len(list(store.folder.glob("part-*.parquet"))) == 1


def test_overlapping_segments_agree(store):
    """Two runs that embedded the same text at once each leave it in a segment of their own."""
    store.add(["a", "b"], vectors([1, 2], [3, 4]))
    store.add(["b", "c"], vectors([3, 4], [5, 6]))
    assert store.get(["a", "b", "c"]).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_models_do_not_share_a_store(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    VectorStore.of_model("one").add(["a"], vectors([1, 2]))
    assert VectorStore.of_model("two").missing(["a"]) == ["a"]
    assert VectorStore.of_model("one").missing(["a"]) == []
