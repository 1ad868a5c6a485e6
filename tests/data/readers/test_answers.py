import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tamis.data import read_answers
from tamis.errors import DataError, RecipeError

CROWD = Path(__file__).parents[4] / "shared" / "data" / "crowd"
ROWS = [("t1", "ann", 1), ("t1", "bob", 0), ("t2", "ann", 0), ("t3", "bob", 1)]
LONG = pl.DataFrame(ROWS, schema=["task", "worker", "label"], orient="row")
VOTES = {"t1": {"ann": 1, "bob": 0}, "t2": {"ann": 0}, "t3": {"bob": 1}}
WIDE_CSV = "task,ann,bob\nt1,1,0\nt2,0,\nt3,,1\n"


def same(answers, layout):
    assert answers.layout == layout
    assert answers.classes == ("0", "1")
    assert answers.to_long().sort("task", "worker").rows() == [(*row[:2], str(row[2])) for row in ROWS]


def test_long_objects_of_every_kind():
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    records = LONG.to_dicts()
    sources = [LONG, LONG.lazy(), records, iter(records), LONG.to_arrow(), datasets.Dataset.from_list(records)]
    for source in [*sources, pandas.DataFrame(records, index=[4, 5, 6, 7])]:
        same(read_answers(source), "long")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.jsonl", "a.json", "a.json.gz", "a.parquet"])
def test_long_files(tmp_path, name):
    content = {
        "csv": LONG.write_csv(),
        "tsv": LONG.write_csv(separator="\t"),
        "jsonl": LONG.write_ndjson(),
        "json": json.dumps(LONG.to_dicts()),
    }
    path = tmp_path / name
    if name.endswith("parquet"):
        LONG.write_parquet(path)
    else:
        text = content[name.split(".")[1]].encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    same(read_answers(path), "long")
    same(read_answers(str(path), layout="long"), "long")
    same(read_answers(tmp_path), "long")


def test_odd_names_and_json_with_one_object_a_line(tmp_path):
    (tmp_path / "a.txt").write_text(LONG.write_csv())
    same(read_answers(tmp_path / "a.txt", format="csv"), "long")
    (tmp_path / "a.json").write_text(LONG.write_ndjson())
    same(read_answers(tmp_path / "a.json"), "long")
    (tmp_path / "b.json").write_text('{"task": "t", "worker": "w", "label": 1}')
    assert read_answers(tmp_path / "b.json").to_long().rows() == [("t", "w", "1")]


def test_texts_that_look_like_numbers_stay_ids(tmp_path):
    (tmp_path / "a.csv").write_text("item,worker,label,seconds\n007,1,1,0.5\n7,01,2.0,\n")
    answers = read_answers(tmp_path / "a.csv")
    assert answers.to_long().rows() == [("007", "1", "1"), ("7", "01", "2")]
    assert answers.table.frame["seconds"].to_list() == [0.5, None]


def test_bad_lines_are_rejected_with_their_place(tmp_path):
    (tmp_path / "a.csv").write_text("task,worker,label\nt,w,1\nu,w\n,w,1\nv, ,0\nv,w,\n")
    answers = read_answers(tmp_path / "a.csv")
    assert (len(answers), answers.n_missing) == (1, 1)
    assert answers.table.rejects.select("line", "reason").rows() == [
        (3, "has 2 fields, the header has 3"),
        (4, "lacks task (column 'task')"),
        (5, "lacks worker (column 'worker')"),
    ]


@pytest.mark.parametrize("first", ["task", "Item ID", "question", "", "index", "Unnamed: 0", "id"])
def test_wide_files(tmp_path, first):
    (tmp_path / "a.csv").write_text(first + WIDE_CSV.removeprefix("task"))
    answers = read_answers(tmp_path / "a.csv")
    same(answers, "wide")
    assert answers.n_missing == 2
    pl.read_csv(tmp_path / "a.csv").write_parquet(tmp_path / "a.parquet")
    same(read_answers(tmp_path / "a.parquet"), "wide")


def test_wide_pandas_frames(tmp_path):
    pandas = pytest.importorskip("pandas")
    wide = pandas.DataFrame(LONG.to_dicts()).pivot(index="task", columns="worker", values="label")
    for frame in (wide, wide.rename_axis(index=None), wide.reset_index(), wide.rename_axis(index="my tasks")):
        same(read_answers(frame), "wide")
    for name, frame in (("named", wide), ("bare", wide.rename_axis(index=None))):
        frame.to_csv(tmp_path / f"{name}.csv")
        frame.to_parquet(tmp_path / f"{name}.parquet")
        same(read_answers(tmp_path / f"{name}.csv"), "wide")
        same(read_answers(tmp_path / f"{name}.parquet"), "wide")
    numbered = pandas.DataFrame({4: ["x", None], 5: [None, "y"]})
    assert read_answers(numbered).to_long().rows() == [("0", "4", "x"), ("1", "5", "y")]
    levels = pandas.DataFrame({"w": [1]}, index=pandas.MultiIndex.from_tuples([(1, 2)]))
    with pytest.raises(DataError, match=r"must have one level, which names the tasks, found 2; reset it and name"):
        read_answers(levels)


