"""Shards of texts: what is in them, and what a crash can cost."""

import numpy as np
import pytest

from tamis.engine import get_engine
from tamis.models import VectorStore, embed_texts, embedding

TEXTS = [f"{'abcdefgh'[i % 8] * (i % 11 + 1)} {i % 23}" for i in range(60)]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(embedding, "SHARD_SIZE", 7)


@pytest.fixture
def fake(letters, tmp_path):
    return letters(log=str(tmp_path / "log.jsonl"))


def embed(texts, embedder, folder, engine="inline", progress=None):
    return embed_texts(
        texts, embedder=embedder, engine=get_engine(engine, workers=2), store=VectorStore(folder), progress=progress
    )


def test_new_texts_are_embedded_and_known_ones_not(fake, tmp_path):
    embed(TEXTS[:20], fake, tmp_path / "store")
    known = set(fake.seen())
    embed(TEXTS, fake, tmp_path / "store")
    later = fake.seen()[len(known) :]
    assert not known & set(later)
    assert known | set(later) == set(TEXTS)


def test_batches_do_not_depend_on_the_order_of_the_rows(letters, tmp_path):
    """The last bits of a vector depend on its batch, so batches must follow from the set of texts alone."""
    logs = []
    for number, texts in enumerate((TEXTS, TEXTS[::-1])):
        one = letters(log=str(tmp_path / f"log{number}"))
        embed(texts, one, tmp_path / f"store{number}")
        logs.append((tmp_path / f"log{number}").read_text())
    assert logs[0] == logs[1]
    assert logs[0].count("\n") > 3


def test_the_engine_does_not_change_a_vector(letters, tmp_path):
    found = [
        embed(TEXTS, letters(log=str(tmp_path / name)), tmp_path / f"store-{name}", engine=name)
        for name in ("inline", "process")
    ]
    np.testing.assert_array_equal(found[0], found[1])
    segments = [{p.name for p in (tmp_path / f"store-{n}").iterdir()} for n in ("inline", "process")]
    assert segments[0] == segments[1]


def test_finished_shards_survive_a_crash(letters, tmp_path):
    whole = embed(TEXTS, letters(log=str(tmp_path / "whole")), tmp_path / "other")
    shards = (tmp_path / "whole").read_text().splitlines()
    fatal = letters(log=str(tmp_path / "log"), fail_on=shards[3].split('"')[1])
    with pytest.raises(MemoryError):
        embed(TEXTS, fatal, tmp_path / "store")
    assert (tmp_path / "log").read_text().splitlines() == shards[:3]
    np.testing.assert_array_equal(embed(TEXTS, letters(log=str(tmp_path / "log")), tmp_path / "store"), whole)
    assert (tmp_path / "log").read_text().splitlines() == shards


def test_progress_counts_distinct_texts_and_begins_with_those_known(fake, tmp_path):
    embed(TEXTS[:20], fake, tmp_path / "store")
    seen = []
    embed(TEXTS + TEXTS, fake, tmp_path / "store", progress=lambda *args: seen.append(args))
    n = len(set(TEXTS))
    assert seen[0] == ("embed", len(set(TEXTS[:20])), n)
    assert seen[-1] == ("embed", n, n)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
