import gzip
import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data import Table, read, write
from tamis.errors import DataError, RecipeError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=4
)
EXTRA = st.dictionaries(TEXT.filter(lambda key: key not in {"id", "prompt", "messages"}), JSON, max_size=4)
ROWS = st.lists(
    st.tuples(TEXT.map(lambda text: "q" + text), EXTRA, st.booleans()).map(
        lambda t: {**t[1], "prompt": t[0]} if t[2] else {"prompt": t[0], **t[1]}
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz"])
@settings(deadline=None)
@given(rows=ROWS)
def test_json_round_trips_are_lossless(tmp_path_factory, name, rows):
    folder = tmp_path_factory.mktemp("json")
    given_file, written = folder / name, folder / f"out-{name}"
    text = json.dumps(rows) if ".jsonl" not in name else "\n".join(map(json.dumps, rows)) + "\n"
    given_file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    table = read(given_file, roles={"prompt": "prompt"})
    assert table.rejects.height == 0
    content = write(table, written).read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    again = [json.loads(line) for line in content.split(b"\n") if line] if ".jsonl" in name else json.loads(content)
    assert [json.dumps(row) for row in again] == [json.dumps(row) for row in rows]
    assert read(written, roles={"prompt": "prompt"}).ids.to_list() == table.ids.to_list()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.parquet"])
@settings(deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({"prompt": TEXT.map(lambda t: "q" + t), "x y": TEXT}), min_size=1, max_size=5)
)
def test_texts_survive_every_format(tmp_path_factory, name, rows):
    table = read(write(Table.from_records(rows), tmp_path_factory.mktemp("text") / name))
    assert list(table.output_frame().select("prompt").to_series()) == [row["prompt"] for row in rows]
    assert table.ids.to_list() == Table.from_records(rows).ids.to_list()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_csv_comes_back_as_it_was(tmp_path, name):
    tab = "\t" if "tsv" in name else ","
    text = (
        tab.join(["prompt", "n", "x", "flag", "id"])
        + "\n"
        + tab.join(['"a ""b""\nc"', "1", "0.5", "true", "007"])
        + "\n"
    )
    text += tab.join(["d", "", "", "", "8"]) + "\n"
    raw = text.encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    written = write(read(path), tmp_path / f"out-{name}").read_bytes()
    assert (gzip.decompress(written) if name.endswith("gz") else written) == raw


def test_parquet_comes_back_as_it_was(tmp_path):
    frame = pl.DataFrame(
        {
            "text": ["a", "b"],
            "id": pl.Series([1, 2], dtype=pl.UInt16),
            "day": [date(2026, 1, 1), None],
            "chat": [[{"role": "user"}], []],
            "kind": pl.Series(["u", "v"], dtype=pl.Categorical),
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    assert pl.read_parquet(write(read(tmp_path / "a.parquet"), tmp_path / "b.parquet")).equals(frame)


def test_empty_cells_of_a_single_column_survive(tmp_path):
    (tmp_path / "a.csv").write_text('value\n1\n""\n3\n')
    assert (tmp_path / "a.csv").read_text() == write(read(tmp_path / "a.csv"), tmp_path / "b.csv").read_text()


def test_nested_cells_in_csv_and_parquet(tmp_path):
    rows = [{"text": "a", "tags": ["x"], "odd": 1}, {"text": "b", "tags": ["y", "z"], "odd": "s"}]
    table = Table.from_records(rows)
    assert pl.read_parquet(write(table, tmp_path / "a.parquet")).schema["tags"] == pl.List(pl.String)
    assert pl.read_parquet(tmp_path / "a.parquet")["odd"].to_list() == ["1", '"s"']
    assert write(table, tmp_path / "a.csv").read_text() == 'text,tags,odd\na,"[""x""]",1\nb,"[""y"",""z""]",s\n'
    native = read(tmp_path / "a.parquet")
    assert write(native, tmp_path / "b.csv").read_text().startswith('text,tags,odd\na,"[""x""]",1\n')


def test_a_selection_keeps_the_layout_of_its_rows(tmp_path):
    rows = [{"b": 1, "text": "x"}, {"text": "y", "b": 1.5}, {"text": "z", "c": None}]
    table = Table.from_records(rows).take([2, 0])
    assert write(table, tmp_path / "a.jsonl").read_text() == '{"text":"z","c":null}\n{"b":1,"text":"x"}\n'


def test_ids_are_written_on_request_and_given_ones_always(tmp_path):
    table = Table.from_records([{"text": "x"}])
    assert write(table, tmp_path / "a.jsonl").read_text() == '{"text":"x"}\n'
    written = write(table, tmp_path / "a.jsonl", with_ids=True)
    assert written.read_text() == f'{{"id":"{table.ids[0]}","text":"x"}}\n'
    assert read(written).ids.to_list() == table.ids.to_list()
    given_ids = Table.from_records([{"text": "x", "id": 7}, {"id": "k", "text": "y"}])
    assert write(given_ids, tmp_path / "b.jsonl").read_text() == '{"text":"x","id":7}\n{"id":"k","text":"y"}\n'


def test_the_format_that_came_in_without_a_suffix(tmp_path):
    rows = [{"text": "x"}]
    source = write(Table.from_records(rows), tmp_path / "a.tsv")
    assert write(read(source), tmp_path / "out").read_text() == "text\nx\n"
    assert write(Table.from_records(rows), tmp_path / "out").read_text() == '{"text":"x"}\n'
    assert pl.read_parquet(write(read(pl.DataFrame(rows)), tmp_path / "out")).rows() == [("x",)]
    assert write(read(source), tmp_path / "out.json").read_text() == '[\n{"text":"x"}\n]\n'
    assert write(read(source).take([]), tmp_path / "none.json").read_text() == "[]\n"
    assert json.loads(write(read(source), tmp_path / "out.csv", format="json").read_text()) == rows


def test_equal_tables_give_equal_bytes(tmp_path):
    table = Table.from_records([{"text": "x"}])
    first = write(table, tmp_path / "a.jsonl.gz").read_bytes()
    assert first == write(table, tmp_path / "b.jsonl.gz").read_bytes()
    assert first[3:8] == b"\x00" * 5  # RFC 1952: no file name among the flags, no time


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    table = Table.from_frame(pl.DataFrame({"text": ["x"], "blob": [b"\x00"]}))
    with pytest.raises(DataError, match="JSON cannot hold values of type bytes; write Parquet, or drop the column"):
        write(table, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert path.read_text() == "old"


def test_dates_become_iso_text_in_json(tmp_path):
    table = Table.from_frame(pl.DataFrame({"text": ["x"], "day": [date(2026, 1, 2)]}))
    assert write(table, tmp_path / "a.jsonl").read_text() == '{"text":"x","day":"2026-01-02"}\n'


def test_refusals(tmp_path):
    table = Table.from_records([{"text": "x"}])
    with pytest.raises(RecipeError, match=r"The suffix '.jsn' of .* names no known format; .* Did you mean '.json'\?"):
        write(table, tmp_path / "a.jsn")
    with pytest.raises(RecipeError, match="The 'format' parameter of write must be one of jsonl"):
        write(table, tmp_path / "a.jsonl", format="xml")
    with pytest.raises(RecipeError, match="cannot be gzipped, since Parquet compresses its columns itself"):
        write(table, tmp_path / "a.parquet.gz")
    with pytest.raises(DataError, match="is a folder; give the name of a file in it"):
        write(table, tmp_path)
    with pytest.raises(DataError, match=r"The folder .* to write a.jsonl into does not exist; create it first"):
        write(table, tmp_path / "no" / "a.jsonl")
