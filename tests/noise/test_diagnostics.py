"""Diagnostics: excess agreement as a test of size and power, purity, and the figures of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.noise import (
    NoiseDiagnostics,
    count_moments,
    diagnose,
    excess_agreement,
    model_moments,
    triple_moments,
    two_nn_purity,
)


def nearest_neighbors(X, k=2):
    distance = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :k]


@pytest.mark.parametrize("dimension", [2, 20])
def test_independent_labels_are_never_taken_for_structure(dimension):
    rng = np.random.default_rng(0)
    idx = nearest_neighbors(rng.normal(size=(600, dimension)))
    values = []
    for _ in range(300):
        labels = rng.choice(5, size=600, p=[0.5, 0.2, 0.15, 0.1, 0.05])
        values.append(excess_agreement(count_moments(labels, idx, 5)))
    z = np.array([one.z for one in values])
    assert not any(one.follows_features for one in values)
    assert abs(z.mean()) < 0.25
    assert 0.5 < z.std() < 1.1  # the variance used is an upper bound, not a wild one


def test_weak_but_real_structure_is_seen():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, size=20_000)
    T = 0.8 * np.full((3, 3), 1 / 3) + 0.2 * np.eye(3)  # diagonal 0.467
    noisy = np.stack([(rng.random(truth.size)[:, None] > T.cumsum(axis=1)[truth]).sum(axis=1) for _ in range(3)], 1)
    found = excess_agreement(triple_moments(noisy, 3))
    assert found.kappa == pytest.approx(0.04, abs=0.02)
    assert found.follows_features


def test_tiny_effects_are_significant_yet_not_enough():
    T = 0.9 * np.full((3, 3), 1 / 3) + 0.1 * np.eye(3)
    counts = np.random.default_rng(0).multinomial(10_000_000, model_moments(T, np.full(3, 1 / 3)).c3.ravel())
    codes = np.repeat(np.arange(27), counts // 1000)
    found = excess_agreement(triple_moments(np.stack(np.unravel_index(codes, (3, 3, 3)), axis=1), 3))
    assert found.kappa < 0.02
    assert not found.follows_features


def test_the_excess_is_the_specified_difference():
    moments = triple_moments(np.random.default_rng(0).integers(0, 3, size=(500, 3)), 3)
    expected = sum(moments.c2[a, a] for a in range(3)) - sum(moments.c1[a] ** 2 for a in range(3))
    assert excess_agreement(moments).excess == pytest.approx(expected, abs=1e-15)


def test_one_single_label_is_no_evidence():
    found = excess_agreement(triple_moments([[1, 1, 1]] * 1000, 3))
    assert not found.follows_features


def test_moments_of_a_model_have_no_z():
    found = excess_agreement(model_moments(np.eye(2), [0.5, 0.5]))
    assert found.z is None
    assert found.follows_features


def test_figures_of_a_fit():
    T, p = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.99, 0.01])
    moments = model_moments(T, p)
    found = diagnose(T, p, moments, duplicate_share=0.1)
    np.testing.assert_array_equal(found.row_max, [True, False])
    np.testing.assert_array_equal(found.rare, [False, True])
    assert found.marginal_gap == pytest.approx(0.0, abs=1e-15)
    assert found.condition_number == pytest.approx(np.linalg.cond(T))
    np.testing.assert_allclose(found.flag_rate, 1 - np.array([0.9 * 0.99, 0.4 * 0.01]) / moments.c1)
    assert diagnose(T, np.array([0.5, 0.5]), moments).marginal_gap > 0.1
    back = NoiseDiagnostics.from_dict(found.to_dict())
    assert back.to_dict() == found.to_dict()


def test_a_singular_matrix_has_a_finite_condition_number():
    T, p = np.full((2, 2), 0.5), np.array([0.5, 0.5])
    assert np.isfinite(diagnose(T, p, model_moments(T, p)).condition_number)


def test_purity_equals_a_plain_loop_and_skips_unknown_truth():
    rng = np.random.default_rng(0)
    idx = nearest_neighbors(rng.normal(size=(80, 2)), k=4)
    truth = rng.integers(-1, 2, size=80)
    pure = []
    for n in range(80):
        around = [truth[j] for j in idx[n] if truth[j] >= 0][:2]
        if truth[n] >= 0 and len(around) == 2:
            pure.append(around[0] == around[1] == truth[n])
    assert two_nn_purity(truth, idx) == pytest.approx(np.mean(pure))
    with pytest.raises(DataError, match="known classes"):
        two_nn_purity(np.full(80, -1), idx)
