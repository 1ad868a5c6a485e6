from datetime import date
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.label_classes import MAX_CLASSES, class_order, classes_of, label_texts, value_name
from tamis.errors import DataError, RecipeError


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 0, None], ["1", "0", None]),
        ([2**63 - 1, -5], ["9223372036854775807", "-5"]),
        ([1.0, -0.0, 2.5, float("nan"), None], ["1", "0", "2.5", None, None]),
        ([True, False, None], ["true", "false", None]),
        (["a", " a ", "A", "", "  ", "NaN", None], ["a", "a", "A", None, None, None, None]),
        (["1.0", "-2.00", "-0.0", "007", "1.50", "1.", "v1.0"], ["1", "-2", "0", "007", "1.50", "1.", "v1.0"]),
        (["True", "TRUE", "true", "False", "tRUE"], ["true", "true", "true", "false", "tRUE"]),
        ([Decimal("1.00"), Decimal("0.25")], ["1", "0.25"]),
        ([None, None], [None, None]),
    ],
)
def test_names_of_labels(values, names):
    assert label_texts(pl.Series("y", values)).to_list() == names


@pytest.mark.parametrize("dtype", [pl.Float32, pl.UInt8, pl.Int16, pl.Categorical, pl.Enum(["0", "1"])])
def test_types_of_numbers_and_categories(dtype):
    values = ["1", "0"] if dtype == pl.Categorical or dtype == pl.Enum else [1, 0]
    assert label_texts(pl.Series("y", values, dtype=dtype)).to_list() == ["1", "0"]


@given(st.integers(-(2**53), 2**53))
def test_a_number_has_one_name_in_every_type(value):
    columns = [pl.Series([value]), pl.Series([float(value)]), pl.Series([str(value)]), pl.Series([f"{value}.0"])]
    assert {label_texts(column)[0] for column in columns} == {str(value)}
    assert value_name(value) == value_name(float(value)) == str(value)


def test_mixed_types_are_refused_with_counts_and_an_example():
    cells = pl.Series("y", ["1", '"cat"', "1", "2.5", "null", "NaN"])
    with pytest.raises(DataError) as error:
        label_texts(cells, is_json=True, where="a.jsonl")
    assert str(error.value) == (
        "The labels of a.jsonl (column 'y') must be all text, all numbers or all booleans, found 3 numbers (such as "
        "1), 1 texts (such as 'cat'); write them in one type."
    )
    with pytest.raises(DataError, match=r"found 1 booleans \(such as True\), 1 numbers \(such as 0\)"):
        label_texts(pl.Series("y", ["true", "0"]), is_json=True)
    with pytest.raises(DataError, match=r"found 2 lists \(such as \[1\]\); write them in one type"):
        label_texts(pl.Series("y", ["[1]", "[1]"]), is_json=True)


def test_json_cells_of_one_type():
    huge = str(2**70)
    assert label_texts(pl.Series([huge, "1", None]), is_json=True).to_list() == [huge, "1", None]
    assert label_texts(pl.Series(['"a"', "NaN", '" "']), is_json=True).to_list() == ["a", None, None]


@pytest.mark.parametrize("column", [pl.Series("y", [[1]]), pl.Series("y", [date(2026, 1, 1)])])
def test_other_types_are_refused(column):
    with pytest.raises(DataError, match=r"\(column 'y'\) must be text, numbers or booleans, found (List|Date)"):
        label_texts(column)


def test_order_of_classes():
    assert class_order(["b", "a", "b", "B"]) == ("B", "a", "b")
    assert class_order(["10", "9", "-1", "2.5", "1e1"]) == ("-1", "2.5", "9", "10", "1e1")
    assert class_order(["1", "01", "1_0"]) == ("01", "1", "1_0")
    assert class_order(["10", "9", "x"]) == ("10", "9", "x")
    assert class_order([]) == ()


@given(st.permutations(["3", "20", "100", "-7"]))
def test_the_order_does_not_depend_on_the_rows(names):
    assert classes_of(pl.Series(names)) == ("-7", "3", "20", "100")


def test_given_classes_fix_the_order_and_may_be_unused():
    assert classes_of(pl.Series(["b"]), ["c", "b", "a"]) == ("c", "b", "a")
    assert classes_of(pl.Series(["1"]), np.array([1.0, 0.0])) == ("1", "0")
    assert classes_of(pl.Series(["true"]), np.array([False, True])) == ("false", "true")
    assert classes_of(pl.Series(["1"]), [np.int64(1), np.float64(2.5)]) == ("1", "2.5")
    assert classes_of(pl.Series(["a"]), pl.Series(["a"])) == ("a",)


def test_a_label_outside_the_given_classes():
    with pytest.raises(DataError) as error:
        classes_of(pl.Series(["yes", "noo", "maybe"]), ["yes", "no"], where="a.csv")
    assert str(error.value) == (
        "2 labels of a.csv are none of the 2 classes (first: 'maybe'); name them in classes= or mend them. "
        "Known names: no, yes."
    )
    with pytest.raises(DataError, match=r"\(first: 'noo'\); .* Did you mean 'no'\?"):
        classes_of(pl.Series(["noo"]), ["yes", "no"])


@pytest.mark.parametrize(
    ("classes", "got"),
    [
        ("yes", "'yes'"),
        (7, "7"),
        ([], "0"),
        (["a", "b", "a"], "'a'"),
        ([1, 1.0], "1.0"),
        (["a", None], "None"),
        (["a", " "], "' '"),
        ([["a"]], r"\['a'\]"),
        (np.zeros((2, 2)), r"array\(\[0., 0.\]\)"),
        (range(MAX_CLASSES + 1), "1001"),
    ],
)
def test_classes_that_are_no_names(classes, got):
    sentence = f"The 'classes' parameter of read_answers must be a sequence of 1 to 1000 different names. Got {got} "
    with pytest.raises(RecipeError, match=sentence):
        classes_of(pl.Series(["a"]), classes)


def test_measurements_are_no_classes():
    numbers = pl.Series([str(number) for number in range(MAX_CLASSES + 1)])
    assert len(classes_of(numbers.head(MAX_CLASSES))) == MAX_CLASSES
    with pytest.raises(DataError, match=r"look like measurements or free text: there are 1001 different .* group them"):
        classes_of(numbers)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda long: classes_of(pl.Series(long), [f"class {number}" for number in range(1000)]),
        lambda long: classes_of(pl.Series(long), ["a" * 5000, "a" * 5000]),
        lambda long: classes_of(pl.Series([f"{label}{n}" for n, label in enumerate(long * 600)])),
    ],
)
def test_errors_stay_short(break_it):
    with pytest.raises((DataError, RecipeError)) as error:
        break_it(["word\n" * 1000, "line\n" * 1000])
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)
