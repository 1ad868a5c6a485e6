import dataclasses
import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data import Answers, Source, Table
from tamis.errors import DataError, RecipeError

ROWS = [
    {"task": "t2", "worker": "bob", "label": "no", "seconds": 3},
    {"task": "t1", "worker": "ann", "label": "yes", "seconds": 4},
    {"task": "t2", "worker": "ann", "label": "no", "seconds": 5},
    {"task": "t3", "worker": "bob", "label": "yes", "seconds": 6},
]
NAME = st.sampled_from(["a", "b", "a/b", "%2F", "%", "/", "10", "9", "ä"])
LONG = st.lists(st.tuples(NAME, NAME, st.sampled_from(["x", "y", "z"])), min_size=1, max_size=20)


def frame(rows):
    return pl.DataFrame(rows, schema=["task", "worker", "label"], orient="row")


@pytest.fixture
def answers():
    return Answers.from_frame(ROWS)


def test_the_table_keeps_rows_and_columns_in_their_order(answers):
    assert answers.table.frame.columns == ["id", "task", "worker", "label", "seconds"]
    assert answers.table.ids.to_list() == ["t2/bob", "t1/ann", "t2/ann", "t3/bob"]
    assert answers.table.frame["seconds"].to_list() == [3, 4, 5, 6]
    assert answers.table.roles == {"label": "label", "worker": "worker"}
    assert answers.columns == ("task", "worker", "label")
    assert repr(answers) == "Answers(4 answers by 2 workers about 3 tasks, 2 classes)"
    assert len(answers) == 4


def test_codes_follow_sorted_names_by_worker_then_task(answers):
    codes = answers.codes
    assert answers.tasks.to_list() == ["t1", "t2", "t3"]
    assert answers.workers.to_list() == ["ann", "bob"]
    assert answers.classes == ("no", "yes")
    assert (codes.worker.tolist(), codes.task.tolist(), codes.label.tolist()) == (
        [0, 0, 1, 1],
        [0, 1, 1, 2],
        [1, 0, 0, 1],
    )
    assert (codes.n_tasks, codes.n_workers, codes.n_classes) == (3, 2, 2)
    assert {array.dtype for array in (codes.task, codes.worker, codes.label)} == {np.dtype("int32")}
    assert answers.rows.tolist() == [1, 2, 0, 3]


@settings(deadline=None)
@given(rows=LONG, order=st.randoms())
def test_codes_say_what_the_rows_say_whatever_their_order(rows, order):
    first = {}
    for task, worker, label in rows:
        first.setdefault((task, worker), label)
    made = Answers.from_frame(frame(rows))
    tasks, workers = sorted({task for task, _ in first}), sorted({worker for _, worker in first})
    codes = made.codes
    said = [
        ((tasks[task], workers[worker]), made.classes[label])
        for task, worker, label in zip(codes.task, codes.worker, codes.label, strict=True)
    ]
    assert said == sorted(first.items(), key=lambda item: (item[0][1], item[0][0]))
    in_table = made.to_long()[made.rows.tolist()].rows()
    assert in_table == [(task, worker, label) for (task, worker), label in said]
    assert made.n_duplicates == len(rows) - len(first)

    shuffled = [(*key, label) for key, label in first.items()]
    order.shuffle(shuffled)
    again = Answers.from_frame(frame(shuffled)).codes
    np.testing.assert_array_equal(again.task, codes.task)
    np.testing.assert_array_equal(again.worker, codes.worker)
    np.testing.assert_array_equal(again.label, codes.label)


def test_duplicates_follow_the_order_of_rows_only():
    rows = frame([("t", "w", "x"), ("t", "v", "x"), ("t", "w", "y"), ("t", "w", "x"), ("t", "w", None)])
    first = Answers.from_frame(rows)
    assert first.to_long().rows() == [("t", "w", "x"), ("t", "v", "x")]
    assert (first.n_duplicates, first.n_conflicting, first.n_missing) == (2, 1, 1)
    last = Answers.from_frame(rows.head(3), duplicates="last")
    assert last.to_long().rows() == [("t", "v", "x"), ("t", "w", "y")]
    assert (last.n_duplicates, last.n_conflicting) == (1, 1)
    assert repr(first) == "Answers(2 answers by 2 workers about 1 tasks, 1 classes; 1 without a label, 2 duplicates)"


