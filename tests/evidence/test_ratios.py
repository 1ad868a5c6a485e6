"""Ratios over records: the formula, what its intervals cover, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from tamis.evidence.ratios import ratio_interval


def test_the_formula():
    y, n = np.array([1.0, 3.0, 2.0, 5.0]), np.array([2, 4, 4, 5])
    ratio = y.sum() / n.sum()
    # Cochran 1977, equation 6.13, written out with the mean of the counts in the denominator
    variance = sum((a - ratio * b) ** 2 for a, b in zip(y, n, strict=True)) / (len(y) - 1) / len(y) / n.mean() ** 2
    half = t.ppf(0.975, 3) * np.sqrt(variance)
    assert ratio_interval(y, n) == pytest.approx((ratio, ratio - half, ratio + half))


def test_the_level_widens_it():
    y, n = np.array([1.0, 3.0, 2.0, 5.0]), np.array([2, 4, 4, 5])
    narrow, wide = (ratio_interval(y, n, level=level) for level in (0.8, 0.99))
    assert wide[1] < narrow[1] < narrow[0] < narrow[2] < wide[2]


@pytest.mark.parametrize("spread", [0.05, 0.4], ids=["alike", "clustered"])
def test_it_covers_the_truth_where_tokens_of_a_record_are_alike(spread):
    """Token losses share their record's level, and long records have another level than short ones."""
    rng, truth, inside, runs = np.random.default_rng(3), 1.25, 0, 1500
    naive = 0
    for _ in range(runs):
        n = rng.integers(5, 60, 40)
        level = rng.normal(0, spread, 40)
        y = truth * n + level * n + rng.normal(0, 1, 40) * np.sqrt(n) * 0.5
        value, low, high = ratio_interval(y, n)
        inside += low <= truth <= high
        half = 1.96 * 0.5 / np.sqrt(n.sum())  # as if tokens were independent
        naive += abs(value - truth) <= half
    assert 0.925 < inside / runs < 0.975
    if spread > 0.1:
        assert naive / runs < 0.6, "without clusters there would be nothing to show"


def test_bounds_hold_for_the_interval():
    y, n = np.array([3, 4, 0, 4]), np.array([4, 4, 4, 4])
    free = ratio_interval(y, n)
    value, low, high = ratio_interval(y, n, bounds=(0.0, 1.0))
    assert free[2] > 1.0
    assert (value, low, high) == (free[0], max(free[1], 0.0), 1.0)
    assert ratio_interval(4 - y, n, bounds=(0.0, 1.0))[1] == 0.0


def test_records_without_a_token_do_not_count():
    y, n = np.array([1.0, 0.0, 3.0, 2.0]), np.array([2, 0, 4, 4])
    assert ratio_interval(y, n) == ratio_interval(y[[0, 2, 3]], n[[0, 2, 3]])


def test_no_record_and_one():
    assert np.isnan(ratio_interval(np.zeros(0), np.zeros(0))).all()
    assert np.isnan(ratio_interval(np.zeros(3), np.zeros(3))).all()
    value, low, high = ratio_interval(np.array([3.0, 0.0]), np.array([4, 0]))
    assert value == 0.75
    assert np.isnan([low, high]).all()


def test_equal_records_have_no_spread():
    assert ratio_interval(np.full(5, 2.0), np.full(5, 4)) == pytest.approx((0.5, 0.5, 0.5))


def test_whole_numbers_are_taken():
    value, low, high = ratio_interval(np.array([1, 2, 3]), np.array([2, 2, 9], dtype=np.int64))
    assert all(isinstance(each, float) for each in (value, low, high))
