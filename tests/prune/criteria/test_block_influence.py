"""Block influence against cosines by hand; layers that do nothing; a token that outweighs all others."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria.block_influence import block_influence


def cosine(x, y):
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def by_hand_scores(states, reduction):
    pairs = pairwise(states)
    if reduction == "token":
        return [1 - cosine(x, y).mean() for x, y in pairs]
    return [1 - cosine(x.ravel(), y.ravel()) for x, y in pairs]


@pytest.mark.parametrize("reduction", ["token", "flat"])
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_cosines_by_hand(decoder, by_hand, windows, reduction, batch_size):
    network = decoder("llama")
    found = block_influence(network, windows, reduction=reduction, batch_size=batch_size)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_hand_scores(by_hand(network, windows), reduction), atol=1e-6)


@pytest.mark.parametrize("reduction", ["token", "flat"])
def test_layers_that_do_nothing_score_zero(silenced, windows, reduction):
    found = block_influence(silenced([1, 4, 5]), windows, reduction=reduction)
    assert found[[1, 4, 5]].tolist() == [0, 0, 0]
    assert found[[0, 2, 3]].min() > 1e-3


def test_the_last_layer_by_its_own_output(silenced, windows):
    """The last layer does nothing, and the final norm, which turns the states, is none of its business."""
    import torch

    network = silenced([5])
    torch.nn.init.uniform_(network.model.norm.weight, 0, 5)
    assert block_influence(network, windows)[5] == 0


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "falcon", "mixtral"])
def test_a_score_a_layer_in_other_families(decoder, windows, family):
    found = block_influence(decoder(family), windows)
    assert found.shape == (6,)
    assert ((found > 1e-4) & (found < 2)).all()


def test_one_huge_token_hides_the_others_from_flat_alone(decoder, windows):
    """Token 1 stands at the end of each window, where none reads it, a thousand times as large as the others."""
    import torch

    network = decoder("llama")
    with torch.no_grad():
        network.model.embed_tokens.weight[1] *= 1000
    ended = np.concatenate([windows, np.ones((7, 1), dtype=np.int64)], axis=1)
    before, after = (block_influence(network, each) for each in (windows, ended))
    np.testing.assert_allclose(after, before * 12 / 13, atol=2e-5)  # one token in 13 is not turned
    flat_before, flat_after = (block_influence(network, each, reduction="flat") for each in (windows, ended))
    assert flat_before.min() > 1e-2
    assert flat_after.max() < 1e-4


def test_small_turns_keep_their_digits(decoder, by_hand, windows):
    import torch

    network = decoder("llama")
    with torch.no_grad():
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight *= 1e-4
            layer.mlp.down_proj.weight *= 1e-4
    expected = by_hand_scores(by_hand(network.double(), windows), "token")
    network.float()
    assert max(expected) < 1e-6
    np.testing.assert_allclose(block_influence(network, windows), expected, rtol=0.01)


def test_padding_is_left_out_of_the_means(decoder, windows):
    network = decoder("llama")
    lengths = np.array([12, 9, 12, 5, 2, 12, 7])
    mask = np.arange(12) < lengths[:, None]
    other = np.where(mask, windows, 63 - windows % 7)
    for reduction in ("token", "flat"):
        found = block_influence(network, windows, reduction=reduction, mask=mask, batch_size=2)
        np.testing.assert_allclose(block_influence(network, other, reduction=reduction, mask=mask), found, atol=1e-6)
    alone = [block_influence(network, row[None, :n]) * n for row, n in zip(windows, lengths, strict=True)]
    np.testing.assert_allclose(block_influence(network, windows, mask=mask), sum(alone) / lengths.sum(), atol=1e-6)


def test_half_precision_is_measured_in_float32(decoder, windows):
    import torch

    found = block_influence(decoder("llama").to(torch.bfloat16), windows)
    np.testing.assert_allclose(found, block_influence(decoder("llama"), windows), rtol=0.1)


def test_what_is_no_number_is_refused(decoder, windows):
    import torch

    network = decoder("llama")
    with torch.no_grad():
        network.model.layers[3].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(DataError, match=r"'bi' gives no finite score for the layers \[3, 4, 5\]; compute in float32"):
        block_influence(network, windows)


def test_parameters(decoder, windows):
    with pytest.raises(RecipeError, match="'reduction' parameter of block_influence must be 'token' or 'flat'"):
        block_influence(decoder("llama"), windows, reduction="mean")
