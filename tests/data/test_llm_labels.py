import gzip
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data import Answers, LLMLabels, read_answers, read_llm_labels
from tamis.errors import DataError, RecipeError

ANSWERS = Answers.from_frame(
    [{"task": task, "worker": "ann", "label": label} for task, label in (("t3", "no"), ("t1", "yes"), ("t2", "no"))]
)
ROWS = [
    {"task": "t2", "model": "gpt", "sample": 1, "label": "yes"},
    {"task": "t1", "model": "gpt", "sample": 0, "label": "no"},
    {"task": "t9", "model": "llama", "sample": 0, "label": "no"},
    {"task": "t1", "model": "llama", "sample": 0, "label": None},
    {"task": "t2", "model": "gpt", "sample": 0, "label": "maybe"},
    {"task": "t3", "model": "gpt", "sample": 0, "label": "yes"},
]


def test_rows_are_sorted_and_have_a_status():
    labels = read_llm_labels(ROWS)
    assert labels.frame.rows() == [
        ("t1", "gpt", 0, "no", "ok"),
        ("t2", "gpt", 0, "maybe", "ok"),
        ("t3", "gpt", 0, "yes", "ok"),
        ("t2", "gpt", 1, "yes", "ok"),
        ("t1", "llama", 0, None, "missing"),
        ("t9", "llama", 0, "no", "ok"),
    ]
    assert (labels.models, labels.samples("gpt"), labels.samples("llama")) == (["gpt", "llama"], [0, 1], [0])
    assert repr(labels) == "LLMLabels(6 labels about 4 tasks by 2 models: 5 ok, 1 missing)"
    assert len(labels) == 6


@settings(deadline=None)
@given(rows=st.permutations(ROWS))
def test_the_order_of_rows_does_not_matter(rows):
    labels = read_llm_labels(rows)
    assert labels.frame.equals(read_llm_labels(ROWS).frame)
    aligned = labels.aligned(ANSWERS)
    assert aligned.names == (("gpt", 0), ("gpt", 1), ("llama", 0))
    np.testing.assert_array_equal(aligned.codes, [[0, -1, 1], [-1, 1, -1], [-1, -1, -1]])
    assert aligned.codes.dtype == np.int32
    assert (aligned.n_unknown, aligned.first_unknown) == (1, "maybe")
    assert (aligned.n_other_tasks, aligned.n_failed) == (1, 1)


def test_rows_of_one_model():
    aligned = read_llm_labels(ROWS).aligned(ANSWERS)
    assert [row.tolist() for row in aligned.of("gpt")] == [[0, -1, 1], [-1, 1, -1]]
    with pytest.raises(RecipeError, match=r"No label is by the model 'lama'. Did you mean 'llama'\?"):
        aligned.of("lama")
    with pytest.raises(RecipeError, match=r"No label is by the model 'x'. Known names: gpt, llama."):
        read_llm_labels(ROWS).samples("x")


def test_every_label_is_counted_once():
    aligned = read_llm_labels(ROWS).aligned(ANSWERS)
    assert (aligned.codes >= 0).sum() + aligned.n_unknown + aligned.n_other_tasks + aligned.n_failed == len(ROWS)


def test_without_columns_for_model_and_sample():
    rows = [{"item": 1, "answer": True}, {"item": 2, "answer": False}, {"item": 1, "answer": False}, {"item": 1}]
    assert read_llm_labels(rows).frame.rows() == [
        ("1", "llm", 0, "true", "ok"),
        ("2", "llm", 0, "false", "ok"),
        ("1", "llm", 1, "false", "ok"),
        ("1", "llm", 2, None, "missing"),
    ]
    assert read_llm_labels(rows, model="gpt").models == ["gpt"]
    assert read_llm_labels(ROWS, model="other").models == ["gpt", "llama"]


@pytest.mark.parametrize("name", ["gpt-4.1.csv", "gpt-4.1.tsv", "gpt-4.1.jsonl.gz", "gpt-4.1.json", "gpt-4.1.parquet"])
def test_files_are_called_like_the_model(tmp_path, name):
    frame = pl.DataFrame({"task": ["1", "2"], "label": [3, None]})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.write_parquet(path)
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress(frame.write_ndjson().encode()))
    elif name.endswith("json"):
        path.write_text(json.dumps(frame.to_dicts()))
    else:
        path.write_text(frame.write_csv(separator="\t" if name.endswith("tsv") else ","))
    labels = read_llm_labels(path)
    assert labels.frame.rows() == [("1", "gpt-4.1", 0, "3", "ok"), ("2", "gpt-4.1", 0, None, "missing")]
    assert read_llm_labels(str(path), model="x").models == ["x"]


def test_a_folder_and_an_odd_name(tmp_path):
    folder = tmp_path / "llama.3"
    folder.mkdir()
    (folder / "a.csv").write_text("task,label\nt,x\n")
    assert read_llm_labels(folder).models == ["llama.3"]
    (tmp_path / "phi-3.5").write_text("task,label\nt,x\n")
    assert read_llm_labels(tmp_path / "phi-3.5", format="csv").models == ["phi-3.5"]