@pytest.mark.parametrize(
    ("array", "rows", "n_missing"),
    [
        (np.array([[1, 0], [0, 2]]), [("0", "0", "1"), ("0", "1", "0"), ("1", "0", "0"), ("1", "1", "2")], 0),
        (np.array([[1, np.nan], [0, 2.5]]), [("0", "0", "1"), ("1", "0", "0"), ("1", "1", "2.5")], 1),
        (np.array([["a", None], [np.nan, "b"]], dtype=object), [("0", "0", "a"), ("1", "1", "b")], 2),
        (np.array([["a", ""]]), [("0", "0", "a")], 1),
        (np.ma.masked_equal(np.array([[3, 9]]), 9), [("0", "0", "3")], 1),
        (np.array([[True, False]]), [("0", "0", "true"), ("0", "1", "false")], 0),
    ],
)
def test_arrays(array, rows, n_missing):
    answers = read_answers(array)
    assert (answers.to_long().rows(), answers.n_missing, answers.layout) == (rows, n_missing, "wide")


def test_wide_answers_come_task_by_task_and_the_first_duplicate_counts():
    frame = pl.DataFrame({"task": ["t", "u", "t"], "ann": [1, None, 2], "bob": [None, 5, 3]})
    answers = read_answers(frame)
    assert answers.to_long().rows() == [("t", "ann", "1"), ("u", "bob", "5"), ("t", "bob", "3")]
    assert (answers.n_missing, answers.n_duplicates, answers.n_conflicting) == (2, 1, 1)


def test_wide_columns_of_different_numbers_and_none_at_all():
    frame = pl.DataFrame({"task": ["t"], "a": [1], "b": [2.0], "c": [None], "d": [float("nan")]})
    assert read_answers(frame).to_long().rows() == [("t", "a", "1"), ("t", "b", "2")]
    texts = pl.DataFrame({"task": ["t"], "a": pl.Series(["x"], dtype=pl.Categorical), "b": ["y"], "c": [None]})
    assert read_answers(texts.with_columns(pl.col("c").cast(pl.Int64))).classes == ("x", "y")


def test_wide_rows_without_a_task_are_rejected_once(tmp_path):
    (tmp_path / "a.csv").write_text("task,ann,bob\nt,1,0\n,1,0\n")
    answers = read_answers(tmp_path / "a.csv")
    assert answers.table.rejects.select("line", "reason").rows() == [(3, "lacks task (column 'task')")]
    assert len(answers) == 2


def test_peerannot(tmp_path):
    (tmp_path / "answers.json").write_text(json.dumps(VOTES | {"t4": {}, "t5": {"ann": None}}, indent=1))
    (tmp_path / "metadata.json").write_text('{"name": "toy", "n_classes": 2}')
    for source in (tmp_path, tmp_path / "answers.json", str(tmp_path)):
        answers = read_answers(source)
        same(answers, "peerannot")
        assert (answers.n_missing, answers.tasks.to_list()) == (1, ["t1", "t2", "t3"])
    (tmp_path / "line.json").write_text(json.dumps(VOTES))
    same(read_answers(tmp_path / "line.json"), "peerannot")
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(VOTES).encode()))
    same(read_answers(tmp_path / "packed.json.gz", layout="peerannot"), "peerannot")
    same(read_answers(VOTES), "peerannot")
    assert read_answers({0: {1: 1}, "1": {2: 1}}).to_long().rows() == [("0", "1", "1"), ("1", "2", "1")]


def test_a_task_of_peerannot_that_is_no_object():
    answers = read_answers(VOTES | {"t9": 3}, layout="peerannot")
    same(answers, "peerannot")
    assert answers.table.rejects.select("line", "reason").rows() == [(5, "is no object but a int")]
    with pytest.raises(DataError, match=r"must be \{task: \{worker: label\}\}, found \['t'\] under 'task'; give this"):
        read_answers({"task": ["t"], "worker": ["w"], "label": [1]})


