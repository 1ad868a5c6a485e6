import gzip
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data import Answers, read_answers, write_answers
from tamis.errors import DataError, RecipeError

VOTES = {"t1": {"ann": 1, "bob": 0}, "t2": {"ann": 0}}
NAME = st.sampled_from(["a", "b", "a/b", "10", "9", "ä", "x,y", '"', "task", "id", "item"])
LONG = st.lists(st.tuples(NAME, NAME, st.sampled_from(["x", "y z", "7"])), min_size=1, max_size=12)


def cells(answers):
    return answers.to_long().sort("task", "worker").rows()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_long_files_come_back_as_they_were(tmp_path, name):
    tab = "\t" if "tsv" in name else ","
    lines = [
        ["id", "Worker", "label", "note", "s"],
        ["007", "w", "1.0", '"a ""b"""', "0.5"],
        ["7", "v", "True", "é", ""],
    ]
    raw = "".join(tab.join(line) + "\n" for line in lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    answers = read_answers(tmp_path / name)
    assert answers.to_long().rows() == [("007", "w", "1"), ("7", "v", "true")]
    written = write_answers(answers, tmp_path / f"out-{name}").read_bytes()
    assert (gzip.decompress(written) if name.endswith("gz") else written) == raw


def test_long_json_comes_back_as_it_was(tmp_path):
    rows = [
        {"n": 1, "id": 7, "worker": "w", "label": 1, "tags": ["x"]},
        {"worker": 2, "id": "k", "label": 0, "n": 1.5},
    ]
    for name in ("a.json", "a.jsonl"):
        written = write_answers(read_answers(rows), tmp_path / name).read_text()
        again = json.loads(written) if name == "a.json" else [json.loads(line) for line in written.splitlines()]
        assert [json.dumps(row) for row in again] == [json.dumps(row) for row in rows]
        assert cells(read_answers(tmp_path / name)) == [("7", "w", "1"), ("k", "2", "0")]


def test_long_parquet_comes_back_as_it_was(tmp_path):
    frame = pl.DataFrame(
        {"id": [3, 3], "worker": [1, 2], "label": pl.Series(["u", "v"], dtype=pl.Categorical), "n": [[1], None]}
    )
    assert pl.read_parquet(write_answers(read_answers(frame), tmp_path / "a.parquet")).equals(frame)
    ids = frame.with_columns(id=pl.Series(["3/1", "3/2"]), item=pl.lit(3))
    assert pl.read_parquet(write_answers(read_answers(ids), tmp_path / "b.parquet")).equals(ids)


def test_what_is_left_out_is_not_written(tmp_path):
    (tmp_path / "a.csv").write_text("task,worker,label,n\nt,w,1,1\nt,w,0,2\nt,,1,3\nu,w,,4\nu,v,1,5\n")
    answers = read_answers(tmp_path / "a.csv")
    assert write_answers(answers, tmp_path / "b.csv").read_text() == "task,worker,label,n\nt,w,1,1\nu,v,1,5\n"
    rest = write_answers(answers.without_workers(["w"]), tmp_path / "c.csv")
    assert rest.read_text() == "task,worker,label,n\nu,v,1,5\n"


def test_objects_keep_their_keys_when_rows_before_them_are_left_out(tmp_path):
    rows = [
        {"task": "t", "worker": "w", "label": None},
        {"worker": "w", "n": 1, "label": 1, "task": "t", "id": {"$oid": "x"}},
        {"label": 0, "task": "t", "worker": "w"},
        {"label": 0, "n": 1.5, "task": "t", "worker": "v", "id": None},
    ]
    path = write_answers(read_answers(rows), tmp_path / "a.jsonl")
    kept = [json.dumps(row, separators=(",", ":")) for row in (rows[1], rows[3])]
    assert path.read_text().splitlines() == kept


def test_layouts_of_one_set(tmp_path):
    answers = read_answers(VOTES)
    assert write_answers(answers, tmp_path / "a.json").read_text() == '{"t1":{"ann":1,"bob":0},"t2":{"ann":0}}\n'
    assert write_answers(answers, tmp_path / "w.csv", layout="wide").read_text() == "task,ann,bob\nt1,1,0\nt2,0,\n"
    assert (
        write_answers(answers, tmp_path / "w.tsv", layout="wide").read_text() == "task\tann\tbob\nt1\t1\t0\nt2\t0\t\n"
    )
    wide = pl.read_parquet(write_answers(answers, tmp_path / "w.parquet", layout="wide"))
    assert wide.rows() == [("t1", 1, 0), ("t2", 0, None)]
    long = write_answers(answers, tmp_path / "l.csv", layout="long")
    assert long.read_text() == "task,worker,label\nt1,ann,1\nt1,bob,0\nt2,ann,0\n"
    lines = write_answers(answers, tmp_path / "l.jsonl", layout="long").read_text().splitlines()
    assert lines[0] == '{"task":"t1","worker":"ann","label":1}'
    again = read_answers(tmp_path / "w.csv")
    assert write_answers(again, tmp_path / "v.csv").read_text() == (tmp_path / "w.csv").read_text()
    packed = write_answers(answers, tmp_path / "a.json.gz")
    assert json.loads(gzip.decompress(packed.read_bytes())) == VOTES


def test_labels_that_are_not_all_numbers_are_written_as_text(tmp_path):
    answers = read_answers({"t": {"a": "1", "b": "x"}})
    assert write_answers(answers, tmp_path / "a.json").read_text() == '{"t":{"a":"1","b":"x"}}\n'
    unused = read_answers(VOTES, classes=[0, 1, "unsure"])
    assert write_answers(unused, tmp_path / "a.json").read_text() == '{"t1":{"ann":"1","bob":"0"},"t2":{"ann":"0"}}\n'
    assert read_answers(tmp_path / "a.json").classes == ("0", "1")


FILES = {"long": ["a.csv", "a.jsonl", "a.parquet"], "wide": ["a.csv", "a.parquet"], "peerannot": ["a.json"]}


@pytest.mark.parametrize(("layout", "name"), [(layout, name) for layout in FILES for name in FILES[layout]])
@settings(deadline=None, max_examples=40)
@given(rows=LONG)
def test_every_layout_carries_every_answer(tmp_path_factory, layout, name, rows):
    answers = Answers.from_frame(pl.DataFrame(rows, schema=["task", "worker", "label"], orient="row"))
    path = write_answers(answers, tmp_path_factory.mktemp("layout") / name, layout=layout)
    again = read_answers(path, layout=layout)
    assert (cells(again), again.classes, again.layout) == (cells(answers), answers.classes, layout)


def test_equal_answers_give_equal_bytes(tmp_path):
    frame = read_answers(VOTES).to_long()
    first, second = read_answers(frame), read_answers(frame.reverse())
    for layout, name in (("wide", "w.csv"), ("peerannot", "a.json.gz")):
        written = write_answers(first, tmp_path / name, layout=layout).read_bytes()
        assert write_answers(second, tmp_path / f"2-{name}", layout=layout).read_bytes() == written


def test_refusals(tmp_path):
    answers = read_answers(VOTES)
    with pytest.raises(RecipeError, match=r"'layout' parameter of write_answers must be 'long', .* Got 'tall' instead"):
        write_answers(answers, tmp_path / "a.csv", layout="tall")
    with pytest.raises(RecipeError, match=r"Wide answers are written as .csv, .tsv or .parquet. Got .*a.jsonl instead"):
        write_answers(answers, tmp_path / "a.jsonl", layout="wide")
    with pytest.raises(RecipeError, match=r"peerannot's layout are written as .json. Got .*a.csv instead"):
        write_answers(answers, tmp_path / "a.csv")
    with pytest.raises(RecipeError, match="cannot be gzipped"):
        write_answers(answers, tmp_path / "a.parquet.gz", layout="wide")
    with pytest.raises(RecipeError, match=r"suffix '.cvs' of .* Did you mean '.csv'"):
        write_answers(answers, tmp_path / "a.cvs", layout="long")
    (tmp_path / "f.json").mkdir()
    with pytest.raises(DataError, match=r"f.json is a folder; give the name of a file in it"):
        write_answers(answers, tmp_path / "f.json")
    for layout, name in (("peerannot", "a.json"), ("wide", "a.csv"), ("long", "a.csv")):
        with pytest.raises(DataError, match=r"The folder .* to write .* into does not exist; create it first"):
            write_answers(answers, tmp_path / "no" / name, layout=layout)
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]
