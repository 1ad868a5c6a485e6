import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.token_rows import TokenRows
from tamis.data.writers import token_masks
from tamis.data.writers.token_masks import FORMATS, write_token_masks
from tamis.errors import DataError, RecipeError

IDS = [[5, 6, 7, 8], [5, 9], [5, 10, 11]]
ROWS = TokenRows.from_lists(["a", "b", "c"], IDS, [[False, False, True, True], [False, True], [False, True, True]])
KEEP = np.array([False, False, True, False, False, False, False, True, True])
LABELS = [[-100, -100, 7, -100], [-100, -100], [-100, 10, 11]]
TABLES = {"trl": "m.parquet", "axolotl": "m.parquet", "llama-factory": "m", "parquet": "m.parquet"}


def written(folder, format, name=None, **more):
    """Summary of an export, and its rows as the ``datasets`` library or Polars reads them."""
    path = folder / (name or TABLES[format])
    found = write_token_masks(more.pop("rows", ROWS), more.pop("keep", KEEP), path, format=format, **more)
    if path.is_dir():
        import pyarrow as pa

        state = json.loads((path / "state.json").read_text())
        with pa.memory_map(str(path / state["_data_files"][0]["filename"])) as stream:
            return found, pl.DataFrame(pl.from_arrow(pa.ipc.open_stream(stream).read_all()))
    return found, pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)


@pytest.mark.parametrize("format", list(TABLES))
def test_labels_are_the_kept_ids_and_records_without_any_are_left_out(tmp_path, format):
    found, frame = written(tmp_path, format)
    assert frame["input_ids"].to_list() == [IDS[0], IDS[2]]
    assert frame["labels"].to_list() == [LABELS[0], LABELS[2]]
    counts = {"rows": 2, "left_out": 1, "tokens": 7, "kept": 3, "longest": 4}
    assert {name: found[name] for name in counts} == counts
    assert found["files"][0] == str(tmp_path / TABLES[format])
    assert sorted(str(p) for p in tmp_path.iterdir()) == sorted({f for f in found["files"] if "README" not in f})


@pytest.mark.parametrize("format", list(TABLES))
def test_records_without_kept_tokens_are_written_on_demand(tmp_path, format):
    found, frame = written(tmp_path, format, drop_empty=False)
    assert frame["labels"].to_list() == LABELS
    assert (found["rows"], found["left_out"], found["kept"]) == (3, 0, 3)


def test_the_columns_of_each_trainer(tmp_path):
    columns = {
        format: written(tmp_path / format, format)[1].columns for format in TABLES if (tmp_path / format).mkdir() or 1
    }
    assert columns == {
        "trl": ["input_ids", "labels", "completion_mask"],
        "axolotl": ["input_ids", "attention_mask", "labels"],
        "llama-factory": ["input_ids", "attention_mask", "labels"],
        "parquet": ["unit_id", "input_ids", "labels", "keep"],
    }


@pytest.mark.parametrize("format", ["trl", "axolotl"])
def test_json_lines_hold_the_same(tmp_path, format):
    _, lines = written(tmp_path, format, "m.jsonl")
    _, table = written(tmp_path, format)
    assert lines.to_dicts() == table.to_dicts()


def test_types_are_those_of_text_that_datasets_tokenised(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"text": ["a"]}).map(
        lambda row: {"input_ids": [1], "attention_mask": [1], "labels": [-100]}, remove_columns=["text"]
    )
    written(tmp_path, "axolotl")
    read = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "m.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert read.features == made.features
    assert len(datasets.concatenate_datasets([read, made])) == 3


