import pytest

from tamis.data.answer_columns import find_column, is_wide, listed, long_columns, no_columns, wide_task_column
from tamis.errors import DataError, RecipeError


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["task", "worker", "label"], ("task", "worker", "label")),
        (["label", "n", "worker", "task"], ("task", "worker", "label")),
        (["question", "worker", "answer"], ("question", "worker", "answer")),
        (["_unit_id", "_worker_id", "Category"], ("_unit_id", "_worker_id", "Category")),
        (["HITId", "WorkerId", "Answer"], ("HITId", "WorkerId", "Answer")),
        (["item", "task", "user", "worker", "class", "label"], ("task", "worker", "label")),
        (["question", "question_id", "rater", "rating"], ("question_id", "rater", "rating")),
        (["id", "annotator", "label"], ("id", "annotator", "label")),
        (["id", "item", "annotator", "label"], ("item", "annotator", "label")),
        (["item", "who", "label"], None),
        ([], None),
    ],
)
def test_columns_by_their_names(names, found):
    assert long_columns(names, "a.csv") == found


def test_given_columns_go_over_names():
    names = ["task", "who", "worker", "label", "mark"]
    assert long_columns(names, "a.csv", worker="who", label="mark") == ("task", "who", "mark")
    assert long_columns(["item", "label"], "a.csv", task="label", worker="item") is None
    with pytest.raises(RecipeError, match=r"The 'worker' 'wo' is no column of a.csv. Did you mean 'who'\?"):
        long_columns(names, "a.csv", worker="wo")
    with pytest.raises(RecipeError, match=r"The column 'who' of a.csv cannot be several of task, worker and label"):
        long_columns(names, "a.csv", worker="who", task="who")


def test_two_candidates_are_not_guessed():
    with pytest.raises(DataError) as error:
        find_column("label", ["item", "rating", "category"], "a.csv")
    assert str(error.value) == (
        "Several columns of a.csv may hold the label ('rating', 'category'); choose with label=."
    )
    names = ["item", "worker", "rating", "category"]
    assert long_columns(names, "a.csv", label="category") == ("item", "worker", "category")
    assert long_columns([*names, "item_name"], "a.csv", task="worker", worker="item", label="rating") is not None


def test_wide_frames():
    assert wide_task_column(["ann", "Item ID", "task"]) == "Item ID"
    index = ["", "index", "Unnamed: 0", "__index_level_0__"]
    assert [wide_task_column(["ann", name]) for name in index] == index
    assert wide_task_column(["ann", "bob"]) is None
    assert is_wide(["task", "ann", "bob"])
    assert not is_wide(["task", "ann", "Worker ID"])
    assert not is_wide(["task", "ann", "label"])


def test_messages_name_a_few_columns():
    assert listed([f"c{n}" for n in range(10)]).endswith("'c5' and 4 more")
    message = str(no_columns([f"a long name of a column, number {n}\n" for n in range(3000)], "a.csv"))
    assert len(message) < 500
    assert "\n" not in message
