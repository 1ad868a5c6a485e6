import numpy as np
import pytest

from tamis.curate import RatingScale
from tamis.errors import DataError, RecipeError


def of(text, *values):
    return RatingScale.parse(text, np.array(values, dtype=np.float64))


def test_the_compression_of_1_to_10_is_that_of_the_paper():
    scale = of("1-10", 1, 10)
    assert scale.classes(np.arange(1.0, 11.0)).tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 5]
    assert scale.n_classes == 6
    assert scale.names == ("1-4", "5", "6", "7", "8", "9-10")


@pytest.mark.parametrize("text", ["0-5", "1-5", "1-10", "quantile:3", "auto"])
def test_a_missing_rating_is_minus_one_never_zero(text):
    values = np.array([1.0, np.nan, 5.0, 3.0, np.nan])
    classes = RatingScale.parse(text, values[~np.isnan(values)]).classes(values)
    assert (classes < 0).tolist() == [False, True, False, False, True]
    assert set(classes[np.isnan(values)]) == {-1}


def test_a_range_has_one_class_a_whole_number_and_rounds_halves_upward():
    scale = of("-2-2", -2, 2)
    assert scale.names == ("-2", "-1", "0", "1", "2")
    assert scale.classes(np.array([-2.0, -1.5, -0.5, 0.49, 1.5])).tolist() == [0, 1, 2, 2, 4]


@pytest.mark.parametrize(
    ("values", "kind", "low", "high"),
    [
        ([1, 5, 3], "range", 1, 5),
        ([2, 4], "range", 1, 5),
        ([0, 5], "range", 0, 5),
        ([1, 6], "compress", 1, 10),
        ([9, 10], "compress", 1, 10),
        ([1.5, 2.25, 9.75, 4.0, 5.0, 6.5], "quantile", 1.5, 9.75),
    ],
)
def test_auto_detection(values, kind, low, high):
    scale = of("auto", *values)
    assert (scale.kind, scale.low, scale.high) == (kind, low, high)


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("1-5", [0, 3], r"1 ratings lie outside the scale 1-5 \(first: 0\).*--scale"),
        ("0-5", [1, 6, 7], r"2 ratings lie outside the scale 0-5 \(first: 6\)"),
        ("1-10", [1, 11], "outside the scale 1-10"),
        ("auto", [0, 10], "fits neither 1-5, 0-5 nor 1-10"),
        ("auto", [-1, 3], "fits neither"),
        ("auto", [1, 100], "fits neither"),
    ],
)
def test_ratings_outside_the_scale_are_refused(text, values, message):
    with pytest.raises(DataError, match=message):
        of(text, *values)


@pytest.mark.parametrize("text", ["5-1", "3-3", "0-99", "1..5", "", "stars", "quantile:1", "quantile:0"])
def test_bad_scales_are_named(text):
    with pytest.raises(RecipeError, match="'scale' parameter of DS2"):
        of(text, 1, 2)


def test_quantile_classes_are_equally_filled_and_in_order():
    values = np.random.default_rng(0).gamma(2.0, size=6000)
    scale = RatingScale.parse("quantile:6", values)
    classes = scale.classes(values)
    assert np.bincount(classes).tolist() == [1000] * 6
    order = np.argsort(values)
    assert (np.diff(classes[order]) >= 0).all()
    assert scale.n_classes == len(scale.names) == len(scale.edges) + 1


def test_quantiles_of_tied_values_leave_no_empty_class():
    values = np.array([1.5] * 90 + [2.5] * 5 + [3.5] * 5)
    scale = RatingScale.parse("quantile:6", values)
    assert (np.bincount(scale.classes(values), minlength=scale.n_classes) > 0).all()
