"""Losses of single tokens, held against a log-softmax over full logits, one record at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data.token_rows import TokenRows
from tamis.errors import DataError
from tamis.train import masked_lm
from tamis.train.token_losses import token_losses


def plain_losses(network, rows):
    """Loss of every token: one record without its last token, all logits, float32, no tamis code."""
    import torch

    found = np.zeros(len(rows.ids), dtype=np.float32)
    for start, stop in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
        ids = torch.from_numpy(rows.ids[start:stop].astype(np.int64))
        with torch.no_grad():
            log_p = network(input_ids=ids[None, :-1]).logits[0].float().log_softmax(-1)
        for j in range(1, stop - start):
            found[start + j] = -log_p[j - 1, ids[j]]
    return found


@pytest.fixture
def everywhere(rows):
    return np.ones(len(rows.ids), dtype=bool)


def test_equal_to_full_logits(tiny_llama, rows, everywhere):
    network = tiny_llama()
    losses = token_losses(network, rows, where=everywhere)
    assert losses.dtype == np.float32
    expected = plain_losses(network, rows)
    assert expected.max() > 5
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert (losses[rows.offsets[:-1]] == 0).all()


def test_by_default_the_response(tiny_llama, rows):
    network = tiny_llama()
    response = rows.row_of % 2 == 0
    asked = TokenRows(rows.unit_ids, rows.ids, rows.offsets, response)
    losses, expected = token_losses(network, asked), plain_losses(network, rows)
    first = np.zeros(len(rows.ids), dtype=bool)
    first[rows.offsets[:-1]] = True
    np.testing.assert_allclose(losses, np.where(response & ~first, expected, 0), atol=1e-5)


def test_where(tiny_llama, rows, mask):
    network = tiny_llama()
    losses = token_losses(network, rows, where=mask)
    asked = mask.copy()
    asked[rows.offsets[:-1]] = False
    np.testing.assert_allclose(losses, np.where(asked, plain_losses(network, rows), 0), atol=1e-5)
    assert mask[rows.offsets[0]], "the caller's mask is left as it was"


def test_none_asked_for(tiny_llama, rows, everywhere):
    assert (token_losses(tiny_llama(), rows, where=~everywhere) == 0).all()
    assert token_losses(tiny_llama(), rows.take([])).shape == (0,)


def test_a_mask_of_another_length_is_refused(tiny_llama, rows, everywhere):
    with pytest.raises(DataError, match=r"one bool for each of the 67 tokens\. Got bool of shape \(66,\)"):
        token_losses(tiny_llama(), rows, where=everywhere[1:])


def test_index_j_is_the_token_that_is_predicted(tiny_llama):
    """A planted pair: after token 7 the network is sure of token 11, and of nothing after any other."""
    import torch

    network = tiny_llama(layers=1)
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
        network.model.norm.weight.fill_(1)
        network.model.embed_tokens.weight[:, 1] = 1  # a norm of zeros is no number
        network.model.embed_tokens.weight[7, 0] = 1
        network.lm_head.weight[11, 0] = 30
    rows = TokenRows.from_lists(["a"], [[3, 7, 11, 5, 7, 4, 11]], [[True] * 7])
    losses = token_losses(network, rows)
    even = np.log(29)
    assert losses[0] == 0, "nothing predicts the first token"
    assert losses[2] == pytest.approx(0, abs=1e-6), "11 behind 7 costs nothing"
    assert losses[5] > 20, "4 behind 7 costs a lot"
    np.testing.assert_allclose(losses[[1, 3, 4, 6]], even, rtol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 13, 40, 10_000])
def test_batches_and_padding_do_not_matter(tiny_llama, rows, everywhere, batch_tokens):
    network = tiny_llama()
    losses = token_losses(network, rows, where=everywhere, batch_tokens=batch_tokens)
    np.testing.assert_allclose(losses, plain_losses(network, rows), atol=1e-5)


def test_what_else_is_in_the_set_does_not_matter(tiny_llama, rows, everywhere):
    network = tiny_llama()
    whole = token_losses(network, rows, where=everywhere)
    order = np.random.default_rng(0).permutation(len(rows))
    some = order[:6]
    part = rows.take(some)
    losses = token_losses(network, part, where=np.ones(len(part.ids), dtype=bool))
    np.testing.assert_allclose(losses, whole[rows.places(some)], atol=1e-5)


def test_the_same_twice_is_the_same_to_the_bit(tiny_llama, rows):
    network = tiny_llama()
    np.testing.assert_array_equal(token_losses(network, rows), token_losses(network, rows))


@pytest.mark.parametrize("head_tokens", [1, 5, 66])
def test_chunks_of_the_head_do_not_matter(tiny_llama, rows, everywhere, monkeypatch, head_tokens):
    network = tiny_llama()
    monkeypatch.setattr(masked_lm, "HEAD_TOKENS", head_tokens)
    np.testing.assert_allclose(token_losses(network, rows, where=everywhere), plain_losses(network, rows), atol=1e-5)


def test_a_network_in_bfloat16_still_has_a_softmax_in_float32(tiny_llama, rows, everywhere):
    import torch

    network = tiny_llama().to(torch.bfloat16)
    losses = token_losses(network, rows, where=everywhere, batch_tokens=1)
    np.testing.assert_allclose(losses, plain_losses(network, rows), atol=1e-5)
    in_bfloat16 = losses[losses > 0].view(np.uint32) & np.uint32(0xFFFF) == 0
    assert in_bfloat16.mean() < 0.1, "numbers of a bfloat16 softmax would have no further bits"
    assert np.abs(losses - plain_losses(tiny_llama(), rows)).max() > 1e-3, "nothing was narrow"


def test_a_network_with_a_weight_that_is_no_number_gives_no_loss(tiny_llama, rows, everywhere):
    import torch

    network = tiny_llama()
    with torch.no_grad():
        network.lm_head.weight[4, 0] = float("nan")
    losses = token_losses(network, rows, where=everywhere)
    first = np.zeros(len(rows.ids), dtype=bool)
    first[rows.offsets[:-1]] = True
    assert np.isnan(losses[~first]).all()
    assert (losses[first] == 0).all()


def test_a_record_with_a_broken_token_takes_no_other_record_with_it(tiny_llama, rows, everywhere):
    """What stands before the token may be lost too, for kernels multiply what is masked by 0; but it is never wrong."""
    import torch

    network, broken = tiny_llama(), 28
    with torch.no_grad():
        network.model.embed_tokens.weight[broken] = float("inf")
    losses, expected = token_losses(network, rows, where=everywhere), plain_losses(tiny_llama(), rows)
    hit = 0
    for start, stop in zip(rows.offsets[:-1], rows.offsets[1:], strict=True):
        at = np.flatnonzero(rows.ids[start:stop] == broken)
        hit += len(at) > 0
        behind = start + at[0] + 1 if len(at) else stop
        own = losses[start:behind]
        np.testing.assert_allclose(own[~np.isnan(own)], expected[start:behind][~np.isnan(own)], atol=1e-5)
        assert not np.isnan(own).any() or len(at)
        assert np.isnan(losses[behind:stop]).all()
    assert 0 < hit < len(rows)


def test_an_infinite_loss_is_no_measurement(tiny_llama, rows, everywhere):
    import torch

    network = tiny_llama()
    forbidden = int(rows.ids[1])
    bias = torch.zeros(29)
    bias[forbidden] = float("-inf")
    network.lm_head.bias = torch.nn.Parameter(bias)
    losses = token_losses(network, rows, where=everywhere)
    asked = everywhere.copy()
    asked[rows.offsets[:-1]] = False
    np.testing.assert_array_equal(np.isnan(losses), asked & (rows.ids == forbidden))


def test_nothing_is_left_behind(tiny_llama, rows):
    network = tiny_llama()
    token_losses(network, rows)
    assert all(weights.grad is None for weights in network.parameters())
    assert not network.training
