"""Taylor scores against gradients of full logits and against finite differences; the network is left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria.taylor import taylor


def mean_loss(network, windows):
    """Mean loss over all predicted tokens, by transformers' own logits."""
    import torch

    ids = torch.from_numpy(windows)
    log_p = network(ids, use_cache=False).logits[:, :-1].log_softmax(-1)
    return -log_p.gather(-1, ids[:, 1:, None]).mean()


def counted(layer):
    return [weight for name, weight in layer.named_parameters() if name.endswith("weight")]


def scores_by_hand(network, windows, layers):
    import torch

    weights = [counted(layer) for layer in layers]
    gradients = iter(torch.autograd.grad(mean_loss(network, windows), [w for layer in weights for w in layer]))
    return np.array([sum((w * next(gradients)).abs().sum().item() for w in layer) for layer in weights])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_two_layers_by_autograd(decoder, windows, batch_size):
    network = decoder("llama", layers=2)
    expected = scores_by_hand(network, windows, network.model.layers)
    found = taylor(network, windows, batch_size=batch_size)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_one_weight_at_a_time(decoder, windows):
    """The slope of the loss along each weight, by central differences in float64: nothing of autograd."""
    import torch

    network = decoder("gpt2", layers=2, n_embd=8, n_head=1, n_inner=8).double()
    found = taylor(network, windows)

    def change(weight, at):
        losses = []
        for step in (1e-4, -2e-4):
            weight[at] += step
            losses.append(mean_loss(network, windows).item())
        weight[at] += 1e-4
        return abs(weight[at].item() * (losses[0] - losses[1]) / 2e-4)

    with torch.no_grad():
        for score, layer in zip(found, network.transformer.h, strict=True):
            places = [(weight, at) for weight in counted(layer) for at in np.ndindex(*weight.shape)]
            assert score == pytest.approx(sum(change(*place) for place in places), rel=1e-5)


def test_the_absolute_value_of_each_window(decoder, windows):
    network = decoder("llama")
    found = taylor(network, windows, absolute="window")
    alone = sum(scores_by_hand(network, window[None], network.model.layers) for window in windows) / len(windows)
    np.testing.assert_allclose(found, alone, rtol=1e-4)
    assert (found > taylor(network, windows)).all()
    np.testing.assert_array_equal(found, taylor(network, windows, absolute="window", batch_size=1))


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_neox", "opt", "falcon"])
def test_other_families(decoder, windows, family):
    from tamis.models.decoder_layers import decoder_layers

    network = decoder(family)
    if family == "gemma2":
        network.config.final_logit_softcapping = 30.0
    expected = scores_by_hand(network, windows, decoder_layers(network).layers)
    np.testing.assert_allclose(taylor(network, windows), expected, rtol=1e-4)


@pytest.mark.parametrize("absolute", ["total", "window"])
def test_layers_that_do_nothing_score_zero(silenced, windows, absolute):
    found = taylor(silenced([0, 3]), windows, absolute=absolute)
    assert found[[0, 3]].tolist() == [0, 0]
    assert found[[1, 2, 4, 5]].min() > 1e-3


def test_the_experts_of_a_mixture_count(decoder, windows):
    import torch

    network = decoder("mixtral")
    before = taylor(network, windows)
    layer = network.model.layers[2]
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
    assert taylor(network, windows)[2] == 0 < before[2]


def test_the_network_is_left_as_it_was(decoder, windows):
    import torch

    network = decoder("llama").train()
    network.lm_head.weight.requires_grad_(False)
    network.model.layers[1].mlp.up_proj.weight.requires_grad_(False)
    network.model.layers[0].mlp.up_proj.weight.grad = torch.ones(24, 16)
    learns = {name: weight.requires_grad for name, weight in network.named_parameters()}
    weights = {name: weight.clone() for name, weight in network.state_dict().items()}
    with torch.no_grad():
        found = taylor(network, windows)
    np.testing.assert_allclose(found, taylor(decoder("llama"), windows), rtol=1e-5)
    assert {name: weight.requires_grad for name, weight in network.named_parameters()} == learns
    assert all(weight.equal(weights[name]) for name, weight in network.state_dict().items())
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    assert list(gradients) == ["model.layers.0.mlp.up_proj.weight"]
    assert gradients["model.layers.0.mlp.up_proj.weight"].eq(1).all()
    assert network.training
    assert not any(weight._post_accumulate_grad_hooks for weight in network.parameters())


def test_half_precision_is_summed_in_float32(decoder, windows):
    import torch

    network = decoder("llama").to(torch.bfloat16)
    found = taylor(network, windows, batch_size=1)
    np.testing.assert_allclose(found, taylor(network, windows, batch_size=7), rtol=0.05)
    np.testing.assert_allclose(found, taylor(decoder("llama"), windows), rtol=0.1)


def test_what_cannot_be_measured(decoder, windows):
    import torch

    network = decoder("llama")
    with pytest.raises(RecipeError, match="'absolute' parameter of taylor must be 'total' or 'window'"):
        taylor(network, windows, absolute="batch")
    with torch.no_grad():
        network.lm_head.weight[0, 0] = torch.inf
    with pytest.raises(DataError, match=r"'taylor' gives no finite score for the layers \[0, 1, 2, 3, 4, 5\]"):
        taylor(network, windows)
    assert all(weight.grad is None for weight in network.parameters())
    projection = network.model.layers[2].mlp.up_proj
    projection.weight.requires_grad_(False)
    projection.weight.data = projection.weight.data.to(torch.int8)
    with pytest.raises(DataError, match=r"'mlp.up_proj.weight' is torch.int8"):
        taylor(network, windows)
