import numpy as np
import polars as pl
import pytest

from tamis.engine import get_engine
from tamis.errors import DataError, MissingExtraError, RecipeError
from tamis.models import VectorStore, embed_texts, get_embedder, read_vectors


def test_nothing_to_embed(letters, tmp_path):
    with pytest.raises(DataError, match="nothing to embed"):
        embed_texts([], embedder=letters(log=str(tmp_path / "log")), engine=get_engine("inline"))


def test_the_bundled_model_embeds_meaning(tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra 'lm' is not installed")
    texts = ["How do I start running?", "What is a good way to begin jogging?", "The capital of France is Paris."]
    model = get_embedder("minilm")
    found = embed_texts(texts, embedder=model, engine=get_engine("inline"), store=VectorStore(tmp_path))
    assert found.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    similarity = found @ found.T
    assert similarity[0, 1] > similarity[0, 2] + 0.3
    by_folder = get_embedder(model.folder)
    assert by_folder.fingerprint == model.fingerprint


def test_unknown_embedders(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="Did you mean 'minilm'"):
        get_embedder("minilmm")
    with pytest.raises(RecipeError, match="holds no sentence-transformers model"):
        get_embedder(str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"tamis\[demo\]"):
        get_embedder("minilm")


IDS = ["a", "b", "c"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_npy_and_parquet_vectors(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS.astype(np.float64))
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.npy", n_rows=3, ids=IDS), VECTORS)
    shuffled = [2, 0, 1]
    for name, column in {"list": VECTORS[shuffled].tolist(), "array": VECTORS[shuffled]}.items():
        path = tmp_path / f"{name}.parquet"
        pl.DataFrame({"id": [IDS[i] for i in shuffled], "vector": column}).write_parquet(path)
        found = read_vectors(path, n_rows=3, ids=IDS)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, VECTORS)
    pl.DataFrame({"vector": VECTORS}).write_parquet(tmp_path / "plain.parquet")
    np.testing.assert_array_equal(read_vectors(tmp_path / "plain.parquet", n_rows=3, ids=IDS), VECTORS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "b"], "v": [[1.0], [2.0]]}, "no vector for 1 of 3 pool rows .first: 'c'."),
        ({"id": IDS, "v": [[1.0], [2.0, 3.0], [4.0]]}, "differ in length .from 1 to 2"),
        ({"id": IDS, "v": [1.0, 2.0, 3.0]}, "must have one list column"),
        ({"id": IDS, "v": [[1.0]] * 3, "w": [[1.0]] * 3}, r"list columns are \['v', 'w'\]"),
        ({"v": [[1.0]] * 2}, r"shape \(2, 1\); expected \(3, d\)"),
    ],
)
def test_parquet_that_does_not_fit(tmp_path, columns, message):
    pl.DataFrame(columns).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(DataError, match=message):
        read_vectors(tmp_path / "v.parquet", n_rows=3, ids=IDS)


def test_a_named_column_is_taken(tmp_path):
    pl.DataFrame({"id": IDS, "v": [[1.0]] * 3, "w": [[2.0]] * 3}).write_parquet(tmp_path / "v.parquet")
    assert read_vectors(tmp_path / "v.parquet", n_rows=3, ids=IDS, column="w").tolist() == [[2.0]] * 3
