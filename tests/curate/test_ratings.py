import numpy as np
import polars as pl
import pytest

from tamis.curate.ratings import combine_scores, labels_by_rater, require_measured
from tamis.data import Signal, Table
from tamis.errors import DataError, RecipeError
from tamis.neighbors import NeighborGraph, knn_graph


def table_of(n):
    return Table.from_frame(pl.DataFrame({"id": [f"r{i}" for i in range(n)], "text": [f"t{i}" for i in range(n)]}))


def labels(table, ratings, *, rater=None, scale="auto", criterion="overall"):
    return labels_by_rater(table, ratings, criterion=criterion, rater=rater, scale=scale)


def long(**raters):
    rows = [
        {"unit_id": f"r{i}", "rater": name, "value": value}
        for name, values in raters.items()
        for i, value in enumerate(values)
    ]
    return Signal.from_frame(pl.DataFrame(rows, schema_overrides={"value": pl.Float64}))


@pytest.fixture
def copies():
    """Rows 0-2 are copies of each other, 3-4 too, 5 and 6 stand alone."""
    base = np.eye(4, dtype=np.float32)
    return knn_graph(base[[0, 0, 0, 1, 1, 2, 3]], k=3)


def test_each_rater_is_kept_apart():
    found = labels(table_of(3), long(a=[1, 5, None], b=[2, 2, 3]))
    assert [r.rater for r in found] == ["a", "b"]
    assert found[0].observed.tolist() == [0, 4, -1]
    assert found[0].status.tolist() == ["ok", "ok", "missing"]
    assert found[1].observed.tolist() == [1, 1, 2]


def test_one_rater_on_request():
    assert [r.rater for r in labels(table_of(3), long(a=[1, 5, 2], b=[2, 2, 3]), rater="b")] == ["b"]
    with pytest.raises(RecipeError, match=r"no rater 'bb'.*Did you mean 'b'\?"):
        labels(table_of(3), long(aaaa=[1, 5, 2], b=[2, 2, 3]), rater="bb")


def test_a_detected_scale_is_one_for_all_raters_so_that_classes_mean_the_same():
    found = labels(table_of(3), long(a=[1, 2, 3], b=[1, 9, 10]))
    assert {r.scale.kind for r in found} == {"compress"}
    assert found[0].observed.tolist() == [0, 0, 0]


def test_quantiles_are_cut_for_each_rater():
    found = labels(table_of(4), long(a=[0.1, 0.2, 0.3, 0.4], b=[10.5, 20, 30, 40]), scale="quantile:2")
    assert [r.observed.tolist() for r in found] == [[0, 0, 1, 1]] * 2


@pytest.mark.parametrize(
    "ratings",
    [np.array([1.0, np.nan, 5.0]), Signal.from_frame([{"id": "r0", "value": 1}, {"id": "r2", "value": 5}])],
)
def test_arrays_and_signals_give_the_same_classes(ratings):
    assert labels(table_of(3), ratings)[0].observed.tolist() == [0, -1, 4]


def test_a_column_is_a_rater_of_its_name():
    table = table_of(3).with_columns(pl.Series("gpt", [1, None, 5]))
    found = labels(table, "gpt")
    assert (found[0].rater, found[0].observed.tolist()) == ("gpt", [0, -1, 4])


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        (np.array([3.0, 3.0, np.nan]), "All 2 ratings of the rater 'rating' equal 3"),
        (np.array([np.nan] * 3), "no usable rating"),
        (np.array([1.0, 2.0]), r"shape \(2,\); expected \(3,\)"),
        (np.array([[1.0], [2.0], [3.0]]), r"shape \(3, 1\); expected \(3,\)"),
        (np.array([1.0, 50.0, 2.0]), "fits neither"),
    ],
)
def test_ratings_that_cannot_be_used(ratings, message):
    with pytest.raises(DataError, match=message):
        labels(table_of(3), ratings)


def test_an_infinite_rating_is_unparsed_and_not_a_number():
    found = labels(table_of(3), np.array([1.0, np.inf, 5.0]))[0]
    assert found.observed.tolist() == [0, -1, 4]
    assert found.status[1] == "unparsed"


def test_require_measured_raises_what_the_method_would():
    with pytest.raises(DataError, match="equal 3"):
        require_measured(table_of(2), long(a=[3, 3]), criterion="overall", rater=None, scale="auto")
    with pytest.raises(RecipeError, match="criterion 'style'"):
        require_measured(table_of(2), long(a=[3, 4]), criterion="style", rater=None, scale="auto")


@pytest.mark.parametrize(
    ("values", "of_copies"),
    [
        ([1, 3, 5, 2, 4, 3, 3], [2, 1, 2, 2]),  # odd: the median; even: the lower of the two
        ([np.nan, 5, 1, np.nan, np.nan, 2, 3], [0, -1, 1, 2]),  # unrated copies have no say
        ([5, 5, 1, 4, 4, 1, 2], [4, 3, 0, 1]),
    ],
)
def test_copies_count_once_by_their_lower_median(copies, values, of_copies):
    found = labels(table_of(7), np.array(values, dtype=np.float64), scale="1-5")[0]
    assert found.of_groups(copies).tolist() == of_copies


def test_copies_rated_apart_are_noise_seen_directly(copies):
    found = labels(table_of(7), np.array([1, 1, 2, 4, 4, 3, 3.0]), scale="1-5")[0]
    assert found.copies_rated_apart(copies) == (2, 1)
    found = labels(table_of(7), np.array([1, np.nan, np.nan, 4, 5, 3, 3]), scale="1-5")[0]
    assert found.copies_rated_apart(copies) == (1, 1)
    alone = NeighborGraph.from_arrays([[1], [0], [1]], [[0.1], [0.1], [0.2]])
    assert labels(table_of(3), np.array([1, 2, 3.0]))[0].copies_rated_apart(alone) == (0, 0)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [1.5, 3, 4]), ("median", [1.5, 3, 4]), ("min", [1, 3, 4]), ("max", [2, 3, 4])],
)
def test_combining_leaves_out_raters_without_a_rating(how, expected):
    found = combine_scores([np.array([1, -1, 4, -1]), np.array([2, 3, 4, -1])], how)
    assert found[:3].tolist() == expected
    assert np.isnan(found[3])
