"""``TokenRows``: token ids of records, flat, and which of them are response."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.token_rows import TokenRows, flat_of, listed, offsets_of
from tamis.errors import DataError

IDS = [[5, 6, 7], [5, 8], [9]]
FLAGS = [[False, True, True], [False, True], [False]]


@pytest.fixture
def rows():
    return TokenRows.from_lists(["a", "b", "c"], IDS, FLAGS)


def refused(make, *words):
    with pytest.raises(DataError) as caught:
        make()
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    for word in words:
        assert word in said, said


def flat(*, ids=(1, 2, 3), offsets=(0, 2, 3), response=(False, True, False), unit_ids=("a", "b")):
    return TokenRows(
        pl.Series("unit_id", unit_ids, dtype=pl.String),
        np.array(ids, dtype=np.int32),
        np.array(offsets, dtype=np.int64),
        np.array(response, dtype=bool),
    )


def test_it_says_what_it_holds(rows):
    assert repr(rows) == "TokenRows(3 records, 6 tokens, 3 of them response)"
    assert len(rows) == 3
    assert rows.lengths.tolist() == [3, 2, 1]
    assert rows.row_of.tolist() == [0, 0, 0, 1, 1, 2]
    assert rows.offsets.tolist() == [0, 3, 5, 6]
    assert (rows.ids.dtype, rows.offsets.dtype, rows.response.dtype) == (np.int32, np.int64, np.bool_)


def test_it_cannot_be_changed(rows):
    with pytest.raises(AttributeError):
        rows.ids = np.zeros(6, dtype=np.int32)


class TestErrors:
    @pytest.mark.parametrize(
        "offsets", [(0, 3), (0, 1, 2, 3), (1, 2, 3), (0, 2, 4), ()], ids=["short", "long", "start", "end", "none"]
    )
    def test_offsets_that_do_not_fit(self, offsets):
        refused(lambda: flat(offsets=offsets), "must be 3 numbers from 0 to 3", f"Got {len(offsets)} from")

    def test_flags_that_do_not_fit(self):
        refused(lambda: flat(response=(True, False)), "3 tokens, 2 flags")

    def test_ids_that_repeat(self):
        refused(lambda: flat(unit_ids=("a", "a")), "unique and not null", "['a']")

    def test_an_id_that_is_null(self):
        refused(lambda: flat(unit_ids=("a", None)), "unique and not null", "null")

    @pytest.mark.parametrize("offsets", [(0, 0, 3), (0, 4, 3)], ids=["empty", "falling"])
    def test_a_record_without_a_token(self, offsets):
        named = "'a'" if offsets[1] == 0 else "'b'"
        refused(lambda: flat(offsets=offsets), named, "has no token")

    def test_lists_that_do_not_fit(self):
        refused(lambda: TokenRows.from_lists(["a"], [[1, 2]], [[True]]), "in every record")
        refused(lambda: TokenRows.from_lists(["a", "b"], [[1], [2]], [[True]]), "in every record")
        refused(lambda: TokenRows.from_lists(["a"], [[1], [2]], [[True], [True]]), "offsets")
        refused(lambda: TokenRows.from_lists(["a"], [[]], [[]]), "'a'", "no token")

    @pytest.mark.parametrize("name", ["unit_id", "input_ids", "response"])
    def test_a_frame_without_a_column(self, rows, name):
        refused(lambda: TokenRows.from_frame(rows.to_frame().drop(name)), f"need the column '{name}'", "found [")

    def test_a_frame_whose_lists_differ(self, rows):
        frame = rows.to_frame().with_columns(response=pl.col("response").list.head(1))
        refused(lambda: TokenRows.from_frame(frame), "one response flag a token")

    @pytest.mark.parametrize("name", ["input_ids", "response"])
    def test_a_frame_with_a_null_list(self, rows, name):
        hole = pl.when(pl.col("unit_id") != "b").then(name).alias(name)
        refused(lambda: TokenRows.from_frame(rows.to_frame().with_columns(hole)))

    def test_a_frame_with_a_null_record(self, rows):
        holes = [pl.when(pl.col("unit_id") != "b").then(name).alias(name) for name in ("input_ids", "response")]
        refused(lambda: TokenRows.from_frame(rows.to_frame().with_columns(holes)))

    @pytest.mark.parametrize("name", ["input_ids", "response"])
    def test_a_frame_whose_column_is_no_list(self, rows, name):
        refused(lambda: TokenRows.from_frame(rows.to_frame().with_columns(pl.lit("x").alias(name))), name)

    @pytest.mark.parametrize("token", [2**40, 5.5], ids=["too large", "no int"])
    def test_a_frame_whose_ids_are_no_token_ids(self, rows, token):
        ids = pl.Series("input_ids", [[token, 6, 7], [5, 8], [9]], strict=False)
        refused(lambda: TokenRows.from_frame(rows.to_frame().with_columns(ids)), "input_ids")

    def test_a_frame_with_a_null_token(self, rows):
        frame = rows.to_frame().with_columns(input_ids=pl.Series([[5, None, 7], [5, 8], [9]], dtype=pl.List(pl.Int32)))
        refused(lambda: TokenRows.from_frame(frame))


class TestTake:
    def test_rows_in_the_order_asked_for(self, rows):
        taken = rows.take([2, 0])
        assert taken.unit_ids.to_list() == ["c", "a"]
        assert taken.ids.tolist() == [9, 5, 6, 7]
        assert taken.response.tolist() == [False, False, True, True]
        assert taken.offsets.tolist() == [0, 1, 4]

    def test_places_are_where_the_tokens_of_rows_stand(self, rows):
        assert rows.places(np.array([1, 0])).tolist() == [3, 4, 0, 1, 2]
        assert rows.places(np.array([], dtype=np.int64)).tolist() == []
        # of a row named twice they stand twice: nothing is made of them but an index
        assert rows.places(np.array([2, 2])).tolist() == [5, 5]

    def test_none(self, rows):
        none = rows.take([])
        assert (len(none), len(none.ids), none.offsets.tolist()) == (0, 0, [0])

    def test_the_same_row_twice_is_refused(self, rows):
        refused(lambda: rows.take([0, 0]), "unique", "['a']")

    def test_what_is_taken_is_a_copy(self, rows):
        taken = rows.take([0, 1, 2])
        taken.ids[0] = 77
        assert rows.ids[0] == 5


class TestFrames:
    def test_there_and_back(self, rows):
        again = TokenRows.from_frame(rows.to_frame())
        assert again.unit_ids.to_list() == rows.unit_ids.to_list()
        for name in ("ids", "offsets", "response"):
            one, other = getattr(rows, name), getattr(again, name)
            assert one.tolist() == other.tolist()
            assert one.dtype == other.dtype

    def test_through_a_file(self, rows, tmp_path):
        loss = np.array([0, 1.5, np.nan, 0, 2, 0], dtype=np.float32)
        rows.to_frame(loss=loss).write_parquet(tmp_path / "rows.parquet")
        frame = pl.read_parquet(tmp_path / "rows.parquet")
        assert frame.schema == {
            "unit_id": pl.String,
            "input_ids": pl.List(pl.Int32),
            "response": pl.List(pl.Boolean),
            "loss": pl.List(pl.Float32),
        }
        np.testing.assert_array_equal(flat_of(frame["loss"], np.float32), loss)
        assert TokenRows.from_frame(frame).to_frame().equals(rows.to_frame())

    def test_ids_of_any_integer_and_units_of_any_type(self):
        frame = pl.DataFrame({"unit_id": [1, 2], "input_ids": [[1, 2], [3]], "response": [[False, True], [False]]})
        rows = TokenRows.from_frame(frame)
        assert rows.unit_ids.to_list() == ["1", "2"]
        assert rows.ids.dtype == np.int32

    def test_empty(self):
        empty = TokenRows.from_lists([], [], [])
        assert repr(empty) == "TokenRows(0 records, 0 tokens, 0 of them response)"
        frame = empty.to_frame(loss=np.zeros(0, np.float32))
        assert frame.columns == ["unit_id", "input_ids", "response", "loss"]
        again = TokenRows.from_frame(frame)
        assert (len(again), again.ids.dtype, again.response.dtype) == (0, np.int32, np.bool_)
        assert again.row_of.tolist() == again.lengths.tolist() == []

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=6), max_size=8))
    def test_any_rows_come_back(self, records):
        ids = [[token for token, _ in each] for each in records]
        flags = [[flag for _, flag in each] for each in records]
        rows = TokenRows.from_lists([f"r{i}" for i in range(len(records))], ids, flags)
        again = TokenRows.from_frame(rows.to_frame())
        assert again.to_frame()["input_ids"].to_list() == ids
        assert again.to_frame()["response"].to_list() == flags
        order = np.arange(len(records))[::-1]
        assert rows.take(order).to_frame()["input_ids"].to_list() == ids[::-1]
        np.testing.assert_array_equal(rows.ids[rows.places(order)], rows.take(order).ids)


def test_offsets_and_lists():
    assert offsets_of(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert listed(np.array([1, 2, 3]), np.array([0, 2, 2, 3])).to_list() == [[1, 2], [], [3]]
    assert flat_of(pl.Series([[1, 2], [], [3]]), np.int32).tolist() == [1, 2, 3]
