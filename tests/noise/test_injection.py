"""Injected noise has the promised shape, and the violations break what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.noise import (
    copy_first_neighbors,
    draw_truth_triples,
    inject_noise,
    label_triples,
    mix_neighbor_classes,
    model_moments,
    transition_family,
    triple_moments,
)


@pytest.mark.parametrize("kind", ["random", "ordinal"])
@pytest.mark.parametrize("diagonal", [0.45, 0.6, 0.8, 1.0])
def test_families_are_transition_matrices_with_the_diagonal_on_top(kind, diagonal):
    T = transition_family(kind, 6, diagonal, np.random.default_rng(0))
    np.testing.assert_allclose(T.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.diagonal(T), diagonal)
    assert (T >= 0).all()
    assert ((np.diagonal(T)[:, None] > T) | np.eye(6, dtype=bool)).all()


def test_ordinal_mass_falls_with_distance_and_random_mass_does_not():
    T = transition_family("ordinal", 6, 0.7, np.random.default_rng(0))
    assert (np.diff(T[0]) < 0).all()
    assert (np.diff(T[5]) > 0).all()
    np.testing.assert_array_equal(T, transition_family("ordinal", 6, 0.7, np.random.default_rng(1)))
    assert (np.diff(transition_family("random", 6, 0.7, np.random.default_rng(0))[0]) > 0).any()


def test_realised_frequencies_and_changed_mask_tell_what_happened():
    rng = np.random.default_rng(0)
    T = transition_family("random", 4, 0.7, rng)
    y = rng.integers(-1, 4, size=40_000)
    noisy = inject_noise(y, T, rng)
    np.testing.assert_array_equal(noisy.labels[y < 0], -1)
    assert not noisy.changed[y < 0].any()
    np.testing.assert_array_equal(noisy.changed, noisy.labels != y)
    for i in range(4):
        counts = np.bincount(noisy.labels[y == i], minlength=4)
        np.testing.assert_allclose(noisy.realised[i], counts / counts.sum())
    np.testing.assert_allclose(noisy.realised, T, atol=5 * 0.5 / np.sqrt(8000))
    np.testing.assert_array_equal(noisy.T, T)


def test_same_seed_same_noise_and_missing_labels_do_not_shift_it():
    y = np.random.default_rng(0).integers(0, 3, size=500)
    T = transition_family("ordinal", 3, 0.6, np.random.default_rng(0))
    whole = inject_noise(y, T, np.random.default_rng(1)).labels
    np.testing.assert_array_equal(whole, inject_noise(y, T, np.random.default_rng(1)).labels)
    gaps = np.where(np.arange(500) % 7 == 0, -1, y)
    np.testing.assert_array_equal(inject_noise(gaps, T, np.random.default_rng(1)).labels[gaps >= 0], whole[gaps >= 0])


def test_an_absent_class_has_no_realised_row():
    realised = inject_noise([0, 0], np.eye(2), np.random.default_rng(0)).realised
    np.testing.assert_array_equal(np.isnan(realised), [[False, False], [True, True]])


@pytest.mark.parametrize(
    ("T", "message"),
    [
        ([[0.5, 0.5], [0.0, 1.0]], "T_ii > T_ij"),
        ([[0.9, 0.2], [0.0, 1.0]], "sum to 1"),
        ([[1.1, -0.1], [0.0, 1.0]], "sum to 1"),
        ([[1.0, 0.0]], "square matrix"),
    ],
)
def test_matrices_that_cannot_be_recovered_are_refused(T, message):
    with pytest.raises(RecipeError, match=message):
        inject_noise([0, 1], T, np.random.default_rng(0))


def test_impossible_families_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(RecipeError, match="T_ii > T_ij"):
        transition_family("ordinal", 6, 0.1, rng)
    with pytest.raises(RecipeError, match="T_ii > T_ij"):
        transition_family("random", 2, 0.4, rng)
    with pytest.raises(RecipeError, match="'kind' parameter"):
        transition_family("uniform", 6, 0.5, rng)
    with pytest.raises(RecipeError, match="'diagonal' parameter"):
        transition_family("ordinal", 6, 0.0, rng)


def test_labelled_triples_follow_the_model():
    rng = np.random.default_rng(0)
    T, p = transition_family("random", 4, 0.6, rng), np.array([0.1, 0.2, 0.3, 0.4])
    measured = triple_moments(label_triples(draw_truth_triples(p, 200_000, rng), T, rng), 4)
    np.testing.assert_allclose(measured.c3, model_moments(T, p).c3, atol=5 * 0.5 / np.sqrt(200_000))


@pytest.mark.parametrize("kind", ["random", "adjacent"])
def test_mixing_changes_the_promised_share_of_neighbours_only(kind):
    rng = np.random.default_rng(0)
    truth = draw_truth_triples(np.full(5, 0.2), 20_000, rng)
    mixed = mix_neighbor_classes(truth, 5, 0.3, rng, kind=kind)
    np.testing.assert_array_equal(mixed[:, 0], truth[:, 0])
    moved = mixed[:, 1:] != truth[:, 1:]
    assert moved.mean() == pytest.approx(0.3, abs=0.015)
    step = np.abs(mixed[:, 1:] - truth[:, 1:])[moved]
    assert mixed.min() >= 0
    assert mixed.max() <= 4
    assert (step == 1).all() if kind == "adjacent" else (step > 1).any()
    np.testing.assert_array_equal(mix_neighbor_classes(truth, 5, 0.0, rng, kind=kind), truth)


def test_copies_carry_the_own_label():
    rng = np.random.default_rng(0)
    triples = rng.integers(0, 10, size=(20_000, 3))
    copied = copy_first_neighbors(triples, 0.5, rng)
    changed = copied[:, 1] != triples[:, 1]
    np.testing.assert_array_equal(copied[changed, 1], triples[changed, 0])
    assert changed.mean() == pytest.approx(0.45, abs=0.02)
    np.testing.assert_array_equal(copied[:, [0, 2]], triples[:, [0, 2]])
    with pytest.raises(RecipeError, match="'share' parameter"):
        copy_first_neighbors(triples, 1.2, rng)
    with pytest.raises(DataError, match=r"shape \(E, 3\)"):
        copy_first_neighbors(triples[:, :2], 0.5, rng)
