"""Intervals of workers' scores: the right spread, the right coverage, the minimum over models in every replicate."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data import AnswerCodes
from tamis.people import intervals
from tamis.people.intervals import bootstrap_scores, score_covariance
from tamis.people.scoring import Terms, score_answers
from tamis.people.strata import Strata
from tamis.people.worker_scores import score_workers


def drawn(terms, used=None, n=4000, seed=0, renormalise=False):
    score = np.column_stack([score_workers(each, renormalise=renormalise).score[:, 0] for each in terms])
    used = np.ones(score.shape, dtype=bool) if used is None else used
    covariance = score_covariance(terms, renormalise=renormalise)
    return bootstrap_scores(score, covariance, used, n_bootstrap=n, rng=np.random.default_rng(seed))


@pytest.fixture
def two(crowd, noisy):
    """Terms of 12 workers under two LLMs."""
    codes, truth = crowd(workers=12, tasks=300, density=0.6)
    return [score_answers(Strata.of(codes, noisy(truth, seed=seed))) for seed in (1, 2)]


def test_one_model_gives_the_normal_interval(two):
    found = score_workers(two[0])
    low, high = drawn(two[:1])
    np.testing.assert_allclose(low, found.score[:, 0] - 1.96 * found.se[:, 0], atol=1e-5)
    np.testing.assert_allclose(high, found.score[:, 0] + 1.96 * found.se[:, 0], atol=1e-5)


@pytest.mark.parametrize("renormalise", [False, True])
def test_variances_are_squared_standard_errors(two, renormalise):
    covariance = score_covariance(two, renormalise=renormalise)
    for index, terms in enumerate(two):
        se = score_workers(terms, renormalise=renormalise).se[:, 0]
        np.testing.assert_allclose(np.sqrt(covariance[:, index, index]), se)


def test_covariances_are_those_of_resampled_tasks(two):
    """Against what it stands for: weight the tasks of a worker at random, and look at both scores together."""
    codes = two[0].strata.codes
    rng, mine = np.random.default_rng(0), np.flatnonzero(codes.worker == 3)
    columns = []
    for each in two:
        term = np.full(len(codes), np.nan)
        term[each.strata.order] = each.values[:, 0]
        columns.append((term[mine], each.strata.z[codes.task[mine]], each.strata.weight))
    replicates = []
    for _ in range(4000):
        weight = rng.exponential(size=len(mine))
        replicates.append(
            [sum(w[s] * np.average(x[z == s], weights=weight[z == s]) for s in range(3)) for x, z, w in columns]
        )
    np.testing.assert_allclose(score_covariance(two)[3], np.cov(np.array(replicates).T), rtol=0.2)


def test_the_minimum_is_taken_in_every_replicate(two):
    each = np.stack([drawn([terms]) for terms in two])
    lowest = drawn(two)
    assert (lowest[0] <= each[:, 0].min(axis=0) + 0.01).all()
    assert (lowest[1] <= each[:, 1].min(axis=0) + 0.01).all()
    assert (lowest[1] < each[:, 1].max(axis=0) + 0.01).all()
    np.testing.assert_allclose(drawn(two, np.tile([False, True], (12, 1))), each[1])


def test_a_minimum_of_two_equals_is_lower_than_either():
    """Two independent scores of mean 0: the minimum of two standard normals has its quantiles at -2.24 and 1.00."""
    score, covariance = np.zeros((1, 2)), np.eye(2)[None]
    low, high = bootstrap_scores(
        score, covariance, np.ones((1, 2), dtype=bool), n_bootstrap=200_000, rng=np.random.default_rng(0)
    )
    assert low[0] == pytest.approx(-2.236, abs=0.03)
    assert high[0] == pytest.approx(1.002, abs=0.03)
    same = bootstrap_scores(
        score, np.ones((1, 2, 2)), np.ones((1, 2), dtype=bool), n_bootstrap=200_000, rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(same.ravel(), [-1.96, 1.96], atol=0.03)


def test_memory_blocks_keep_the_distribution(two, monkeypatch):
    whole = drawn(two)
    monkeypatch.setattr(intervals, "DRAWS_AT_ONCE", 1)
    np.testing.assert_allclose(drawn(two), whole, atol=0.01)


def test_a_worker_without_a_score_has_no_interval(two):
    used = np.ones((12, 2), dtype=bool)
    used[2] = False
    low, high = drawn(two, used)
    assert np.isnan([low[2], high[2]]).all()
    assert not np.isnan(np.delete(low, 2)).any()


def test_the_same_seed_draws_the_same(two):
    np.testing.assert_array_equal(drawn(two, n=50), drawn(two, n=50))
    assert not np.array_equal(drawn(two, n=50), drawn(two, n=50, seed=1))


def test_they_cover_the_expected_score():
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
    low, high = drawn([Terms(strata, values[:, None])])
    assert 0.92 < ((low <= expected) & (expected <= high)).mean() < 0.97