def test_duplicates_can_be_an_error():
    rows = frame([("t", "v", "x"), ("t", "w", "x"), ("u/1", "w", "y"), ("u/1", "w", "y"), ("t", "w", "x")])
    with pytest.raises(DataError) as error:
        Answers.from_frame(rows, duplicates="error")
    assert str(error.value) == (
        "2 answers of <polars> repeat a task and worker (first: task 'u/1', worker 'w'); drop them, or choose with "
        "duplicates='first' or 'last'."
    )
    assert Answers.from_frame(rows.head(3), duplicates="error").n_duplicates == 0
    with pytest.raises(RecipeError, match=r"'duplicates' .* must be 'first', 'last' or 'error'. Got 'keep' instead"):
        Answers.from_frame(rows, duplicates="keep")


def test_labels_that_are_missing_are_counted_and_no_class():
    labels = ["yes", None, "", "  ", "nan", "no"]
    made = Answers.from_frame(frame([(str(n), "w", label) for n, label in enumerate(labels)]))
    assert (made.classes, made.n_missing, made.tasks.to_list()) == (("no", "yes"), 4, ["0", "5"])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "<records> holds no answer: it is empty; give at least one row with a task, a worker and a label."),
        (
            [{"task": "t", "worker": "w", "label": None}, {"task": "", "worker": "w", "label": 1}],
            "<records> holds no answer: of 2 rows 1 have no label and 1 were rejected (the first at <records>, line 2: "
            "lacks task (column 'task')); give at least one row with a task, a worker and a label.",
        ),
        (
            [{"task": "t", "who": "w", "label": 1}],
            "<records> must have a column for the task, the worker and the label, found the columns 'task', 'who', "
            "'label'; name them with task=, worker= and label=, or give layout='wide' if there is one column for each "
            "worker.",
        ),
        (
            [{"task": 1.5, "worker": "w", "label": 1}],
            "The column 'task' of <records> must hold text or integer ids, found fractions; convert it, or name "
            "another.",
        ),
        (
            [{"task": "t", "worker": True, "label": 1}],
            "The column 'worker' of <records> must hold text or integer ids, found Boolean; convert it, or name "
            "another.",
        ),
        (
            [{"task": "t", "worker": "w", "label": 1}, {"task": "u", "worker": "w", "label": "cat"}],
            "The labels of <records> (column 'label') must be all text, all numbers or all booleans, found 1 numbers "
            "(such as 1), 1 texts (such as 'cat'); write them in one type.",
        ),
    ],
)
def test_sources_without_usable_answers(rows, sentence):
    with pytest.raises(DataError) as error:
        Answers.from_frame(rows)
    assert str(error.value) == sentence


def test_take_and_without_workers_keep_the_classes(answers):
    part = answers.take([3, 1])
    assert part.table.ids.to_list() == ["t3/bob", "t1/ann"]
    assert (part.classes, part.tasks.to_list(), part.codes.label.tolist()) == (("no", "yes"), ["t1", "t3"], [1, 1])
    assert answers.take(np.array([True, False, False, False])).table.ids.to_list() == ["t2/bob"]
    rest = answers.without_workers({"bob"})
    assert (rest.workers.to_list(), rest.classes, len(rest)) == (["ann"], ("no", "yes"), 2)
    assert len(answers.without_workers([])) == 4
    assert len(answers) == 4


def test_nobody_may_be_left(answers):
    none = answers.without_workers(answers.workers)
    assert (len(none), len(none.codes), none.codes.n_classes, none.codes.n_tasks) == (0, 0, 2, 0)
    assert (none.to_wide().shape, none.to_peerannot(), none.to_long().height) == ((0, 1), {}, 0)


def test_without_workers_refuses(answers):
    with pytest.raises(DataError) as error:
        answers.without_workers(["ann", "bbo"])
    assert str(error.value) == (
        "1 of 2 workers gave no answer to <records> (first: 'bbo'); use workers of the same answers. "
        "Did you mean 'bob'?"
    )
    with pytest.raises(RecipeError, match=r"'workers' parameter of Answers.without_workers must be a collection of"):
        answers.without_workers("ann")


