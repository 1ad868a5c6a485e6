import hashlib
import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data import Table, content_ids, text_digests
from tamis.data.ids import frame_digest, given_ids
from tamis.errors import DataError

ALPACA = pl.DataFrame(
    {
        "instruction": ["Add.", "Übersetze: \u65e5\u672c \U0001f642", "Add."],
        "input": ["1+1", None, "1+1"],
        "output": ["2", "Japan", "2"],
    }
)
GOLDEN = [
    "f32cc2dd2566c305ff243d53f2202d76",
    "d9d52f92f40c9bb428d65fc8c78e27ed",
    "f32cc2dd2566c305ff243d53f2202d76-1",
]


def test_golden_ids_never_change():
    assert content_ids(ALPACA, ["instruction", "input", "output"]) == GOLDEN


def test_ids_are_the_documented_digest():
    canonical = '{"input":"1+1","instruction":"Add.","output":"2"}'
    expected = hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
    assert content_ids(ALPACA, ["output", "instruction", "input"])[0] == expected


def test_duplicates_are_numbered_and_the_first_is_bare():
    first, _, third = content_ids(ALPACA, ["instruction", "input", "output"])
    assert third == f"{first}-1"
    assert content_ids(pl.DataFrame({"a": ["x"] * 3}), ["a"])[2].endswith("-2")


def test_unicode_is_not_normalised():
    composed, decomposed = content_ids(pl.DataFrame({"a": ["\u00e9", "e\u0301"]}), ["a"])
    assert composed != decomposed


def test_a_rating_column_changes_no_id():
    rows = [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}]
    rated = [{**row, "rating": 4 + number} for number, row in enumerate(rows)]
    assert Table.from_records(rows).ids.to_list() == Table.from_records(rated).ids.to_list()


def test_an_id_depends_on_its_row_alone():
    row = {"x": 1, "y": [{"b": 2, "a": None}]}
    alone = Table.from_records([row])
    beside = Table.from_records([row, {"x": 1.5, "z": "other"}])
    assert alone.ids[0] == beside.ids[0]


def test_a_nested_key_that_only_other_rows_have_changes_no_id():
    row = {"messages": [{"role": "user", "content": "a"}]}
    other = {"messages": [{"role": "user", "content": "b", "name": "n"}]}
    arrow = pl.DataFrame([row, other], infer_schema_length=None)
    assert arrow["messages"][0].to_list()[0]["name"] is None
    assert content_ids(arrow, ["messages"])[0] == Table.from_records([row]).ids[0]


def test_ids_agree_between_json_text_and_nested_columns():
    cells = [[{"role": "user", "content": "a"}], [{"content": "b", "role": "user"}]]
    nested = pl.DataFrame({"messages": cells})
    text = pl.DataFrame({"messages": [json.dumps(cell, indent=1) for cell in cells]})
    assert content_ids(nested, ["messages"]) == content_ids(text, ["messages"], json_columns=["messages"])


def test_dates_bytes_and_decimals_have_ids():
    frame = pl.DataFrame({"a": [date(2026, 1, 2)], "b": [b"\x00"]})
    assert content_ids(frame, ["a", "b"]) != content_ids(frame, ["a"])


def test_objects_have_none():
    with pytest.raises(DataError, match="An id cannot be made from a value of type object; drop or convert its column"):
        content_ids(pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), ["a"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.integers(-9, 9)), min_size=1, max_size=8), st.randoms())
def test_digest_ignores_row_and_column_order(rows, random):
    frame = pl.DataFrame(rows, schema={"text": pl.String, "n": pl.Int64}, orient="row")
    frame = frame.select(pl.Series("id", [str(i) for i in range(len(rows))]), pl.all())
    shuffled = random.sample(range(len(rows)), len(rows))
    assert frame_digest(frame[shuffled]) == frame_digest(frame.select(reversed(frame.columns)))


def test_digest_sees_every_cell_and_id():
    table = Table.from_records([{"id": "a", "text": "x", "rating": 1}, {"id": "b", "text": "y", "rating": 2}])
    swapped = Table.from_records([{"id": "b", "text": "x", "rating": 1}, {"id": "a", "text": "y", "rating": 2}])
    rated = Table.from_records([{"id": "a", "text": "x", "rating": 1}, {"id": "b", "text": "y", "rating": 3}])
    assert len({table.digest, swapped.digest, rated.digest}) == 3


def test_text_digests():
    assert text_digests(["é"]) == [hashlib.blake2b("é".encode(), digest_size=16).hexdigest()]


def test_null_ids_name_the_first_rows():
    with pytest.raises(DataError) as error:
        given_ids(pl.Series("qid", ["a", None, None]), "q.csv")
    assert str(error.value) == (
        "The id column 'qid' of q.csv must name every row, but 2 of 3 rows have no id (first at row 2, 3); mend the "
        "column, name another with id_column, or drop it so that ids are made from the content."
    )


def test_duplicate_ids_name_the_first_ones():
    with pytest.raises(DataError, match=r"but 2 ids occur more than once \(first: '7', '8'\); mend the column"):
        given_ids(pl.Series("qid", [7, 7, 8, 8, 9]), "q.csv")


def test_ids_of_another_type_are_refused():
    with pytest.raises(DataError, match="must hold text or integers, found Float64"):
        given_ids(pl.Series("qid", [1.5]), "q.csv")
