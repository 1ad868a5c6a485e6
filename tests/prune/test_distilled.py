"""The loss with a parent's predictions, held against one that is computed from all logits at once."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data.token_rows import TokenRows
from tamis.errors import RecipeError
from tamis.prune.distilled import DistilledTokens
from tamis.train import masked_lm
from tamis.train.masked_lm import MaskedTokens


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    tokens = [rng.integers(3, 259, n).tolist() for n in (9, 14, 5)]
    return TokenRows.from_lists(["a", "b", "c"], tokens, [[i > len(each) // 2 for i in range(len(each))]
                                                          for each in tokens])  # fmt: skip


@pytest.fixture
def network(tiny_model):
    from tamis.models.causal_lm import load_own

    return lambda seed=3: load_own(tiny_model(layers=2, seed=seed))


def distilled(rows, parent, **given):
    return DistilledTokens(rows, rows.response, pad_id=0, parent=parent, **given)


def by_hand(network, parent, rows, share, temperature):
    """The same from the full logits of each record alone."""
    import torch

    total = torch.zeros(())
    for start, stop in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
        ids = torch.from_numpy(rows.ids[start:stop].astype(np.int64))[None]
        logits = network(input_ids=ids, use_cache=False).logits[0]
        with torch.no_grad():
            wanted = parent(input_ids=ids, use_cache=False).logits[0]
        for j in np.flatnonzero(rows.response[start:stop]).tolist():
            own = -torch.log_softmax(logits[j - 1], -1)[ids[0, j]]
            p = torch.softmax(wanted[j - 1] / temperature, -1)
            kl = (p * (p.log() - torch.log_softmax(logits[j - 1] / temperature, -1))).sum()
            total = total + (1 - share) * own + share * temperature**2 * kl
    return total


def test_share_0_is_the_plain_loss(rows, network):
    student = network()
    own = distilled(rows, network(seed=4), share=0.0).loss(student, [0, 1, 2])
    plain = MaskedTokens(rows, rows.response, pad_id=0).loss(student, [0, 1, 2])
    assert own.item() == pytest.approx(plain.item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_is_its_parent_has_nothing_to_learn(rows, network, temperature):
    student = network()
    loss = distilled(rows, network(), share=1.0, temperature=temperature).loss(student, [0, 1, 2])
    loss.backward()
    assert abs(loss.item()) < 1e-4
    assert max(weights.grad.abs().max().item() for weights in student.parameters()) < 1e-4


@pytest.mark.parametrize(("share", "temperature"), [(1.0, 1.0), (0.3, 1.0), (0.5, 2.0), (1.0, 0.5)])
@pytest.mark.parametrize("at_once", [512, 3])
def test_loss_and_gradient_are_those_of_all_logits(rows, network, monkeypatch, share, temperature, at_once):
    import torch

    from tamis.prune import distilled as module

    monkeypatch.setattr(module, "HEAD_TOKENS", at_once)
    monkeypatch.setattr(masked_lm, "HEAD_TOKENS", at_once)
    student, parent = network(), network(seed=4)
    loss = distilled(rows, parent, share=share, temperature=temperature).loss(student, [2, 0, 1])
    loss.backward()
    found = [weights.grad.clone() for weights in student.parameters()]
    student.zero_grad()
    expected = by_hand(student, parent, rows, share, temperature)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for own, weights in zip(found, student.parameters(), strict=True):
        torch.testing.assert_close(own, weights.grad, rtol=2e-3, atol=2e-4)


def test_the_parent_does_not_learn(rows, network):
    parent = network(seed=4).train()
    distilled(rows, parent, share=0.5).loss(network(), [0, 1]).backward()
    assert not parent.training
    assert all(weights.grad is None and not weights.requires_grad for weights in parent.parameters())


def test_it_counts_tokens_as_the_plain_loss_does(rows, network):
    plain = MaskedTokens(rows, rows.response, pad_id=0)
    own = distilled(rows, network(), share=0.5)
    assert own.weights.tolist() == plain.weights.tolist()
    assert len(own) == 3


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_the_whole(rows, share, one_sentence):
    with one_sentence(RecipeError, "'share'", "[0, 1]"):
        distilled(rows, None, share=share)