def test_given_classes(answers):
    made = Answers.from_frame(ROWS, classes=["yes", "no", "unsure"])
    assert (made.classes, made.codes.n_classes, made.codes.label.tolist()) == (("yes", "no", "unsure"), 3, [0, 1, 1, 0])
    with pytest.raises(DataError, match=r"1 labels of <records> are none of the 2 classes \(first: 'no'\)"):
        Answers.from_frame(ROWS, classes=["yes", "maybe"])
    with pytest.raises(DataError, match=r"1 labels of <records> are none of the 1 classes \(first: 'no'\)"):
        dataclasses.replace(answers, classes=("yes",)).codes


def test_a_table_without_the_columns_is_refused(answers):
    with pytest.raises(DataError, match=r"The table of Answers has no column 'mark'; use Answers.from_frame"):
        Answers(answers.table, ("task", "worker", "mark"), answers.classes)


def test_layouts(answers):
    assert answers.to_long().rows() == [tuple(row.values())[:3] for row in ROWS]
    assert answers.to_wide().to_dict(as_series=False) == {
        "task": ["t1", "t2", "t3"],
        "ann": ["yes", "no", None],
        "bob": [None, "no", "yes"],
    }
    votes = answers.to_peerannot()
    assert votes == {"t1": {"ann": "yes"}, "t2": {"ann": "no", "bob": "no"}, "t3": {"bob": "yes"}}
    assert (list(votes), list(votes["t2"])) == (["t1", "t2", "t3"], ["ann", "bob"])


def test_workers_called_like_a_column():
    made = Answers.from_frame(frame([("t", name, "x") for name in ("task", "worker", "label")]))
    assert made.to_wide().to_dict(as_series=False) == {"taskid": ["t"], "label": ["x"], "task": ["x"], "worker": ["x"]}


def test_frames_that_are_given_or_returned_stay_apart(answers):
    given_frame = frame([("t", "w", "x")])
    Answers.from_frame(given_frame)
    assert given_frame.columns == ["task", "worker", "label"]
    answers.to_long().insert_column(0, pl.Series("n", [0] * 4))
    assert answers.to_long().columns == ["task", "worker", "label"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        answers.classes = ()


def test_an_own_id_column_steps_aside():
    rows = pl.DataFrame({"id": [7, 8], "worker": ["w", "w"], "label": [1, 0], "n": [1, 2]})
    made = Answers.from_frame(rows)
    assert (made.columns[0], made.table.frame.columns) == ("source id", ["id", "source id", "worker", "label", "n"])
    assert made.table.ids.to_list() == ["7/w", "8/w"]
    nested = Answers.from_frame([{"id": {"$oid": "x"}, "task": "t", "worker": "w", "label": 1}])
    assert next(nested.table.records())["source id"] == {"$oid": "x"}
    with pytest.raises(DataError, match="<polars> has both a column 'id' and a column 'source id'; rename one"):
        Answers.from_frame(rows.with_columns(pl.lit(1).alias("source id")))


def test_the_frame_of_a_table_of_answers_gives_the_same_answers(answers):
    again = Answers.from_frame(answers.table.frame)
    assert again.table.frame.equals(answers.table.frame)
    assert again.table.output_frame().columns[0] == "id"


def test_a_source_can_be_named():
    made = Answers.from_frame([{"task": 1, "worker": "w", "label": 1, "x": [1]}], source=Source("jsonl"))
    assert (made.table.source.name, made.table.source.json_columns) == ("<jsonl>", ("x",))
    assert list(made.table.records()) == [{"task": 1, "worker": "w", "label": 1, "x": [1]}]


def test_text_columns_have_their_roles():
    made = Answers.from_frame([{"question": "1+1?", "rater": "w", "answer": "2", "time": 4}])
    assert made.table.roles == {"prompt": "question", "label": "answer", "worker": "rater", "time": "time"}
    assert isinstance(made.table, Table)


def test_answers_travel_to_other_processes(answers):
    assert answers.codes.label.tolist() == [1, 0, 0, 1]
    copy = pickle.loads(pickle.dumps(answers))
    assert copy.table.frame.equals(answers.table.frame)
    assert copy.codes.label.tolist() == [1, 0, 0, 1]