def test_the_folder_for_llama_factory_is_a_saved_data_set(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(token_masks, "TOKENS_AT_ONCE", 3)
    _, frame = written(tmp_path, "llama-factory", drop_empty=False)
    read = datasets.load_from_disk(str(tmp_path / "m"))
    assert isinstance(read, datasets.Dataset), "the trainer takes a DatasetDict's split 'train', or this"
    assert read.to_list() == frame.to_dicts()
    written(tmp_path, "llama-factory", keep=KEEP & ~np.eye(9, dtype=bool)[7])
    again = datasets.load_from_disk(str(tmp_path / "m"))
    assert again["labels"][1] == [-100, -100, 11], "the folder was replaced"
    assert again._fingerprint != read._fingerprint, "else what was derived from the old mask would be found for the new"


def test_a_folder_that_is_half_written_is_no_data_set(tmp_path, monkeypatch):
    written(tmp_path, "llama-factory")

    def full(path):
        raise OSError("no space left")

    monkeypatch.setattr(token_masks, "digest_file", full)
    with pytest.raises(OSError, match="no space"):
        written(tmp_path, "llama-factory")
    assert not (tmp_path / "m" / "state.json").exists()


@pytest.mark.parametrize(("format", "name"), [("trl", "m.parquet"), ("trl", "m.jsonl"), ("axolotl", "m.parquet")])
def test_a_file_is_whole_or_as_it_was(tmp_path, format, name, monkeypatch):
    (tmp_path / name).write_text("old")
    monkeypatch.setattr(token_masks, "TOKENS_AT_ONCE", 3)
    make = token_masks._batch

    def stop(chunk, format):
        if chunk.unit_ids[0] == "c":
            raise OSError("no space left")
        return make(chunk, format)

    monkeypatch.setattr(token_masks, "_batch", stop)
    with pytest.raises(OSError, match="no space"):
        write_token_masks(ROWS, KEEP, tmp_path / name, format=format)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


def test_row_groups_are_bounded_and_change_nothing(tmp_path, monkeypatch):
    from pyarrow import parquet

    rows = TokenRows.from_lists([str(i) for i in range(40)], [[1, 2, 3]] * 40, [[False, True, True]] * 40)
    keep = rows.response
    _, whole = written(tmp_path, "trl", rows=rows, keep=keep)
    monkeypatch.setattr(token_masks, "TOKENS_AT_ONCE", 30)
    _, parts = written(tmp_path, "trl", rows=rows, keep=keep)
    assert parts.equals(whole)
    groups = parquet.ParquetFile(tmp_path / "m.parquet").metadata
    assert max(groups.row_group(i).num_rows for i in range(groups.num_row_groups)) == 10


def test_plain_parquet_keeps_ids_and_scores(tmp_path):
    score = np.arange(9, dtype=np.float32)
    score[0] = np.nan
    _, frame = written(tmp_path, "parquet", score=score, drop_empty=False)
    assert frame["unit_id"].to_list() == ["a", "b", "c"]
    assert frame["keep"].to_list() == [[False, False, True, False], [False, False], [False, True, True]]
    assert frame["score"].to_list()[1:] == [[4.0, 5.0], [6.0, 7.0, 8.0]]
    assert np.isnan(frame["score"].to_list()[0][0])


def test_what_to_paste_names_the_file_and_the_longest_record(tmp_path):
    for format, name, kind in (("axolotl", "m.parquet", None), ("axolotl-segments", "s.jsonl", "input_output")):
        found = write_token_masks(ROWS, KEEP, tmp_path / name, format=format, decode=str)
        note = (tmp_path / name).with_suffix(".yaml")
        assert found["files"] == [str(tmp_path / name), str(note)]
        (entry,) = yaml.safe_load(note.read_text())["datasets"]
        assert entry == {
            "path": str(tmp_path / name), "ds_type": "json" if kind else "parquet", "type": kind,
        }  # fmt: skip
        assert "sequence_len must be 4 or more" in note.read_text()
    written(tmp_path, "llama-factory")
    readme = (tmp_path / "m" / "README.md").read_text()
    entry = yaml.safe_load(readme.split("```yaml\n")[1].split("```")[0])
    assert entry == {"stage": "sft", "dataset": "tamis", "tokenized_path": str(tmp_path / "m")}
    assert "2 records, 7 tokens, of which 3 carry the loss" in readme


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=8), st.booleans())
def test_any_mask_comes_back(masks, drop_empty):
    masks = [[False, *mask] for mask in masks]
    ids = [[100 * i + j for j in range(len(mask))] for i, mask in enumerate(masks)]
    rows = TokenRows.from_lists([str(i) for i in range(len(ids))], ids, masks)
    expected = {
        str(i): [t if kept else -100 for t, kept in zip(ids[i], mask, strict=True)]
        for i, mask in enumerate(masks)
        if any(mask) or not drop_empty
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.parquet"
        if not expected:
            with pytest.raises(DataError, match="nothing to write"):
                write_token_masks(rows, rows.response, path, format="parquet", drop_empty=drop_empty)
            return
        write_token_masks(rows, rows.response, path, format="parquet", drop_empty=drop_empty)
        frame = pl.read_parquet(path)
    assert dict(zip(frame["unit_id"], frame["labels"].to_list(), strict=True)) == expected


# Segments -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bytes_tokenizer():
    """Bytes, and the pairs "ab" and " a": the text alone does not tell where tokens begin."""
    tokenizers = pytest.importorskip("tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, "ab", "Ġa"])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[("a", "b"), ("Ġ", "a")]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    return made


@pytest.fixture(scope="module")
def blank_tokenizer():
    """Words with a blank in front, which the decoder drops at the beginning of a text (as SentencePiece does)."""
    tokenizers = pytest.importorskip("tokenizers")
    words = ["▁one", "▁two", "▁three", "<unk>"]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    return made


def segments(folder, tokenizer, ids, masks, *, encode=True, **more):
    """Summary, and the segments of each record as (text, flag)."""
    rows = TokenRows.from_lists([str(i) for i in range(len(ids))], ids, masks)
    if encode:
        more["encode"] = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    found = write_token_masks(
        rows, rows.response, folder / "s.jsonl", format="axolotl-segments", decode=tokenizer.decode, **more
    )
    lines = (folder / "s.jsonl").read_text(encoding="utf-8").splitlines()
    return found, [[(s["text"], s["label"]) for s in json.loads(line)["segments"]] for line in lines]


def test_segments_are_runs_of_equal_flags(tmp_path, bytes_tokenizer):
    ids = bytes_tokenizer.encode("hello you").ids
    mask = [False] * 4 + [True] * 2 + [False] * (len(ids) - 5) + [True]
    found, (record,) = segments(tmp_path, bytes_tokenizer, [ids], [mask[: len(ids)]])
    assert record == [("hell", False), ("o ", True), ("you", False)]
    assert (found["kept"], found["unlabelled"], found["retokenised"]) == (2, 0, 0)


def test_records_that_tokenise_otherwise_are_counted(tmp_path, bytes_tokenizer):
    split = [bytes_tokenizer.token_to_id(token) for token in ("c", "a", "b")]  # the tokenizer would say "ab"
    found, records = segments(
        tmp_path, bytes_tokenizer, [split, split, bytes_tokenizer.encode("cab").ids],
        [[False, True, True], [False, True, False], [False, True]],
    )  # fmt: skip
    assert records == [
        [("c", False), ("ab", True)],
        [("c", False), ("a", True), ("b", False)],
        [("c", False), ("ab", True)],
    ]
    assert found["retokenised"] == 1, "in the second record a border keeps the two apart"
    unmeasured, _ = segments(tmp_path, bytes_tokenizer, [split], [[False, True, True]], encode=False)
    assert unmeasured["retokenised"] is None


def test_the_longest_record_is_counted_in_the_tokens_of_the_trainer(tmp_path, bytes_tokenizer):
    pair = bytes_tokenizer.token_to_id("ab")
    one = bytes_tokenizer.token_to_id("c")
    rows = TokenRows.from_lists(["0"], [[one, pair]], [[False, True]])
    found = write_token_masks(
        rows, rows.response, tmp_path / "s.jsonl", format="axolotl-segments", decode=bytes_tokenizer.decode,
        encode=lambda text: list(text.encode()),
    )  # fmt: skip
    assert (found["longest"], found["retokenised"]) == (3, 1)
    assert "sequence_len must be 3" in (tmp_path / "s.yaml").read_text()


@pytest.mark.parametrize("text", ["aé", "a€b", "日本", "a🎉b", "x\ufffdy"])
def test_no_segment_ends_inside_a_character(tmp_path, bytes_tokenizer, text):
    ids = bytes_tokenizer.encode(text).ids
    for cut in range(1, len(ids)):
        mask = [False] * cut + [True] * (len(ids) - cut)
        found, (record,) = segments(tmp_path, bytes_tokenizer, [ids], [mask], drop_empty=False)
        assert "".join(part for part, _ in record) == text
        assert found["retokenised"] == 0
        trained = "".join(part for part, flag in record if flag)
        assert text.endswith(trained)
        assert found["kept"] == len(bytes_tokenizer.encode(trained).ids)
        assert found["kept"] + found["unlabelled"] == len(ids) - cut


def test_a_record_of_which_only_parts_of_a_character_were_kept_is_left_out(tmp_path, bytes_tokenizer):
    ids = bytes_tokenizer.encode("a€").ids
    masks = [[False, False, True, False], [False, True, True, True]]
    found, records = segments(tmp_path, bytes_tokenizer, [ids, ids], masks)
    assert records == [[("a", False), ("€", True)]]
    counts = {"rows": 1, "left_out": 1, "tokens": 4, "kept": 3, "unlabelled": 1}
    assert {name: found[name] for name in counts} == counts
    (tmp_path / "s.jsonl").unlink()
    with pytest.raises(DataError, match="only cuts characters"):
        segments(tmp_path, bytes_tokenizer, [ids], masks[:1])
    assert not (tmp_path / "s.jsonl").exists()


def test_the_blank_that_decoders_drop_is_kept(tmp_path, blank_tokenizer):
    _, (record,) = segments(tmp_path, blank_tokenizer, [[0, 1, 2]], [[False, True, False]])
    assert record == [("one", False), (" two", True), (" three", False)]


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab €é🎉日\n\ufffd"), min_size=2, max_size=8), st.data())
def test_segments_join_to_the_text(bytes_tokenizer, text, data):
    ids = bytes_tokenizer.encode(text).ids
    mask = [False, *data.draw(st.lists(st.booleans(), min_size=len(ids) - 1, max_size=len(ids) - 1))]
    with tempfile.TemporaryDirectory() as folder:
        found, (record,) = segments(Path(folder), bytes_tokenizer, [ids], [mask], drop_empty=False)
    assert "".join(part for part, _ in record) == text
    assert found["unlabelled"] <= sum(mask)


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"format": "axolot"}, RecipeError, "There is no trainer format 'axolot'. Did you mean 'axolotl'?"),
        ({"name": "m.csv"}, RecipeError, "are written as .parquet or .jsonl"),
        ({"format": "axolotl-segments", "name": "m.parquet", "decode": str}, RecipeError, "written as .jsonl"),
        ({"format": "axolotl-segments", "name": "m.jsonl"}, RecipeError, "'decode' parameter"),
        ({"name": "no/m.parquet"}, DataError, "does not exist; create it first"),
        ({"name": "there.parquet"}, DataError, "is a folder"),
        ({"format": "llama-factory", "name": "there.parquet"}, DataError, "holds something else"),
        ({"format": "llama-factory", "name": "mine.txt"}, DataError, "holds something else"),
        ({"keep": KEEP[:-1]}, DataError, "keep must hold one value a token: 9 tokens"),
        ({"keep": KEEP.astype(int)}, RecipeError, "an array of bool"),
        ({"score": np.zeros(3, np.float32)}, DataError, "score must hold one value a token"),
        ({"keep": np.arange(9) == 4}, DataError, "first token of the record 'b' is kept"),
        ({"keep": np.zeros(9, bool)}, DataError, "of 3 records none keeps a token"),
    ],
)
def test_errors_say_what_is_wrong(tmp_path, change, error, says):
    (tmp_path / "there.parquet").mkdir()
    (tmp_path / "there.parquet" / "mine.txt").write_text("mine")
    (tmp_path / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    given = {"format": "trl", "keep": KEEP, "name": "m.parquet"} | change
    with pytest.raises(error, match=says.replace("?", "[?]").replace("(", "[(]")):
        write_token_masks(ROWS, given.pop("keep"), tmp_path / given.pop("name"), **given)
    assert sorted(tmp_path.rglob("*")) == before


def test_formats_are_the_documented_ones():
    assert FORMATS == ("trl", "axolotl", "axolotl-segments", "llama-factory", "parquet")
