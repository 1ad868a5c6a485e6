"""The HOC objective: value against the formula, gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.noise import consensus_loss, model_moments, triple_moments


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def moments_and_logits(n_classes, seed, symmetric):
    rng = np.random.default_rng(seed)
    triples = rng.integers(0, n_classes, size=(300, 3))
    return (
        triple_moments(triples, n_classes, symmetric=symmetric),
        rng.normal(size=(n_classes, n_classes)),
        rng.normal(size=n_classes),
    )


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("n_classes", [2, 4, 6])
def test_loss_is_the_sum_of_unsquared_norms(n_classes, symmetric):
    measured, Z, z = moments_and_logits(n_classes, 1, symmetric)
    model = model_moments(softmax(Z), softmax(z))
    expected = sum(
        np.linalg.norm((one - other).ravel())
        for one, other in [(model.c1, measured.c1), (model.c2, measured.c2), (model.c3, measured.c3)]
    )
    assert float(consensus_loss(Z, z, measured)[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_gradient_matches_central_differences(seed, symmetric):
    measured, Z, z = moments_and_logits(5, seed, symmetric)
    _, gZ, gz = consensus_loss(Z, z, measured)
    theta, analytic = np.vstack([Z, z]), np.vstack([gZ, gz])
    numeric = np.zeros_like(theta)
    h = 1e-3
    for cell in np.ndindex(theta.shape):

        def loss_at(step, cell=cell):
            moved = theta.copy()
            moved[cell] += step
            return float(consensus_loss(moved[:-1], moved[-1], measured)[0])

        # eighth-order stencil: rounding is about 1e-16 / h, truncation h^8
        numeric[cell] = (
            4 / 5 * (loss_at(h) - loss_at(-h))
            - 1 / 5 * (loss_at(2 * h) - loss_at(-2 * h))
            + 4 / 105 * (loss_at(3 * h) - loss_at(-3 * h))
            - 1 / 280 * (loss_at(4 * h) - loss_at(-4 * h))
        ) / h
    assert np.linalg.norm(analytic - numeric) / np.linalg.norm(numeric) < 1e-8
    assert np.abs(analytic - numeric).max() < 1e-8


def test_a_batch_of_restarts_gives_each_its_own_loss_and_gradient():
    measured, _, _ = moments_and_logits(4, 0, True)
    rng = np.random.default_rng(5)
    Z, z = rng.normal(size=(3, 4, 4)), rng.normal(size=(3, 4))
    loss, gZ, gz = consensus_loss(Z, z, measured)
    for r in range(3):
        one = consensus_loss(Z[r], z[r], measured)
        np.testing.assert_allclose([loss[r]], [one[0]], rtol=1e-13)
        np.testing.assert_allclose(gZ[r], one[1], atol=1e-14)
        np.testing.assert_allclose(gz[r], one[2], atol=1e-14)


def test_the_gradient_is_finite_where_the_residual_is_zero():
    rng = np.random.default_rng(0)
    Z, z = rng.normal(size=(3, 3)), rng.normal(size=3)
    loss, gZ, gz = consensus_loss(Z, z, model_moments(softmax(Z), softmax(z)))
    assert float(loss) < 1e-15
    assert np.isfinite(gZ).all()
    assert np.isfinite(gz).all()
