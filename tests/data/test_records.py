import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.records import columns_from_records, records_from_columns
from tamis.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.integers(2**62, 2**65)
    | st.floats(allow_nan=False)
    | TEXT
)
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=5
)
KEYS = st.sampled_from(["id", "prompt", "n", "é", ""]) | TEXT
RECORDS = st.lists(st.dictionaries(KEYS, JSON, max_size=5), min_size=1, max_size=6)
NUMBERS = st.lists(
    st.dictionaries(st.sampled_from("ab"), st.integers(-2, 2) | st.floats(-2, 2) | st.none()), min_size=1, max_size=6
)


def again(records):
    made = columns_from_records(records)
    return list(
        records_from_columns(
            made.frame, json_columns=made.json_columns, layouts=made.layouts, layout_rows=made.layout_rows
        )
    )


@settings(deadline=None)
@given(RECORDS | NUMBERS)
def test_objects_survive_the_frame(records):
    if not any(records):  # a frame without columns has no rows; readers refuse it
        return
    assert [json.dumps(record) for record in again(records)] == [json.dumps(record) for record in records]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["a", None], pl.String),
        ([True, None], pl.Boolean),
        ([1, -(2**63)], pl.Int64),
        ([1.5, None], pl.Float64),
        ([1, 1.5], pl.Float64),
        ([None, None], pl.String),
        ([np.float32(0.5), np.int64(2)], pl.Float64),
    ],
)
def test_scalars_are_typed(values, dtype):
    made = columns_from_records([{"x": value} for value in values])
    assert (made.frame.schema["x"], made.json_columns) == (dtype, ())


@pytest.mark.parametrize("values", [[1, "a"], [[1]], [{"a": 1}], [2**63], [2**53 + 1, 0.5], [True, 1]])
def test_the_rest_is_json_text(values):
    made = columns_from_records([{"x": value} for value in values])
    assert made.json_columns == ("x",)
    assert [json.loads(text) for text in made.frame["x"]] == values


def test_text_and_integer_ids_stay_apart_when_written():
    made = columns_from_records([{"id": 1}, {"id": "a"}])
    assert made.frame["id"].to_list() == ["1", "a"]
    assert again([{"id": 1}, {"id": "a"}]) == [{"id": 1}, {"id": "a"}]


def test_python_objects_are_refused():
    with pytest.raises(DataError, match="column 'x' holds values of type object, which a table cannot store; convert"):
        columns_from_records([{"x": object()}])
    with pytest.raises(DataError, match="column 'x' holds a nested value that is no JSON"):
        columns_from_records([{"x": [object()]}])
