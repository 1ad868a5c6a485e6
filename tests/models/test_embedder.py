"""The bundled MiniLM on real texts, and how an embedder is found."""

import numpy as np
import pytest

from tamis.engine import get_engine
from tamis.errors import MissingExtraError
from tamis.models import VectorStore, embed_texts, embedder, embedding, get_embedder

TEXTS = [
    "How do I bake bread at home?",
    "What is a good recipe for a loaf of bread?",
    "Prove that the square root of two is irrational.",
    "Show that no fraction equals the square root of 2.",
    "Which team won the football world cup in 1998?",
]


@pytest.fixture(scope="module")
def minilm():
    return get_embedder("minilm")


@pytest.fixture(scope="module")
def straight(minilm, tmp_path_factory):
    store = VectorStore(tmp_path_factory.mktemp("vectors"))
    return embed_texts(TEXTS, embedder=minilm, engine=get_engine("inline"), store=store)


def test_vectors_have_length_one(straight):
    assert straight.shape == (5, 384)
    assert straight.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(straight, axis=1), 1, atol=1e-6)


def test_a_store_that_was_left_half_way_is_completed(minilm, straight, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "SHARD_SIZE", 2)
    store = VectorStore(tmp_path)
    inline = get_engine("inline")
    embed_texts(TEXTS[:3], embedder=minilm, engine=inline, store=store)
    segments = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    seen = []
    found = embed_texts(TEXTS, embedder=minilm, engine=inline, store=store, progress=lambda *a: seen.append(a))
    assert seen[0] == ("embed", 3, 5)
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.name in segments} == segments
    # other batches pad differently: equal up to the last bits of float32, not byte for byte
    np.testing.assert_allclose(found, straight, atol=1e-6)


def test_the_fingerprint_follows_the_files_not_the_name(minilm, tmp_path):
    assert get_embedder("minilm") == minilm
    for name, content in (("one", "{}"), ("two", "{}"), ("three", '{"a": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "modules.json").write_text(content)
    one, two, three = (get_embedder(str(tmp_path / name)) for name in ("one", "two", "three"))
    assert one.fingerprint == two.fingerprint != three.fingerprint
    assert minilm.fingerprint not in (one.fingerprint, three.fingerprint)


def test_what_is_not_installed_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingExtraError, match=r"pip install 'tamis\[lm\]'"):
        get_embedder(str(tmp_path))
