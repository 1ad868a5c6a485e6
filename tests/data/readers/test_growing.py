import json

import pytest

from tamis.data.readers.growing import GrowingFile
from tamis.errors import DataError


def append(path, text):
    with path.open("a", encoding="utf-8", newline="") as stream:
        stream.write(text)


def test_csv_rows_come_once_and_whole(tmp_path):
    path = tmp_path / "a.csv"
    grown = GrowingFile(path)
    assert grown.read().frame.is_empty()
    append(path, "task,wor")
    assert grown.read().frame.is_empty()
    append(path, "ker,label\nt1,ann,1\nt2,ann,")
    assert grown.read().frame.rows() == [("t1", "ann", "1")]
    assert grown.read().frame.is_empty()
    append(path, "0\n")
    assert grown.read().frame.rows() == [("t2", "ann", "0")]


def test_rejects_name_the_line_of_the_file(tmp_path):
    for name, head, bad, line in (("a.csv", "t,w\na,b\n", "a,b,c\n", 3), ("a.jsonl", '{"t": 1}\n', "{broken\n", 2)):
        path = tmp_path / name
        append(path, head)
        grown = GrowingFile(path)
        grown.read()
        append(path, bad)
        found = grown.read()
        assert found.rejects.frame["line"].to_list() == [line]


def test_jsonl_objects(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"task": i, "worker": "é", "label": "x"} for i in range(4)]
    grown = GrowingFile(path)
    for row in rows:
        append(path, json.dumps(row, ensure_ascii=False) + "\n")
        assert grown.read().frame.to_dicts() == [row]


def test_what_is_not_append_only_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    append(path, "t,w\na,b\n")
    grown = GrowingFile(path)
    grown.read()
    path.write_text("t,w\n")
    with pytest.raises(DataError, match="not append-only"):
        grown.read()
    path.write_text("x,y\na,b\nc,d\n")
    with pytest.raises(DataError, match="not append-only"):
        grown.read()
    path.unlink()
    with pytest.raises(DataError, match="is gone"):
        grown.read()


@pytest.mark.parametrize("name", ["a.parquet", "a.json", "a.csv.gz"])
def test_formats_that_do_not_grow(tmp_path, name):
    with pytest.raises(DataError, match="cannot be followed"):
        GrowingFile(tmp_path / name)
