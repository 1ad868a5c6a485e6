import gzip
import json
import sys
import time

import pytest

from tamis.data import read
from tamis.errors import DataError


def test_bad_lines_are_rejected_and_the_rest_goes_on(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "one"}\r\n'
        b"\n"
        b"{'text': 'two'}\n"
        b'{"text": "caf\xe9"}\n'
        b"[1, 2]\n"
        b'{"text": ""}\n'
        b'{"text": "seven"}\n'
        + b'{"text": "eight", "n": 1'
        + b"0" * 5000
        + b"}\n"
        + b'{"text": "nine", "n": '
        + b"[" * 100_000
        + b"\n"
        b'{"text": "cut o'
    )
    table = read(path)
    assert table.frame["text"].to_list() == ["one", "seven"]
    assert table.rejects["file"].unique().to_list() == [str(path)]
    reasons = dict(zip(table.rejects["line"], table.rejects["reason"], strict=True))
    assert reasons[3].startswith("is no JSON (Expecting property name")
    assert reasons[4] == "is no UTF-8 (byte 0xe9 at 14)"
    assert reasons[5] == "is no object but a list"
    assert reasons[6] == "lacks response (column 'text')"
    assert reasons[8].startswith("has a number that cannot be read (Exceeds the limit")
    assert reasons[9] == "is nested too deeply"
    assert reasons[10] == "was cut off: the file ends inside the record"
    assert set(reasons) == {3, 4, 5, 6, 8, 9, 10}
    assert table.rejects["raw"].str.len_chars().max() == 2000
    assert table.rejects.filter(line=10)["raw"][0] == '{"text": "cut o'


def test_a_last_line_without_line_end_counts(tmp_path):
    (tmp_path / "a.ndjson").write_text('{"text": "a"}\n{"text": "b"}')
    assert len(read(tmp_path / "a.ndjson")) == 2


def test_gzip_and_damaged_gzip(tmp_path):
    content = b"".join(b'{"text": "%d"}\n' % n for n in range(5000))
    good, cut, none = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz", tmp_path / "c.jsonl.gz"
    good.write_bytes(gzip.compress(content))
    cut.write_bytes(gzip.compress(content)[:-500])
    none.write_bytes(content)
    flipped = bytearray(gzip.compress(content))
    flipped[len(flipped) // 2] ^= 0xFF
    (tmp_path / "d.jsonl.gz").write_bytes(flipped)
    assert len(read(str(good))) == 5000
    for path in (cut, none, tmp_path / "d.jsonl.gz"):
        with pytest.raises(DataError, match=f"{path.name} cannot be unpacked as gzip .*; get the file again or drop"):
            read(path)


def test_every_line_bad(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("no\nnever\n")
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == (
        f"{path} has no usable rows: all 2 were rejected, the first at {path}, line 1: is no JSON (Expecting value at "
        "1); mend the rows, or name the columns with roles."
    )


def test_empty_file(tmp_path):
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(DataError, match=r"a.jsonl has no usable rows: it is empty"):
        read(tmp_path / "a.jsonl")


def test_100k_rows_for_sanity(tmp_path, capsys):
    path = tmp_path / "big.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for n in range(100_000):
            row = {"instruction": f"Question {n} " + "about a thing " * 10, "input": "", "output": f"{n} words " * 20}
            stream.write(json.dumps(row) + "\n")
    start = time.perf_counter()
    table = read(path)
    with capsys.disabled():
        sys.stdout.write(f" [100k rows, {path.stat().st_size / 1e6:.0f} MB: {time.perf_counter() - start:.1f} s] ")
    assert len(table) == 100_000
    assert table.rejects.height == 0
