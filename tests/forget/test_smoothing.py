"""Generalised label smoothing: the identities and gradients that the method rests on."""

import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.forget.smoothing import label_privacy, smoothed_cross_entropy, smoothed_targets

RATES = (-2.0, -0.5, 0.0, 0.3, 1.0)


def random_logits(n, k, seed=0):
    import torch

    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 3, (n, k))).requires_grad_(True), torch.from_numpy(rng.integers(0, k, n))


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("alpha", RATES)
def test_the_loss_is_the_papers(alpha, k):
    import torch

    logits, labels = random_logits(20, k)
    by_class = -logits.log_softmax(1)
    own = by_class.gather(1, labels[:, None])[:, 0]
    papers = (1 + (1 - k) / k * alpha) * own + alpha / k * (by_class.sum(1) - own)
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, alpha), papers)
    targets = smoothed_targets(labels, alpha, k)
    torch.testing.assert_close(targets.sum(1), torch.ones(20))
    torch.testing.assert_close((targets * by_class).sum(1), papers, rtol=1e-5, atol=1e-6)


def test_a_rate_of_its_own_for_each_example():
    import torch

    logits, labels = random_logits(3, 5)
    rates = torch.tensor([-1.0, 0.0, 0.5])
    each = [smoothed_cross_entropy(logits[i : i + 1], labels[i : i + 1], float(rates[i]))[0] for i in range(3)]
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, rates), torch.stack(each))


@pytest.mark.parametrize("alpha", RATES)
def test_the_gradient_is_softmax_less_targets(alpha):
    import torch

    logits, labels = random_logits(20, 6)
    smoothed_cross_entropy(logits, labels, alpha).sum().backward()
    wanted = logits.detach().softmax(1) - smoothed_targets(labels, alpha, 6)
    torch.testing.assert_close(logits.grad, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("alpha", "own", "other", "norm"), [(-0.5, -0.45, 0.05, 0.474), (0.0, 0.0, 0.0, 0.0)])
def test_at_a_memorised_point(alpha, own, other, norm):
    """Without smoothing ascent is stuck there; with it the true logit falls at a constant rate."""
    import torch

    logits = torch.zeros(1, 10, dtype=torch.float64)
    logits[0, 4] = 200
    logits.requires_grad_(True)
    smoothed_cross_entropy(logits, torch.tensor([4]), alpha).sum().backward()
    assert logits.grad[0, 4].item() == pytest.approx(own)
    assert logits.grad[0, 0].item() == pytest.approx(other)
    assert logits.grad.norm().item() == pytest.approx(norm, abs=1e-3)


def test_ascent_with_a_positive_rate_raises_the_true_logit_where_the_paper_says():
    """The gradient at the true logit is p - 1 + alpha (K - 1) / K: ascent follows it upwards where that is positive."""
    import torch

    alpha, k = 0.5, 4
    turn = 1 - alpha * (k - 1) / k
    for p in (turn - 0.05, turn + 0.05):
        logits = torch.tensor([[np.log(p), *[np.log((1 - p) / (k - 1))] * (k - 1)]], requires_grad=True)
        smoothed_cross_entropy(logits, torch.tensor([0]), alpha).sum().backward()
        assert bool(logits.grad[0, 0] > 0) == (p > turn)


def test_permuting_classes_permutes_targets():
    import torch

    labels, order = torch.tensor([0, 2, 1]), torch.tensor([2, 0, 1])
    there = smoothed_targets(order[labels], -0.5, 3)[:, order]
    torch.testing.assert_close(there, smoothed_targets(labels, -0.5, 3))


@pytest.mark.parametrize(("alpha", "epsilon"), [(-0.5, 5.14), (-1, 4.39), (-3, 3.04), (-8.9, 0.11)])
def test_label_privacy(alpha, epsilon):
    assert label_privacy(alpha, 10, 10) == pytest.approx(epsilon, abs=0.005)


def test_label_privacy_at_and_past_its_bound():
    assert label_privacy(-9, 10, 10) == pytest.approx(0, abs=1e-12)
    for alpha in (-9.1, 0, 0.5):
        with pytest.raises(RecipeError, match=r"alpha in \[-9, 0\)"):
            label_privacy(alpha, 10, 10)
    with pytest.raises(RecipeError, match="more weight on descent"):
        label_privacy(-0.5, 10, 1)
