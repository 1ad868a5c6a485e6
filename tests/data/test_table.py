import dataclasses
import pickle

import numpy as np
import polars as pl
import pytest

from tamis.data import Table, read
from tamis.errors import DataError, RecipeError

ROWS = [{"id": name, "prompt": f"{name}?", "response": f"{name}!"} for name in "abcd"]


@pytest.fixture
def table():
    return Table.from_records(ROWS)


def test_tables_are_immutable_and_leave_the_given_frame_alone(table):
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.frame = pl.DataFrame()
    given = pl.DataFrame({"text": ["a"]})
    Table.from_frame(given)
    assert given.columns == ["text"]


def test_id_is_first_and_text():
    made = Table.from_frame(pl.DataFrame({"text": ["a", "b"], "id": [7, 8]}))
    assert made.frame.columns == ["id", "text"]
    assert made.ids.to_list() == ["7", "8"]
    assert not made.source.generated_ids
    assert made.output_frame().schema == {"text": pl.String, "id": pl.Int64}


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), pl.Series([2, 0])])
def test_take_keeps_the_order(table, rows):
    assert table.take(rows).ids.to_list() == ["c", "a"]


def test_take_by_mask_and_none(table):
    assert table.take([True, False, False, True]).ids.to_list() == ["a", "d"]
    assert table.take(np.array([False, True, False, False])).ids.to_list() == ["b"]
    assert len(table.take([])) == 0
    assert table.take([]).texts() == []


def test_take_refuses(table):
    with pytest.raises(RecipeError, match=r"The 'rows' of Table.take must lie in 0..3. Got 4 instead."):
        table.take([4])
    with pytest.raises(RecipeError, match=r"must lie in 0..3. Got -1 instead."):
        table.take([-1])
    with pytest.raises(RecipeError, match=r"The mask of Table.take must have 4 values, one per row. Got 1."):
        table.take([True])
    with pytest.raises(RecipeError, match=r"must be integers or booleans. Got Float64 instead."):
        table.take([0.5])
    with pytest.raises(DataError, match="The ids of a Table must be unique, but 'b' occur more than once"):
        table.take([1, 1])


def test_select_ids(table):
    assert table.select_ids(["d", "a"]).ids.to_list() == ["d", "a"]
    with pytest.raises(DataError, match=r"1 of 2 ids are not in the table \(first: 'z'\); use ids of the same table"):
        table.select_ids(["a", "z"])


def test_digest_is_independent_of_row_order(table):
    assert table.take([3, 1, 0, 2]).digest == table.digest
    assert table.take([0, 1, 2]).digest != table.digest


def test_the_frame_of_a_table_is_checked():
    with pytest.raises(DataError, match="must have 'id' of type String as its first column"):
        Table(pl.DataFrame({"id": [1]}))
    with pytest.raises(DataError, match="must not be null, but 1 are"):
        Table(pl.DataFrame({"id": ["a", None]}))


def test_the_id_column_can_be_named():
    made = read([{"qid": 3, "text": "x"}], id_column="qid")
    assert made.frame.columns == ["id", "qid", "text"]
    assert list(made.records()) == [{"qid": 3, "text": "x"}]
    with pytest.raises(RecipeError, match=r"The 'id_column' 'qd' is no column of <records>. Did you mean 'qid'\?"):
        read([{"qid": 3, "text": "x"}], id_column="qd")
    assert read([{"qid": 3, "text": "x"}, {"qid": "k", "text": "y"}], id_column="qid").ids.to_list() == ["3", "k"]
    with pytest.raises(RecipeError, match="also has a column 'id', which ids would replace; rename or drop"):
        read([{"qid": 3, "id": 1, "text": "x"}], id_column="qid")


def test_duplicate_null_and_odd_ids_are_refused():
    with pytest.raises(DataError, match=r"must be unique, but 1 ids occur more than once \(first: 'a'\)"):
        read([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}])
    with pytest.raises(DataError, match=r"but 1 of 2 rows have no id \(first at row 2\)"):
        read([{"id": "a", "text": "x"}, {"text": "y"}])
    with pytest.raises(DataError, match="must hold text or integers, found nested or mixed values"):
        read([{"id": [1], "text": "x"}])


def test_rows_without_content_are_rejected_with_place_and_reason():
    made = read([{"prompt": "a", "response": None}, {"prompt": " ", "response": ""}, {"other": 1}, 7])
    assert len(made) == 1
    lacks = "lacks prompt (column 'prompt') and response (column 'response')"
    assert made.rejects.rows() == [
        ("<records>", 2, lacks, '{"prompt":" ","response":""}'),
        ("<records>", 3, lacks, '{"other":1}'),
        ("<records>", 4, "is no object but a int", "7"),
    ]
    assert repr(made) == "Table(1 rows: prompt=prompt, response=response; 3 rejected)"


def test_bad_chats_are_rejected():
    made = read([{"messages": []}, {"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"role": "x"}]}])
    assert made.rejects["reason"].to_list() == [
        "has no messages (column 'messages')",
        "has a message 1 with the unknown role 'x' (column 'messages')",
    ]


def test_no_usable_rows():
    with pytest.raises(DataError) as error:
        read([{"text": ""}, {"text": None}])
    assert str(error.value) == (
        "<records> has no usable rows: all 2 were rejected, the first at <records>, line 1: lacks response (column "
        "'text'); mend the rows, or name the columns with roles."
    )
    with pytest.raises(DataError, match="<records> has no usable rows: it is empty; give a source with at least one"):
        read([])
    with pytest.raises(DataError, match="<polars> has no usable rows: it is empty"):
        Table.from_frame(pl.DataFrame({"text": []}, schema={"text": pl.String}))


def test_lone_surrogates_are_rejected():
    made = read([{"text": "a\ud800"}, {"text": "b"}, {"text": "c", "\udfff": 1}])
    assert made.frame["text"].to_list() == ["b"]
    assert set(made.rejects["reason"]) == {"has a lone surrogate, which is no Unicode text"}


def test_with_columns_appends_to_records():
    made = Table.from_records([{"text": "x", "n": 1}, {"text": "y"}])
    rated = made.with_columns(pl.Series("rating", [4.5, None]))
    assert list(rated.records()) == [{"text": "x", "n": 1, "rating": 4.5}, {"text": "y", "rating": None}]
    assert rated.ids.to_list() == made.ids.to_list()
    with pytest.raises(RecipeError, match=r"must have 2 values and a name other than 'id'. Got 'id' with 2 values"):
        made.with_columns(pl.Series("id", ["a", "b"]))


def test_tables_travel_to_other_processes(table):
    copy = pickle.loads(pickle.dumps(table.take([1, 0])))
    assert copy.frame.equals(table.take([1, 0]).frame)
    assert copy.texts() == table.take([1, 0]).texts()
