import numpy as np
import pytest

from tamis.cache import cache_folder
from tamis.models import VectorStore


def vectors(n, d=3):
    return np.arange(n * d, dtype=np.float32).reshape(n, d)


def test_vectors_come_back_in_the_order_asked_for(tmp_path):
    store = VectorStore(tmp_path / "store")
    assert store.missing(["a", "b"]) == ["a", "b"]
    store.add(["a", "b"], vectors(2))
    store.add(["c"], vectors(1) + 100)
    assert store.missing(["c", "d", "a"]) == ["d"]
    np.testing.assert_array_equal(store.get(["c", "a"]), [vectors(1)[0] + 100, vectors(2)[0]])


def test_a_missing_vector_is_an_error_not_a_zero(tmp_path):
    store = VectorStore(tmp_path)
    store.add(["a"], vectors(1))
    with pytest.raises(KeyError, match="1 of 2 vectors are missing"):
        store.get(["a", "b"])
    with pytest.raises(KeyError):
        VectorStore(tmp_path / "empty").get(["a"])


def test_half_written_segments_are_not_seen(tmp_path):
    store = VectorStore(tmp_path)
    store.add(["a"], vectors(1))
    (tmp_path / ".tmp-1-part-x.parquet").write_bytes(b"half")
    assert store.missing(["a"]) == []
    np.testing.assert_array_equal(store.get(["a"]), vectors(1))


def test_more_digests_than_one_lookup_filters(tmp_path):
    store = VectorStore(tmp_path)
    digests = [f"{i:04d}" for i in range(1500)]
    store.add(digests, vectors(1500))
    np.testing.assert_array_equal(store.get(digests[::-1]), vectors(1500)[::-1])


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "here"))
    assert VectorStore.of_model("ab").folder == tmp_path / "here" / "vectors" / "ab"
    monkeypatch.delenv("TAMIS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tamis"
