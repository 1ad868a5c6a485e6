"""Intervals of workers' scores hold the lowest expected score, with one model and with several."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data import AnswerCodes
from tamis.people.intervals import lowest_intervals
from tamis.people.scoring import Terms
from tamis.people.strata import Strata
from tamis.people.worker_scores import score_workers


def test_one_model_gives_the_normal_interval():
    score, se = np.array([[0.1], [0.2]]), np.array([[0.01], [0.03]])
    low, high = lowest_intervals(score, se, np.ones((2, 1), dtype=bool))
    np.testing.assert_allclose(low, [0.0804, 0.1412], atol=1e-4)
    np.testing.assert_allclose(high, [0.1196, 0.2588], atol=1e-4)


def test_models_that_do_not_count_change_nothing():
    score, se = np.array([[0.1, -5.0]]), np.array([[0.01, 0.01]])
    only = lowest_intervals(score, se, np.array([[True, False]]))
    np.testing.assert_array_equal(only, lowest_intervals(score[:, :1], se[:, :1], np.array([[True]])))
    assert np.isnan(lowest_intervals(score, se, np.zeros((1, 2), dtype=bool))).all()


@pytest.mark.parametrize("n_models", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_they_hold_the_lowest_expected_score(n_models, apart):
    """Where models explain the same, the lowest estimate is most biased: both ends must hold all the same."""
    rng = np.random.default_rng(0)
    expected = apart * np.arange(n_models)
    score = expected + rng.normal(size=(6000, n_models))
    ones = np.ones(score.shape)
    low, high = lowest_intervals(score, ones, ones.astype(bool))
    assert (high < 0).mean() < 0.031
    assert (low > 0).mean() < 0.031
    if apart == 0:
        assert (high < 0).mean() > 0.018, "independent models use all that is allowed above"


def test_they_cover_with_strata_of_any_size():
    """Terms of known mean in strata of very different sizes, tiny ones too: 95 % of intervals hold it."""
    rng = np.random.default_rng(3)
    n_workers, per = 1500, (3, 6, 30)
    n_tasks = sum(per)
    task, worker = np.tile(np.arange(n_tasks), n_workers), np.repeat(np.arange(n_workers), n_tasks)
    codes = AnswerCodes.of(task, worker, np.zeros(len(task)), n_classes=2)
    strata = Strata.of(codes, np.repeat(np.arange(3), per).astype(np.int32))
    stratum = strata.group_stratum[strata.group]
    values = np.array([0.1, 0.2, 0.3])[stratum] + rng.choice([-0.2, 0.2], len(task))
    expected = strata.weight @ [0.1, 0.2, 0.3]
    found = score_workers(Terms(strata, values[:, None]))
    low, high = lowest_intervals(found.score, found.se, np.ones((n_workers, 1), dtype=bool))
    assert 0.92 < ((low <= expected) & (expected <= high)).mean() < 0.97