def test_given_columns():
    frame = LONG.rename({"task": "what", "worker": "who", "label": "mark"})
    same(read_answers(frame, task="what", worker="who", label="mark"), "long")
    wide = pl.DataFrame({"what": ["t"], "label": [1], "worker": [2]})
    answers = read_answers(wide, layout="wide", task="what")
    assert answers.to_long().rows() == [("t", "label", "1"), ("t", "worker", "2")]


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        (LONG, {"layout": "tall"}, "The 'layout' parameter of read_answers must be 'long', 'wide' or 'peerannot'. Got"),
        (LONG, {"format": "csv"}, "The 'format' parameter of read_answers is for paths, the source is a DataFrame."),
        (VOTES, {"format": "csv"}, "The 'format' parameter of read_answers is for paths, the source is a dict."),
        (VOTES, {"task": "t"}, "The 'task' parameter of read_answers is for long frames, the source is peerannot."),
        (
            pl.DataFrame({"task": ["t"], "ann": [1]}),
            {"layout": "wide", "label": "ann"},
            "The 'label' parameter of read_answers is for long frames, the source is wide.",
        ),
        (np.zeros((1, 1)), {"task": "x"}, "The 'task' 'x' is no column of <numpy>."),
        (LONG, {"worker": "wrker"}, "The 'worker' 'wrker' is no column of <polars>. Did you mean 'worker'?"),
    ],
)
def test_bad_parameters(source, options, sentence):
    with pytest.raises(RecipeError) as error:
        read_answers(source, **options)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        (np.zeros(3), {}, "An array of answers must have two dimensions, tasks x workers, found 1; reshape it"),
        (np.zeros((0, 2)), {}, "<numpy> holds no answer: it is empty; give at least one row"),
        (np.zeros((2, 0)), {}, "<numpy> must have a column for each worker beside the task"),
        (np.full((2, 2), np.nan), {}, "<numpy> holds no answer: of 4 rows 4 have no label and 0 were rejected; give"),
        ([], {"layout": "wide"}, "<records> holds no answer: it is empty"),
        ({}, {}, "<records> holds no answer: it is empty"),
        ([{"ann": 1, "bob": 0}], {}, "<records> must have a column for the task, the worker and the label, found the"),
        ([{"ann": 1, "bob": 0}], {"layout": "wide"}, "<records> must have a column for the task beside one for each"),
        ([{"task": 1, "": 1}], {}, "<records> must have a column for each worker beside the task (column 'task')"),
        ([{"task": 1, "a": 1, "b": "x"}], {}, "The labels of <records> must be all text, all numbers or all booleans"),
        ([{"task": 1, "a": 1}, {"task": 2, "a": "x"}], {}, "The labels of <records> (column 'a') must be all text, "),
        ([{"task": 1, "a": [1]}], {}, "The labels of <records> (column 'a') must be all text, all numbers or all "),
        ([{"task": 1, "worker": 1}], {}, "<records> must have a column for the task, the worker and the label, found"),
        (LONG, {"layout": "peerannot"}, "<polars> must hold one object {task: {worker: label}} to be read as peerann"),
        (7, {}, "A table must be read from a path, a pandas or Polars frame"),
    ],
)
def test_sources_that_cannot_be_read(source, options, sentence):
    with pytest.raises(DataError) as error:
        read_answers(source, **options)
    message = str(error.value)
    assert message.startswith(sentence)
    assert message.endswith(".")
    assert len(message) < 500
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"There is no file or folder .*a.csv; check the path."):
        read_answers(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"There is no file or folder .*a.json; check the path."):
        read_answers(tmp_path / "a.json", layout="peerannot")
    (tmp_path / "a.json").write_text(json.dumps(VOTES)[:-9])
    with pytest.raises(DataError, match=r"a.json is no JSON: Unterminated string .* mend the file"):
        read_answers(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("task,worker,label\n")
    with pytest.raises(DataError, match=r"a.csv holds no answer: it is empty; give at least one row"):
        read_answers(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError, match=r"a.csv holds no answer: it is empty"):
        read_answers(tmp_path / "a.csv")


def test_wide_frames_of_many_columns_give_short_errors():
    frame = pl.DataFrame({f"a worker with a long name, number {n}": [1] for n in range(500)})
    for options in ({}, {"layout": "wide"}, {"task": "nobody at all"}):
        with pytest.raises((DataError, RecipeError)) as error:
            read_answers(frame, **options)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("name", "n_answers", "n_workers", "n_tasks"),
    [
        ("bluebird/label.csv", 4212, 39, 108),
        ("rte/label.csv", 8000, 164, 800),
        ("SP/label.csv", 27746, 203, 4999),
        ("d_sentiment/label.csv", 20000, 85, 1000),
        ("d_jn-product/label.csv", 24945, 176, 8315),
        ("product/product_answer.csv.gz", 24945, 176, 8315),
    ],
)
def test_real_crowds(name, n_answers, n_workers, n_tasks):
    if not (CROWD / name).exists():
        pytest.skip(f"the real data set {name} is not beside the project")
    answers = read_answers(CROWD / name)
    codes = answers.codes
    assert (len(answers), codes.n_workers, codes.n_tasks, answers.classes) == (
        n_answers,
        n_workers,
        n_tasks,
        ("0", "1"),
    )
    assert answers.table.rejects.height == answers.n_missing == answers.n_duplicates == 0
    wide = read_answers(answers.to_wide())
    np.testing.assert_array_equal(wide.codes.label, codes.label)
    np.testing.assert_array_equal(wide.codes.task, codes.task)
    np.testing.assert_array_equal(wide.codes.worker, codes.worker)