def test_labels_have_the_names_that_answers_have(tmp_path):
    (tmp_path / "crowd.csv").write_text("task,ann,bob\n1,1.0,0.0\n2,,1.0\n")
    answers = read_answers(tmp_path / "crowd.csv")
    for values in ([1, 0], [1.0, 0.0], ["1", " 0 "], ["1.0", "0"]):
        labels = read_llm_labels([{"task": task, "label": value} for task, value in zip([1, 2], values, strict=True)])
        assert labels.aligned(answers).codes.tolist() == [[1, 0]]


def test_statuses(tmp_path):
    (tmp_path / "a.csv").write_text(
        "task,label,status,sample\nt1,yes,ok,0\nt2,,refused,0\nt3,,unparsed,0\nt1,,missing,1\n"
    )
    labels = read_llm_labels(tmp_path / "a.csv")
    assert labels.frame["status"].to_list() == ["ok", "refused", "unparsed", "missing"]
    aligned = labels.aligned(ANSWERS)
    assert (aligned.codes.tolist(), aligned.n_failed, aligned.n_unknown) == ([[1, -1, -1], [-1, -1, -1]], 3, 0)
    assert aligned.first_unknown is None


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "<records> holds no label: it is empty; give at least one row"),
        ([{"task": "t", "text": "x"}], "<records> must have a column for the task and the label, and may have some "),
        ([{"task": "t", "label": "x"}, 7], "<records> has 1 rows that cannot be read (first: <records>, line 2: is no"),
        ([{"task": None, "label": "x"}], "1 rows of <records> have no task (first: row 1); every label needs one."),
        ([{"task": "t", "label": "x", "model": " "}], "1 rows of <records> have no model (first: row 1)"),
        ([{"task": "t", "label": "x", "sample": None}], "1 rows of <records> have no sample (first: row 1)"),
        (
            [{"task": "t", "label": "x", "sample": "b"}],
            "The samples of <records> must be whole numbers from 0, found 'b'",
        ),
        (
            [{"task": "t", "label": "x", "sample": -1}],
            "The samples of <records> must be whole numbers from 0, found '-1'",
        ),
        (
            [{"task": "t", "label": "x", "sample": 0.5}],
            "The column 'sample' of <records> must hold text or integer ids",
        ),
        (
            [{"task": "t", "label": "x", "status": "good"}],
            "The status of <records> must be one of ok, missing, refused",
        ),
        ([{"task": "t", "label": "x", "status": "refused"}], "1 rows of <records> have a label although their status "),
        (
            [{"task": "t", "label": " ", "status": "ok"}],
            "1 rows of <records> have a label although their status is not",
        ),
        (
            [{"task": "t", "label": 1}, {"task": "u", "label": "x"}],
            "The labels of <records> (column 'label') must be all",
        ),
        (
            [{"task": "t", "label": "x", "sample": 3}] * 2,
            "2 labels of <records> are by the same model and sample for the same task (first: 'llm', sample 3, ",
        ),
        (
            [{"item": "t", "unit": "t", "label": "x"}],
            "Several columns of <records> may hold the task ('item', 'unit'); k",
        ),
    ],
)
def test_rows_that_are_no_labels(rows, sentence):
    with pytest.raises(DataError) as error:
        read_llm_labels(rows)
    assert str(error.value).startswith(sentence)
    assert len(str(error.value)) < 500


def test_a_bad_line_is_an_error_and_not_a_missing_label(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"task": "t", "label": "x"}\nbroken\n')
    with pytest.raises(DataError, match=r"a.jsonl has 1 rows that cannot be read \(first: .*line 2: is no JSON"):
        read_llm_labels(tmp_path / "a.jsonl")


def test_bad_parameters():
    for model in ("", 7):
        with pytest.raises(
            RecipeError, match=f"'model' parameter of read_llm_labels must be a name. Got {model!r} ins"
        ):
            read_llm_labels(ROWS, model=model)


def test_concat():
    rows = [{"task": "t", "label": "x"}]
    parts = [read_llm_labels(rows, model=model) for model in ("b", "a")]
    assert LLMLabels.concat(parts).frame["model"].to_list() == ["a", "b"]
    with pytest.raises(
        DataError, match=r"2 labels of LLMLabels are by the same model and sample .*'a', sample 0, task"
    ):
        LLMLabels.concat([parts[1], parts[1]])
    with pytest.raises(DataError, match="needs at least one set of labels, got none"):
        LLMLabels.concat([])


def test_the_frame_is_checked():
    frame = read_llm_labels(ROWS).frame
    with pytest.raises(DataError, match=r"The frame of LLMLabels must have the columns task, model, sample, label, st"):
        LLMLabels(frame.drop("status"))
    with pytest.raises(DataError, match="The rows of LLMLabels must be sorted by model, sample and task"):
        LLMLabels(frame.reverse())
    with pytest.raises(DataError, match="5 rows of LLMLabels have a label although their status is not ok, or none "):
        LLMLabels(frame.with_columns(label=pl.lit(None, dtype=pl.String)))


def test_answers_that_nobody_is_left_of():
    aligned = read_llm_labels(ROWS).aligned(ANSWERS.take([]))
    assert (aligned.codes.shape, aligned.n_other_tasks, aligned.n_failed) == ((3, 0), 6, 0)
