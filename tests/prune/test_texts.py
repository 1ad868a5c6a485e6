"""What a run reads: parts that share nothing, whatever the order of a file, and texts without records."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.prune.settings import PruneSettings
from tamis.prune.texts import CHOICE_RECORDS, PARTS, encode_texts
from tamis.recipe import Recipe


@pytest.fixture
def encode(steps, tiny_model, tmp_path):
    """Encode the texts of a recipe; files by role."""

    def encode(files, *, seed=42, **params):
        model = tiny_model()
        params = {"held_records": 10, **params}
        settings = PruneSettings(model=model.name, **params)
        recipe = Recipe(method="prune", inputs={role: str(path) for role, path in files.items()},
                        params={"model": model.name, **params}, seed=seed)  # fmt: skip
        return encode_texts(steps("texts", n=len(list((tmp_path / "alone" / "run" / "steps").glob("*")))), recipe,
                            model, settings)  # fmt: skip

    return encode


@pytest.fixture
def pool(tiny, tmp_path):
    return tiny.write_rows(tmp_path / "pool.jsonl", tiny.records(60))


@pytest.fixture
def prose(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text("".join(f"Sentence number {i} of a long text, which goes on and on. " for i in range(1200)))
    return path


def ids(texts, part):
    return texts.rows(part).unit_ids.to_list()


class TestSplits:
    def test_nothing_is_shared_and_nothing_is_lost(self, encode, pool):
        texts = encode({"data": pool})
        parts = {name: set(ids(texts, name)) for name in PARTS}
        assert parts["train"] == parts["documents"]
        assert not parts["choice"] & parts["held"]
        assert not (parts["choice"] | parts["held"]) & parts["train"]
        assert len(parts["choice"] | parts["held"] | parts["train"]) == 60
        assert (len(parts["choice"]), len(parts["held"])) == (CHOICE_RECORDS, 10)
        assert texts.said["held"]["records"] == 10
        assert texts.said["train"]["tokens"] == len(texts.rows("train").ids)
        assert len(texts.documents()) == 26

    def test_the_order_of_the_file_changes_nothing(self, encode, pool, tiny, tmp_path):
        other = tiny.write_rows(tmp_path / "other.jsonl", tiny.records(60)[::-1])
        one, two = encode({"data": pool}), encode({"data": other})
        for part in PARTS:
            assert one.rows(part).to_frame().equals(two.rows(part).to_frame()), part

    def test_records_without_ids(self, encode, tiny, tmp_path):
        rows = [{k: v for k, v in row.items() if k != "id"} for row in tiny.records(60)]
        one, two = (encode({"data": tiny.write_rows(tmp_path / f"{name}.jsonl", each)})
                    for name, each in (("a", rows), ("b", rows[::-1])))  # fmt: skip
        for part in PARTS:
            assert one.rows(part).to_frame().equals(two.rows(part).to_frame()), part

    def test_another_seed_holds_out_others(self, encode, pool):
        assert ids(encode({"data": pool}), "held") != ids(encode({"data": pool}, seed=1), "held")

    def test_lengths(self, encode, tiny, tmp_path):
        rows = [{**row, "prompt": row["prompt"] + "." * 300} for row in tiny.records(40)]
        rows += [{**row, "id": f"x{row['id']}", "response": "so " * 100} for row in tiny.records(40)]
        texts = encode({"data": tiny.write_rows(tmp_path / "long.jsonl", rows)}, max_length=64)
        assert {each[:1] for each in ids(texts, "train")} == {"x"}  # the others have their answer behind 64 tokens
        assert texts.rows("train").lengths.max() == 64
        assert max(map(len, texts.documents())) > 300
        assert all(texts.rows(part).lengths.max() <= 512 for part in PARTS)  # what the model takes

    def test_limit(self, encode, pool):
        texts = encode({"data": pool}, limit=40)
        assert sum(len(ids(texts, part)) for part in ("choice", "held", "train")) == 40


class TestOtherFiles:
    def test_held_out_replaces_what_is_held_out(self, encode, pool, tiny, tmp_path):
        held = tiny.write_rows(tmp_path / "held.jsonl", [{**row, "id": f"h{row['id']}"} for row in tiny.records(50)])
        texts = encode({"data": pool, "held_out": held})
        assert len(ids(texts, "train")) == 60
        assert {each[0] for each in ids(texts, "held") + ids(texts, "choice")} == {"h"}
        assert not set(ids(texts, "held")) & set(ids(texts, "choice"))
        assert (len(ids(texts, "choice")), len(ids(texts, "held"))) == (24, 10)

    def test_a_small_held_out_file_is_halved(self, encode, tiny, tmp_path, one_sentence):
        held = tiny.write_rows(tmp_path / "held.jsonl", tiny.records(5))
        texts = encode({"held_out": held})
        assert (len(ids(texts, "choice")), len(ids(texts, "held"))) == (2, 3)
        assert (ids(texts, "train"), texts.documents()) == ([], [])
        with one_sentence(DataError, "3 records"):
            encode({"held_out": tiny.write_rows(tmp_path / "held.jsonl", tiny.records(3))})

    def test_calibration_replaces_the_documents_only(self, encode, pool, prose):
        texts, without = encode({"data": pool, "calibration": prose}), encode({"data": pool})
        for part in ("train", "held", "choice"):
            assert ids(texts, part) == ids(without, part)
        assert all(each.startswith("prose-") for each in ids(texts, "documents"))


class TestRunningText:
    def test_pieces_hold_the_text_once(self, encode, prose, tiny_model):
        from tamis.models.causal_lm import load_tokenizer

        texts = encode({"calibration": prose})
        whole = load_tokenizer(tiny_model())(prose.read_text())["input_ids"]
        assert np.concatenate(texts.documents()).tolist() == whole
        assert max(map(len, texts.documents())) <= 512

    @pytest.mark.parametrize("role", ["data", "held_out", "calibration"])
    def test_compressed_text_is_the_same_text(self, encode, prose, tmp_path, role):
        packed = tmp_path / "prose.txt.gz"
        packed.write_bytes(gzip.compress(prose.read_bytes()))
        one, two = encode({role: prose}), encode({role: packed})
        for part in PARTS:
            assert one.rows(part).to_frame().equals(two.rows(part).to_frame()), part

    def test_it_heals_with_all_of_it(self, encode, prose):
        texts = encode({"data": prose}, max_length=64)
        train, documents = texts.rows("train"), texts.rows("documents")
        assert train.lengths.max() == 64
        assert sorted(train.ids.tolist()) == sorted(documents.ids.tolist())
        held = {each.partition(".")[0] for part in ("held", "choice") for each in ids(texts, part)}
        assert not held & {each.partition(".")[0] for each in ids(texts, "train")}

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [("a.txt", b"", "holds no text"), ("a.txt", b"x", "holds no text"), ("a.txt", b"\xff\xfe\x00", "UTF-8"),
         ("a.txt.gz", b"not packed", "UTF-8"), ("a.txt.gz", gzip.compress(b"whole text", mtime=0)[:-9], "UTF-8"),
         ("a.txt.gz", gzip.compress(b"whole text" * 99, mtime=0)[:-20] + b"\0" * 20, "UTF-8")],
    )  # fmt: skip
    def test_what_is_no_text(self, encode, tmp_path, one_sentence, name, content, words):
        (tmp_path / name).write_bytes(content)
        with one_sentence(DataError, name, words):
            encode({"calibration": tmp_path / name})


class TestRefused:
    def test_too_few_records(self, encode, pool, one_sentence):
        with one_sentence(DataError, "60 records", "88 are held out", "--held-out FILE", "--held-records"):
            encode({"data": pool}, held_records=64)
        assert len(ids(encode({"data": pool}, held_records=34), "train")) == 2
        with one_sentence(DataError, "60 records"):
            encode({"data": pool}, held_records=35)

    def test_no_answer_to_heal_with(self, encode, tiny, tmp_path, one_sentence):
        rows = [{**row, "prompt": "x" * 200} for row in tiny.records(60)]
        with one_sentence(DataError, "has an answer within 64 tokens", "--max-length"):
            encode({"data": tiny.write_rows(tmp_path / "far.jsonl", rows)}, max_length=64)
