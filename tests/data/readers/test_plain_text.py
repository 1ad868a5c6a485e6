"""The columnar way of reading must find what the row by row way finds, or step aside."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.data.readers import delimited
from tamis.data.readers.plain_text import plain_body, read_plain
from tamis.data.rejects import Rejects
from tamis.data.source import Source
from tamis.errors import DataError

PATH = Path("a.csv")
PIECES = ["a", "7", " ", "é", "#", ";", ",", ",", "\t", "\n", "\n", "\r\n", "\r", '"', "\0", "\u2028", "\x0c", "\ufeff"]
texts = st.lists(st.sampled_from(PIECES)).map("".join)


def found(data):
    rejects = Rejects()
    parsed = delimited.read_stream(BytesIO(data), Source("csv", PATH), PATH, rejects)
    columns = {name: parsed.frame[name].to_list() for name in parsed.frame.columns}
    return columns, parsed.frame.schema, parsed.files, parsed.lines, rejects.frame.rows()


def outcome(data):
    try:
        return found(data)
    except DataError as error:
        return str(error)


@given(texts.map(str.encode) | st.binary(max_size=40))
@example(b"a,b\n1,2\n3,4")
@example(b"\xef\xbb\xbfa,b\r\n1,\r\n,\r\n")
@example(b"a,b\n1,2,3\n4\n")
@example(b"a\n1\n\n")
@example(b"a,a\n1,2\n")
@example("x,y\né,\u2028\n".encode())
@example(b"a\n\xef\xbb\xbf")
def test_both_ways_find_the_same(data):
    fast = outcome(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "plain_body", lambda data, delimiter: None)
        assert outcome(data) == fast


@pytest.mark.parametrize(
    "text", ['a,b\n"1",2\n', "a,b\n1\n", "a,b\n1,2\n\n3,4\n", "a,b\n1\r2,3\n", "a,b\n\0,1\n", "a,b\n", "", "\na\n1\n"]
)
def test_text_that_needs_care_is_left_to_the_rows(text):
    assert plain_body(text.encode(), ",") is None


@pytest.mark.parametrize("before", [0, 5_000])
@pytest.mark.parametrize("uneven", [b"1,2,3\n4\n", b"4\n1,2,3\n"])
def test_rows_that_are_too_wide_and_too_narrow_do_not_make_up_for_each_other(before, uneven):
    head, body = plain_body(b"a,b\n" + b"1,2\n" * before + uneven, ",")
    assert (head, read_plain(body, ["a", "b"], ",")) == ("a,b", None)


def test_a_plain_file_is_read_in_columns(monkeypatch):
    monkeypatch.setattr(delimited, "_read_one", None)
    assert found(b"task,label\nt1,yes\nt2,\n") == (
        {"task": ["t1", "t2"], "label": ["yes", ""]},
        {"task": pl.String, "label": pl.String},
        ["a.csv", "a.csv"],
        [2, 3],
        [],
    )
