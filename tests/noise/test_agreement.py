"""k-NN agreement, the rank rule and the vote rule against plain loops and NumPy's percentile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, RecipeError
from tamis.noise import implied_flag_rate, knn_agreement, rank_rule, vote_rule


def random_graph(rng, n, k, padding=0.15):
    idx = np.stack([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    idx[rng.random(idx.shape) < padding] = -1
    return idx, np.sort(rng.random((n, k)), axis=1)


def votes_by_loop(labels, idx, dist, n_classes, k, include_self):
    votes = np.zeros((len(labels), n_classes))
    for n, own in enumerate(labels):
        around = [(d, labels[j]) for j, d in zip(idx[n], dist[n], strict=True) if j >= 0 and labels[j] >= 0]
        used = around[: k - 1 if include_self else k]
        if include_self and own >= 0 and around:
            nearest = 2 * around[0][0] - around[1][0] if len(around) > 1 else around[0][0]
            used = [(nearest, own), *used]
        for d, label in used:
            votes[n, label] += 1 - d
    return votes


@given(seed=st.integers(0, 2**32 - 1), include_self=st.booleans(), k=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_votes_equal_a_plain_loop(seed, include_self, k):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 4, size=30)
    idx, dist = random_graph(rng, 30, 9)
    result = knn_agreement(labels, idx, dist, 4, k=k, include_self=include_self)
    raw = votes_by_loop(labels, idx, dist, 4, k, include_self)
    norm = np.linalg.norm(raw, axis=1, keepdims=True)
    expected = np.divide(raw, norm, out=np.zeros_like(raw), where=norm > 0)
    np.testing.assert_allclose(result.votes, expected, atol=1e-12)
    np.testing.assert_array_equal(result.vote, np.where(norm[:, 0] > 0, raw.argmax(axis=1), -1))
    measured = (norm[:, 0] > 0) & (labels >= 0)
    np.testing.assert_array_equal(np.isnan(result.score), ~measured)
    np.testing.assert_allclose(result.score[measured], expected[measured, labels[measured]], atol=1e-12)


def test_missing_measurements_are_a_third_state():
    # item 0 has no label, item 1 no neighbour, item 2 only unlabelled neighbours
    labels = np.array([-1, 0, 1, 1])
    idx = np.array([[3, 2], [-1, -1], [0, -1], [2, 0]])
    result = knn_agreement(labels, idx, np.full((4, 2), 0.2), 2)
    np.testing.assert_array_equal(np.isnan(result.score), [True, True, True, False])
    np.testing.assert_array_equal(result.vote, [1, -1, -1, 1])
    T, p = np.full((2, 2), 0.5), np.array([0.5, 0.5])
    np.testing.assert_array_equal(rank_rule(labels, result.score, T, p, 2)[:3], [False, False, False])
    assert not vote_rule(labels, result.vote)[:3].any()


def percentile_rule(labels, score, T, p, n_classes):
    """Follow the published wording: -log, np.percentile, ties flagged."""
    observed = np.bincount(labels, minlength=n_classes) / labels.size
    flags = np.zeros(labels.size, dtype=bool)
    for i in range(n_classes):
        members = np.flatnonzero(labels == i)
        if members.size == 0:
            continue
        rate = 1 - min(1.0, T[i, i] * p[i] / observed[i])
        rate = 0.95 if rate >= 1 else 0.05 if rate <= 0 else rate
        loss = -np.log(score[members] + 1e-8)
        flags[members] = loss >= np.percentile(loss, 100 * (1 - rate))
    return flags


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_rank_rule_equals_the_percentile_of_minus_log_agreement(seed, n):
    rng = np.random.default_rng(seed)
    labels, score = rng.integers(0, 4, size=n), rng.random(n)
    T, p = rng.dirichlet(np.ones(4), size=4), rng.dirichlet(np.ones(4))
    np.testing.assert_array_equal(rank_rule(labels, score, T, p, 4), percentile_rule(labels, score, T, p, 4))


def test_only_exact_hits_of_the_rate_are_moved():
    T, p = np.diag([1.0, 0.999, 0.0]), np.array([0.5, 0.25, 0.25])
    rates = implied_flag_rate(T, p, [0.4, 0.25, 0.35])
    assert rates[0] == 0.05  # T_ii p_i above the observed share
    assert rates[1] == pytest.approx(0.001)  # small, yet not clipped
    assert rates[2] == 0.95
    assert implied_flag_rate(T, p, [0.5, 0.5, 0.0])[2] == 0.05  # nothing observed, nothing to flag


def test_ties_at_the_threshold_are_all_flagged():
    labels, score = np.zeros(10, dtype=int), np.array([0.5] * 6 + [0.9] * 4)
    T, p = np.array([[0.9, 0.1], [0.0, 1.0]]), np.array([1.0, 0.0])  # r = 0.1
    np.testing.assert_array_equal(rank_rule(labels, score, T, p, 2), score == 0.5)


def test_a_percentile_on_a_whole_position_flags_that_item():
    # n = 21 and r = 0.05: position 19 exactly, so the two least supported are flagged, despite rounding
    score = np.linspace(0.1, 0.9, 21)
    flags = rank_rule(np.zeros(21, dtype=int), score, np.eye(2), np.array([1.0, 0.0]), 2)
    np.testing.assert_array_equal(np.flatnonzero(flags), [0, 1])


def test_classes_limits_what_may_be_flagged():
    rng = np.random.default_rng(0)
    labels, score = rng.integers(0, 3, size=300), rng.random(300)
    T, p = np.full((3, 3), 1 / 3), np.full(3, 1 / 3)
    every = rank_rule(labels, score, T, p, 3)
    some = rank_rule(labels, score, T, p, 3, classes=[2])
    np.testing.assert_array_equal(some, every & (labels == 2))
    assert not rank_rule(labels, score, T, p, 3, classes=[]).any()
    with pytest.raises(RecipeError, match="'classes' parameter"):
        rank_rule(labels, score, T, p, 3, classes=[3])


def test_distances_above_one_stay_in_order():
    labels = np.zeros(4, dtype=int)
    flags = rank_rule(labels, [-0.9, -0.1, 0.5, 0.9], [[0.7, 0.3], [0.3, 0.7]], [1.0, 0.0], 2)
    np.testing.assert_array_equal(flags, [True, False, False, False])


def test_bad_input_is_refused():
    idx, dist = np.array([[1], [0]]), np.array([[0.1], [0.1]])
    with pytest.raises(RecipeError, match="'k' parameter of knn_agreement"):
        knn_agreement([0, 1], idx, dist, 2, k=0)
    with pytest.raises(DataError, match="float distances of shape"):
        knn_agreement([0, 1], idx, dist[:, 0], 2)
    with pytest.raises(DataError, match="finite distances"):
        knn_agreement([0, 1], idx, np.array([[np.nan], [0.1]]), 2)
    with pytest.raises(DataError, match="one score per label"):
        rank_rule([0, 1], [0.1], np.eye(2), [0.5, 0.5], 2)
    with pytest.raises(DataError, match="one vote per label"):
        vote_rule([0, 1], [0])
