"""AUROC against scikit-learn, DeLong's variance against his own sums, and how often the interval holds the truth."""

from __future__ import annotations

import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tamis.errors import DataError
from tamis.evidence import auroc
from tamis.evidence.resampling import share_interval


def two_groups(seed, n_positive, n_other, shift, decimals=1):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(shift, 1, n_positive), rng.normal(0, 1, n_other)]).round(decimals)
    return scores, np.arange(n_positive + n_other) < n_positive


def delong_by_loops(scores, positive):
    """Value and variance by the kernel of every pair: DeLong et al. (1988), equations 2 to 5."""
    xs, ys = scores[positive], scores[~positive]
    kernel = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in ys] for x in xs])
    v10, v01 = kernel.mean(axis=1), kernel.mean(axis=0)
    theta = kernel.mean()
    s10 = sum((v - theta) ** 2 for v in v10) / (len(xs) - 1)
    s01 = sum((v - theta) ** 2 for v in v01) / (len(ys) - 1)
    return theta, s10 / len(xs) + s01 / len(ys)


@given(pairs=st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=100, deadline=None)
def test_the_value_is_that_of_scikit_learn(pairs):
    scores, positive = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    if positive.all() or not positive.any():
        assert np.isnan(auroc(scores, positive)).all()
    else:
        assert auroc(scores, positive)[0] == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@pytest.mark.parametrize(("n_positive", "n_other", "shift"), [(7, 12, 0.8), (40, 9, 0.0), (25, 30, -1.5), (2, 2, 0.1)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_delongs_on_the_logit_scale(n_positive, n_other, shift, level):
    scores, positive = two_groups(3, n_positive, n_other, shift)
    theta, variance = delong_by_loops(scores, positive)
    assert 0 < theta < 1
    value, low, high = auroc(scores, positive, level=level)
    half = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance) / (theta * (1 - theta))
    logit = np.log(theta / (1 - theta))
    assert value == pytest.approx(theta)
    assert np.log(low / (1 - low)) == pytest.approx(logit - half)
    assert np.log(high / (1 - high)) == pytest.approx(logit + half)


@pytest.mark.parametrize(("shift", "size"), [(0.0, 20), (1.0, 20), (1.8, 30)])
def test_intervals_hold_the_true_area_about_as_often_as_they_say(shift, size):
    truth = NormalDist().cdf(shift / np.sqrt(2))
    found = np.array([auroc(*two_groups(seed, size, 2 * size, shift, decimals=9)) for seed in range(600)])
    held = np.mean((found[:, 1] <= truth) & (truth <= found[:, 2]))
    assert 0.92 <= held <= 0.98
    assert np.mean(found[:, 0]) == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize(("scores", "value"), [([1, 2, 3, 4, 5], 1.0), ([4, 5, 1, 2, 3], 0.0), ([7] * 5, 0.5)])
def test_no_variance_is_no_certainty(scores, value):
    found = auroc(scores, [False, False, True, True, True])
    assert found == pytest.approx(share_interval(2 * value, 2))
    assert found[2] - found[1] > 0.5


def test_units_without_a_score_are_left_out():
    scores, positive = two_groups(0, 20, 20, 1.0)
    more = np.append(scores, [np.nan, np.nan]), np.append(positive, [True, False])
    assert auroc(*more) == auroc(scores, positive)


def test_one_unit_of_a_class_has_a_value_and_no_interval():
    value, low, high = auroc([3.0, 1.0, 4.0], [True, False, False])
    assert value == 0.5
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("positive", [[True] * 3, [False] * 3])
def test_one_class_alone_is_undefined(positive):
    assert np.isnan(auroc([1.0, 2.0, 3.0], positive)).all()


def test_nothing_is_undefined():
    assert np.isnan(auroc([], [])).all()


def test_order_of_units_and_any_rising_change_of_scores_leave_it():
    scores, positive = two_groups(1, 15, 25, 0.7)
    order = np.random.default_rng(0).permutation(40)
    assert auroc(scores[order], positive[order]) == pytest.approx(auroc(scores, positive))
    assert auroc(np.exp(scores), positive.astype(int)) == pytest.approx(auroc(scores, positive))
    value, low, high = auroc(scores, positive)
    assert auroc(-scores, positive) == pytest.approx((1 - value, 1 - high, 1 - low))


@pytest.mark.parametrize("positive", [[True, False], [[True], [False], [True]]])
def test_other_shapes_are_refused(positive):
    with pytest.raises(DataError, match="one score and one class per unit"):
        auroc([1.0, 2.0, 3.0], positive)


def test_other_classes_are_refused():
    with pytest.raises(DataError, match="true and false"):
        auroc([1.0, 2.0, 3.0], [0, 1, 2])


def test_evidence_alone_does_not_load_scipy_stats():
    code = "import sys, tamis.evidence; print('scipy.stats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
