"""The loss over kept tokens and its gradient, held against plain cross-entropy over full logits."""

import contextlib

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.train import MaskedTokens, TrainSettings, held_out_loss, masked_lm
from tamis.train.batches import Batches
from tamis.train.gradient import accumulate


def plain_losses(network, rows, mask, i):
    """Losses of the kept tokens of record i: one record, all logits, no tamis code."""
    import torch

    ids = torch.from_numpy(rows.ids[rows.offsets[i] : rows.offsets[i + 1]].astype(np.int64))
    kept = torch.from_numpy(mask[rows.offsets[i] : rows.offsets[i + 1]])[1:]
    log_p = network(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
    return -log_p[torch.arange(len(ids) - 1), ids[1:]][kept]


def gradient_of(network, loss):
    network.zero_grad()
    loss.backward()
    return gradient(network)


def gradient(network):
    return {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}


def assert_close(one, other, tolerance=1e-6):
    assert one.keys() == other.keys()
    largest = max(float(each.abs().max()) for each in other.values())
    for name in one:
        assert (one[name] - other[name]).abs().max() <= tolerance * max(1.0, largest), name


def step_gradient(network, objective, **settings):
    batches = Batches(objective, TrainSettings(**settings))
    network.zero_grad()
    accumulate(network, objective, batches.micro_batches(0), step=1, arithmetic=contextlib.nullcontext)
    return gradient(network), batches.micro_batches(0)


def test_loss_and_gradient_are_those_of_the_kept_tokens(tiny_llama, rows, mask):
    import torch

    network, objective = tiny_llama(), MaskedTokens(rows, mask, pad_id=0)
    plain = torch.cat([plain_losses(network, rows, mask, i) for i in range(10)]).sum()
    loss = objective.loss(network, range(10))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    assert_close(gradient_of(network, loss), gradient_of(network, plain))


def test_weights_count_kept_tokens_but_never_the_first(rows, mask):
    objective = MaskedTokens(rows, mask, pad_id=0)
    expected = [mask[a + 1 : b].sum() for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]
    assert objective.weights.tolist() == expected
    assert expected[3] == 0
    assert mask[rows.offsets[0]], "the caller's mask is left as it was"


def test_a_record_without_kept_tokens_adds_zero(tiny_llama, rows, mask):
    network, objective = tiny_llama(), MaskedTokens(rows, mask, pad_id=0)
    alone = gradient_of(network, objective.loss(network, [3]))
    assert objective.loss(network, [3]).item() == 0.0
    assert all((each == 0).all() for each in alone.values())
    without = gradient_of(network, objective.loss(network, [0, 1]))
    assert_close(gradient_of(network, objective.loss(network, [0, 3, 1])), without)


def test_other_micro_batches_leave_the_gradient_as_it_is(tiny_llama, rows, mask):
    network, objective = tiny_llama(), MaskedTokens(rows, mask, pad_id=0)
    whole, one = step_gradient(network, objective, micro_tokens=4096)
    for micro_tokens in (1, 15, 40):
        parts, several = step_gradient(network, objective, micro_tokens=micro_tokens)
        assert len(several) > len(one) == 1
        assert_close(parts, whole)


def test_normalised_by_micro_batch_it_is_the_mean_of_their_means(tiny_llama, rows, mask):
    network, objective = tiny_llama(), MaskedTokens(rows, mask, pad_id=0)
    found, micro = step_gradient(network, objective, micro_tokens=20, normalise="micro")
    assert len(micro) > 2
    means = [
        sum(plain_losses(network, rows, mask, i).sum() for i in each.positions)
        / objective.weights[each.positions].sum()
        for each in micro
    ]
    assert_close(found, gradient_of(network, sum(means) / len(means)))
    by_step, _ = step_gradient(network, objective, micro_tokens=20)
    assert max((found[name] - by_step[name]).abs().max() for name in found) > 1e-3


def test_many_tokens_go_through_the_head_in_pieces(tiny_llama, rows, mask, monkeypatch):
    network, objective = tiny_llama(), MaskedTokens(rows, mask, pad_id=0)
    whole = objective.loss(network, range(10))
    expected = gradient_of(network, whole)
    monkeypatch.setattr(masked_lm, "HEAD_TOKENS", 4)
    pieces = objective.loss(network, range(10))
    assert pieces.item() == pytest.approx(whole.item(), rel=1e-6)
    assert_close(gradient_of(network, pieces), expected)


def test_logits_are_made_for_kept_tokens_only(tiny_llama, rows, mask, monkeypatch):
    through = []
    head = masked_lm.head_logits
    monkeypatch.setattr(masked_lm, "head_logits", lambda network, h: through.append(len(h)) or head(network, h))
    objective = MaskedTokens(rows, mask, pad_id=0)
    objective.loss(tiny_llama(), range(10))
    assert sum(through) == objective.weights.sum()


def test_padding_is_never_seen(tiny_llama, rows, mask):
    network = tiny_llama()
    losses = [MaskedTokens(rows, mask, pad_id=pad).loss(network, range(10)).item() for pad in (0, 28)]
    assert losses[0] == losses[1]


def test_the_held_out_loss_is_by_record(tiny_llama, rows, mask):
    import torch

    network = tiny_llama().train()
    sums, counts = held_out_loss(network, rows, mask, batch_tokens=30)
    with torch.no_grad():
        expected = [plain_losses(network, rows, mask, i).sum().item() for i in range(10)]
    assert (sums.dtype, counts.dtype) == (np.float64, np.int64)
    np.testing.assert_allclose(sums, expected, rtol=1e-5)
    assert counts.tolist() == MaskedTokens(rows, mask, pad_id=0).weights.tolist()
    assert network.training


def test_a_mask_that_does_not_fit_is_refused(rows, mask):
    with pytest.raises(DataError, match=r"one bool for each of the 67 tokens\. Got bool of shape \(66,\) instead"):
        MaskedTokens(rows, mask[1:], pad_id=0)
    with pytest.raises(DataError, match=r"Got int64 of shape \(67,\) instead"):
        MaskedTokens(rows, mask.astype(int), pad_id=0)
    with pytest.raises(RecipeError, match="The 'pad_id' parameter of MaskedTokens must be a token id"):
        MaskedTokens(rows, mask, pad_id=None)
