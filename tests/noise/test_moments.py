"""Moments: counted and modelled frequencies against plain loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, RecipeError
from tamis.noise import average_moments, count_moments, model_moments, triple_moments
from tamis.noise.moments import moments_of_counts


def random_graph(rng, n, k, padding=0.2):
    idx = np.stack([rng.permutation(np.delete(np.arange(n), i))[:k] for i in range(n)])
    idx[rng.random(idx.shape) < padding] = -1
    return idx


def counted_by_loop(labels, idx, n_classes):
    counts = np.zeros((n_classes,) * 3, dtype=np.int64)
    for own, row in zip(labels, idx, strict=True):
        around = [labels[j] for j in row if j >= 0 and labels[j] >= 0][:2]
        if own >= 0 and len(around) == 2:
            counts[own, around[0], around[1]] += 1
    return counts


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(8, 40), k=st.integers(2, 7))
@settings(max_examples=40, deadline=None)
def test_counts_equal_a_plain_loop_with_missing_labels_and_padding(seed, n, k):
    rng = np.random.default_rng(seed)
    labels, idx = rng.integers(-1, 4, size=n), random_graph(rng, n, k)
    expected = counted_by_loop(labels, idx, 4)
    if expected.sum() == 0:
        with pytest.raises(DataError, match="two labelled neighbours"):
            count_moments(labels, idx, 4)
        return
    moments = count_moments(labels, idx, 4, symmetric=False)
    np.testing.assert_array_equal(moments.counts, expected)
    assert moments.n_triples == expected.sum()
    np.testing.assert_allclose(moments.c3, expected / expected.sum(), atol=1e-15)
    np.testing.assert_allclose(moments.c2, moments.c3.sum(axis=2), atol=1e-15)
    np.testing.assert_allclose(moments.c1, moments.c3.sum(axis=(1, 2)), atol=1e-15)


def test_symmetric_moments_are_the_mean_over_all_index_orders():
    triples = np.random.default_rng(0).integers(0, 3, size=(200, 3))
    raw, even = (triple_moments(triples, 3, symmetric=flag) for flag in (False, True))
    orders = [raw.c3.transpose(order) for order in permutations(range(3))]
    np.testing.assert_allclose(even.c3, np.mean(orders, axis=0), atol=1e-15)
    np.testing.assert_allclose(even.c2, (raw.c2 + raw.c2.T) / 2, atol=1e-15)
    np.testing.assert_array_equal(even.c1, raw.c1)
    np.testing.assert_array_equal(even.counts, raw.counts)


@given(seed=st.integers(0, 2**32 - 1), n_classes=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_model_moments_equal_brute_force_sums(seed, n_classes):
    rng = np.random.default_rng(seed)
    T, p = rng.dirichlet(np.ones(n_classes), size=n_classes), rng.dirichlet(np.ones(n_classes))
    moments = model_moments(T, p)
    classes = range(n_classes)
    for a in classes:
        assert moments.c1[a] == pytest.approx(sum(p[i] * T[i, a] for i in classes), abs=1e-14)
        for b in classes:
            assert moments.c2[a, b] == pytest.approx(sum(p[i] * T[i, a] * T[i, b] for i in classes), abs=1e-14)
            for c in classes:
                brute = sum(p[i] * T[i, a] * T[i, b] * T[i, c] for i in classes)
                assert moments.c3[a, b, c] == pytest.approx(brute, abs=1e-14)


def test_rounds_weigh_the_same_whatever_their_size():
    small, large = triple_moments([[0, 0, 0]], 2), triple_moments([[1, 1, 1]] * 9, 2)
    mean = average_moments([small, large])
    np.testing.assert_allclose(mean.c1, [0.5, 0.5])
    assert mean.n_triples == 10
    assert mean.counts[1, 1, 1] == 9
    with pytest.raises(DataError, match="at least one round"):
        average_moments([])
    with pytest.raises(DataError, match="same number of classes"):
        average_moments([small, triple_moments([[0, 0, 0]], 3)])


def test_batched_counts_give_the_same_moments_as_single_ones():
    counts = np.random.default_rng(0).integers(0, 9, size=(4, 3, 3, 3))
    batch = moments_of_counts(counts, symmetric=True)
    for number in range(4):
        for whole, one in zip(batch, moments_of_counts(counts[number], symmetric=True), strict=True):
            np.testing.assert_allclose(whole[number], one, atol=1e-15)


@pytest.mark.parametrize(
    ("labels", "idx", "message"),
    [
        ([0, 1, 2], [[1, 2], [0, 2], [0, 1]], r"labels in -1\.\.1 for 2 classes. Got 2 in row 2"),
        ([0.0, 1.0, 1.0], [[1, 2], [0, 2], [0, 1]], "integer labels"),
        ([0, 1, 1], [[0, 2], [0, 2], [0, 1]], "its own neighbour"),
        ([0, 1, 1], [[1, 3], [0, 2], [0, 1]], r"indices in -1\.\.2"),
        ([0, 1, 1], [[1], [0], [0]], "k >= 2"),
        ([0, -1, -1], [[1, 2], [0, 2], [0, 1]], "No item has a label and two labelled neighbours"),
    ],
)
def test_malformed_input_is_refused_with_a_sentence(labels, idx, message):
    with pytest.raises(DataError, match=message):
        count_moments(labels, idx, 2)


def test_one_class_is_refused():
    with pytest.raises(RecipeError, match="'n_classes' parameter of count_moments"):
        count_moments([0, 0, 0], [[1, 2], [0, 2], [0, 1]], 1)
