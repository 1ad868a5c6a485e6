import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data import Answers
from tamis.data.answer_rows import answer_ids, id_texts, places
from tamis.errors import DataError

ROWS = [{"task": task, "worker": "ann", "label": "yes"} for task in ("t1", "t2", "t3", "t4")]


def frame(rows):
    return pl.DataFrame(rows, schema=["task", "worker", "label"], orient="row")


@given(
    first=st.tuples(st.text(max_size=4), st.text(max_size=4)),
    second=st.tuples(st.text(max_size=4), st.text(max_size=4)),
)
def test_ids_tell_answers_apart(first, second):
    ids = answer_ids(pl.Series([first[0], second[0]]), pl.Series([first[1], second[1]]))
    assert (ids[0] == ids[1]) is (first == second)


def test_ids_of_awkward_names():
    ids = answer_ids(pl.Series(["a/b", "a", "a%2Fb"]), pl.Series(["c", "b/c", "c"]))
    assert ids.to_list() == ["a%2Fb/c", "a/b/c", "a%252Fb/c"]


def test_an_empty_cell_never_takes_the_place_of_an_answer():
    rows = frame([("t", "w", None), ("t", "w", "y")])
    assert Answers.from_frame(rows).to_long().rows() == [("t", "w", "y")]
    assert Answers.from_frame(rows.reverse(), duplicates="last").to_long().rows() == [("t", "w", "y")]
    assert Answers.from_frame(rows, duplicates="error").n_missing == 1


def test_rows_without_a_task_or_worker_are_rejected():
    rows = [*ROWS, {"task": None, "worker": "ann", "label": "no"}, {"task": " ", "label": "yes"}, 7]
    made = Answers.from_frame(rows)
    assert len(made) == 4
    assert made.table.rejects.select("file", "line", "reason").rows() == [
        ("<records>", 5, "lacks task (column 'task')"),
        ("<records>", 6, "lacks task (column 'task') and worker (column 'worker')"),
        ("<records>", 7, "is no object but a int"),
    ]
    assert made.table.rejects["raw"][1] == '{"task":" ","label":"yes"}'
    assert repr(made).endswith("; 3 rejected)")


def test_ids_of_any_type_are_text():
    assert id_texts(pl.Series([1, None])).to_list() == ["1", None]
    assert id_texts(pl.Series([1.0, float("nan")])).to_list() == ["1", None]
    assert id_texts(pl.Series(["01", " ", " a"])).to_list() == ["01", None, " a"]
    assert id_texts(pl.Series(["a"], dtype=pl.Categorical)).to_list() == ["a"]
    assert id_texts(pl.Series(["1", '"a"', None]), is_json=True).to_list() == ["1", "a", None]
    with pytest.raises(DataError, match="found nested or mixed values"):
        id_texts(pl.Series("w", ["[1]"]), is_json=True)


def test_places():
    assert places(pl.Series(["b", None, "c"]), pl.Series(["c", "b"])).to_list() == [1, None, 0]
    assert places(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String)).to_list() == []
