import csv
import gzip

import polars as pl
import pytest

from tamis.data import read
from tamis.errors import DataError


def read_text(tmp_path, text, name="a.csv", **options):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(tmp_path / name, **options)


def test_columns_are_typed_where_no_value_is_lost(tmp_path):
    table = read_text(
        tmp_path,
        "n,x,flag,code,long,mixed,empty\n"
        "1,1.5,true,007,12345678901234567890,1,\n"
        "-2,,false,010,12345678901234567891,a,\n"
        ",1e-3,,011,12345678901234567892,,\n",
    )
    assert table.frame.drop("id").schema == {
        "n": pl.Int64,
        "x": pl.Float64,
        "flag": pl.Boolean,
        "code": pl.String,
        "long": pl.String,
        "mixed": pl.String,
        "empty": pl.String,
    }
    assert table.frame["n"].to_list() == [1, -2, None]
    assert table.frame["x"].to_list() == [1.5, None, 0.001]
    assert table.frame["flag"].to_list() == [True, False, None]
    assert table.frame["mixed"].to_list() == ["1", "a", ""]


def test_texts_and_ids_stay_text(tmp_path):
    table = read_text(tmp_path, "id,question,answer,rating\n01,1+1?,2.0,5\n02,2+2?,4.50,4\n")
    assert table.ids.to_list() == ["01", "02"]
    assert table.responses() == ["2.0", "4.50"]
    assert table.frame["rating"].to_list() == [5, 4]


def test_rows_that_do_not_fit_are_rejected_with_their_line(tmp_path):
    table = read_text(
        tmp_path,
        b'prompt,response\n"two\nlines",ok\n\nshort\na,b,c\ncaf\xe9,x\n"a"b,c\nlast,row\n',
    )
    assert table.frame["prompt"].to_list() == ["two\nlines", "last"]
    assert table.rejects.select("line", "reason").rows() == [
        (5, "has 1 fields, the header has 2"),
        (6, "has 3 fields, the header has 2"),
        (7, "is no UTF-8 (byte 0xe9)"),
        (8, "has broken quotes (',' expected after '\"')"),
    ]
    assert table.rejects["raw"].to_list() == ["short\n", "a,b,c\n", "caf\\udce9,x\n", '"a"b,c\n']


def test_an_open_quote_rejects_the_rest_as_one_row(tmp_path):
    table = read_text(tmp_path, 'prompt,response\na,b\n"open,b\nc,d\n')
    assert table.frame["prompt"].to_list() == ["a"]
    assert table.rejects.select("line", "reason").rows() == [(3, "has broken quotes (unexpected end of data)")]


def test_long_fields_and_the_limit_of_the_process(tmp_path):
    before = csv.field_size_limit()
    table = read_text(tmp_path, "text\n" + "x" * 300_000 + "\n")
    assert len(table.responses()[0]) == 300_000
    assert csv.field_size_limit() == before


def test_damaged_gzip(tmp_path):
    content = gzip.compress("".join(["text\n", *(f"{n}\n" for n in range(9000))]).encode())
    with pytest.raises(DataError, match=r"a.csv.gz cannot be unpacked as gzip"):
        read_text(tmp_path, content[:-900], "a.csv.gz")


def test_tsv_and_byte_order_mark(tmp_path):
    table = read_text(tmp_path, "\ufeffprompt\tresponse\na,b\tc\n", "a.tsv")
    assert list(table.records()) == [{"prompt": "a,b", "response": "c"}]


def test_bad_headers(tmp_path):
    with pytest.raises(DataError, match="names the column 'a' 2 times; rename one"):
        read_text(tmp_path, "a,b,a\n1,2,3\n")
    with pytest.raises(DataError, match=r"The header of .* is no UTF-8 \(byte 0xe9 in 'caf.*'\); convert the file to"):
        read_text(tmp_path, b"caf\xe9,b\n1,2\n")
    with pytest.raises(DataError, match=r"The header of .* has broken quotes"):
        read_text(tmp_path, '"a"b,c\n1,2\n')


@pytest.mark.parametrize("text", ["", "a,b\n", "\n\n"])
def test_no_rows(tmp_path, text):
    with pytest.raises(DataError, match="has no usable rows: it is empty"):
        read_text(tmp_path, text)


def test_messages_as_json_text(tmp_path):
    table = read_text(tmp_path, 'messages\n"[{""role"":""user"",""content"":""hi""}]"\nnone\n')
    assert table.texts() == ["###user: hi"]
    assert table.rejects["reason"].to_list() == ["has messages that are no JSON (column 'messages')"]
