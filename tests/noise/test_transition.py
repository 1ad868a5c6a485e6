"""Fit, naming, bootstrap, and the one-call estimate."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.noise import (
    bootstrap_transition,
    copy_first_neighbors,
    draw_truth_triples,
    estimate_transition,
    fit_transition,
    label_triples,
    model_moments,
    name_classes,
    transition_family,
    triple_moments,
)
from tamis.noise.consensus import MomentTargets, minimise
from tamis.noise.fit import _starts
from tamis.noise.moments import moments_of_counts

PRIOR = np.array([0.09, 0.16, 0.16, 0.385, 0.19, 0.015])
PRIOR = PRIOR / PRIOR.sum()


def row_l1(estimate, T):
    return float(np.abs(estimate - T).sum(axis=1).mean())


@pytest.mark.parametrize("diagonal", [0.6, 0.8])
@pytest.mark.parametrize("kind", ["random", "ordinal"])
def test_analytic_moments_are_inverted(kind, diagonal):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        T = transition_family(kind, 6, diagonal, rng)
        p = rng.dirichlet(np.full(6, 5.0))
        fit = fit_transition(model_moments(T, p), naming="matching", rng=rng)
        assert row_l1(fit.T, T) < 0.02
        assert np.abs(fit.p - p).max() < 0.01


@pytest.mark.parametrize("naming", ["order", "matching"])
@pytest.mark.parametrize(("n_steps", "tolerance"), [(60, 1e-8), (1501, 0.02)])
def test_a_permuted_start_gives_the_same_result(naming, n_steps, tolerance):
    # rounding decides where Adam jitters at the end, hence the wider tolerance of the full run
    rng = np.random.default_rng(3)
    T = transition_family("ordinal", 6, 0.7, rng)
    moments = model_moments(T, PRIOR)
    start, order = 5.0 * np.eye(6) - 1.0, np.array([4, 2, 5, 0, 1, 3])
    one, other = (
        fit_transition(
            moments,
            n_restarts=1,
            n_steps=n_steps,
            naming=naming,
            rng=np.random.default_rng(0),
            init=(Z, np.zeros(6)),
        )
        for Z in (start, start[order])
    )
    assert row_l1(one.T, other.T) < tolerance
    assert np.abs(one.p - other.p).max() < tolerance


@pytest.mark.parametrize("naming", ["order", "matching"])
def test_naming_undoes_any_permutation_of_hidden_classes(naming):
    rng = np.random.default_rng(0)
    T = transition_family("ordinal", 6, 0.5, rng)
    for _ in range(10):
        shuffle = rng.permutation(6)
        order = name_classes(T[shuffle], PRIOR[shuffle], naming=naming)
        np.testing.assert_array_equal(T[shuffle][order], T)
        np.testing.assert_array_equal(PRIOR[shuffle][order], PRIOR)


def test_the_published_swapped_matrix_is_repaired_by_both_namings():
    # DS2's figure for the Llama rater: hidden classes 1 and 2 change places
    T = np.array([[0.6, 0.4, 0.0], [0.38, 0.14, 0.48], [0.36, 0.48, 0.16]])
    p = np.array([0.3, 0.35, 0.35])
    for naming in ("order", "matching"):
        np.testing.assert_array_equal(name_classes(T, p, naming=naming), [0, 2, 1])


def test_every_restart_is_named_and_the_lowest_loss_is_kept():
    rng = np.random.default_rng(0)
    T = transition_family("ordinal", 6, 0.6, rng)
    moments = triple_moments(label_triples(draw_truth_triples(PRIOR, 5000, rng), T, rng), 6)
    fit = fit_transition(moments, n_restarts=5, naming="order", rng=rng)
    best = int(fit.losses.argmin())
    np.testing.assert_array_equal(fit.T, fit.restart_matrices[best])
    np.testing.assert_array_equal(fit.p, fit.restart_priors[best])
    assert fit.losses.shape == (5,)
    for rows in fit.restart_matrices:
        assert (np.diff(rows @ np.arange(6)) >= 0).all()
    np.testing.assert_allclose(fit.restart_matrices.sum(axis=2), 1.0)


def test_a_restart_in_a_batch_equals_the_same_start_alone():
    rng = np.random.default_rng(0)
    T = transition_family("random", 4, 0.7, rng)
    moments = model_moments(T, np.full(4, 0.25))
    starts = _starts(4, 3, np.random.default_rng(1), None)
    targets = MomentTargets.of(moments.c1[None], moments.c2[None], moments.c3[None])
    together, losses = minimise(starts, targets, n_steps=100, learning_rate=0.1)
    for r in range(3):
        alone, loss = minimise(starts[r : r + 1], targets, n_steps=100, learning_rate=0.1)
        np.testing.assert_allclose(together[r], alone[0], atol=1e-9)
        assert losses[r] == pytest.approx(loss[0], abs=1e-9)


def test_the_official_start_comes_first():
    theta = _starts(6, 2, np.random.default_rng(0), None)
    np.testing.assert_array_equal(theta[0, :-1], 5.0 * np.eye(6) - 1.0)
    assert ((theta[0, -1] >= 1 / 6) & (theta[0, -1] <= 1 / 6 + 0.1)).all()
    start = np.exp(theta[0, 0]) / np.exp(theta[0, 0]).sum()
    assert start[0] == pytest.approx(0.967, abs=5e-4)


def test_bootstrap_widths_agree_with_full_refits():
    rng = np.random.default_rng(1)
    T = transition_family("ordinal", 6, 0.6, rng)
    moments = triple_moments(label_triples(draw_truth_triples(PRIOR, 20_000, rng), T, rng), 6)
    fit = fit_transition(moments, naming="order", rng=rng)
    warm = bootstrap_transition(fit, moments, n_bootstrap=100, rng=np.random.default_rng(5))
    draws = np.random.default_rng(5).multinomial(20_000, moments.counts.ravel() / 20_000, size=100)
    resampled = moments_of_counts(draws.reshape(100, 6, 6, 6), symmetric=True)
    cold, _ = minimise(_starts(6, 100, rng, None)[:1].repeat(100, axis=0), MomentTargets.of(*resampled),
                       n_steps=1501, learning_rate=0.1)  # fmt: skip
    named = np.stack([one[:-1][name_classes(one[:-1], one[-1], naming="matching")] for one in cold])
    low, high = np.quantile(named, [0.025, 0.975], axis=0)
    common = PRIOR >= 0.02
    ratio = (warm.high - warm.low)[common].mean() / (high - low)[common].mean()
    assert 0.85 < ratio < 1.15
    rare = (warm.high - warm.low)[~common].mean() / (high - low)[~common].mean()
    assert 0.6 < rare < 1.4


def test_bootstrap_covers_the_truth_on_ideal_data():
    rng = np.random.default_rng(0)
    T = transition_family("ordinal", 4, 0.8, rng)
    covered = []
    for _ in range(6):
        moments = triple_moments(label_triples(draw_truth_triples(np.full(4, 0.25), 4000, rng), T, rng), 4)
        fit = fit_transition(moments, n_restarts=2, naming="order", rng=rng)
        spread = bootstrap_transition(fit, moments, rng=rng)
        covered.append((spread.low <= T) & (spread.high >= T))
    assert np.mean(covered) > 0.85
    assert spread.replicates.shape == (100, 4, 4)
    assert (spread.p_low <= spread.p_high).all()


def test_bootstrap_resamples_the_triple_cells():
    # one single cell cannot vary, so its interval has no width
    moments = triple_moments([[0, 0, 0]] * 50, 2)
    fit = fit_transition(moments, naming="matching", rng=np.random.default_rng(0))
    spread = bootstrap_transition(fit, moments, n_bootstrap=10, rng=np.random.default_rng(0))
    np.testing.assert_allclose(spread.replicates, spread.replicates[:1].repeat(10, axis=0))


def test_replicates_are_averaged_over_index_orders_like_the_moments():
    # copied first neighbours make the two kinds of moments disagree, so a mix-up moves the replicates off the fit
    rng = np.random.default_rng(0)
    T = transition_family("ordinal", 4, 0.7, rng)
    labels = label_triples(draw_truth_triples(np.full(4, 0.25), 20_000, rng), T, rng)
    copied = copy_first_neighbors(labels, 0.6, rng)
    for symmetric in (True, False):
        moments = triple_moments(copied, 4, symmetric=symmetric)
        fit = fit_transition(moments, n_restarts=2, naming="order", rng=rng)
        spread = bootstrap_transition(fit, moments, n_bootstrap=20, rng=rng)
        assert row_l1(spread.replicates.mean(axis=0), fit.T) < 0.03


def clustered(rng, n_per_class=400, n_classes=4, diagonal=0.8):
    """Return labels and a ring graph inside each class: ideal clusterability, overlapping triples."""
    truth = np.repeat(np.arange(n_classes), n_per_class)
    ring = np.arange(truth.size)[:, None] + np.array([[1, -1, 2, -2, 3, -3]])
    idx = ring % n_per_class + n_per_class * truth[:, None]
    T = transition_family("ordinal", n_classes, diagonal, rng)
    labels = (rng.random(truth.size)[:, None] > T.cumsum(axis=1)[truth]).sum(axis=1)
    return labels, idx, T


def test_one_call_recovers_the_matrix_and_is_deterministic():
    labels, idx, T = clustered(np.random.default_rng(0))
    first = estimate_transition(labels, idx, 4, n_bootstrap=20, seed=7)
    again = estimate_transition(labels, idx, 4, n_bootstrap=20, seed=7)
    assert first.to_dict() == again.to_dict()
    assert row_l1(first.T, T) < 0.12
    assert first.verdict == "usable"
    assert first.n_triples == labels.size
    assert first.low is not None
    assert ((first.low <= first.T + 0.02) & (first.high >= first.T - 0.02)).all()


def test_missing_labels_are_skipped_not_counted_as_zero():
    rng = np.random.default_rng(0)
    labels, idx, T = clustered(rng)
    labels[rng.random(labels.size) < 0.2] = -1
    result = estimate_transition(labels, idx, 4, n_bootstrap=0, seed=0)
    assert result.low is None
    assert result.n_triples < (labels >= 0).sum() + 1
    assert row_l1(result.T, T) < 0.15


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_restarts": 0}, "'n_restarts' parameter of fit_transition"),
        ({"n_steps": 0}, "'n_steps' parameter of fit_transition"),
        ({"n_bootstrap": 1}, "'n_bootstrap' parameter of estimate_transition"),
        ({"duplicate_share": 1.5}, "'duplicate_share' parameter"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    labels, idx, _ = clustered(np.random.default_rng(0), n_per_class=20)
    with pytest.raises(RecipeError, match=message):
        estimate_transition(labels, idx, 4, seed=0, **parameters)


def test_bad_starts_levels_and_countless_moments_are_refused():
    moments = model_moments(np.eye(3), np.full(3, 1 / 3))
    rng = np.random.default_rng(0)
    with pytest.raises(RecipeError, match="'init' parameter"):
        fit_transition(moments, naming="order", rng=rng, init=(np.eye(2), np.zeros(2)))
    with pytest.raises(RecipeError, match="'learning_rate'"):
        fit_transition(moments, naming="order", rng=rng, learning_rate=0.0)
    fit = fit_transition(moments, naming="order", rng=rng, n_steps=5)
    with pytest.raises(DataError, match="without counts"):
        bootstrap_transition(fit, moments, rng=rng)
    with pytest.raises(RecipeError, match="'level'"):
        bootstrap_transition(fit, moments, rng=rng, level=1.0)
