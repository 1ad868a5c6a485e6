"""A network that skips layers is the network without them, in every family, and is whole again afterwards."""

from __future__ import annotations

import pytest

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.criteria.flow import layer_flow
from tamis.prune.criteria.skipping import output_form, replaced, skipped


@pytest.mark.parametrize(
    "family",
    ["llama", "mistral", "qwen2", "gemma2", "gpt2", "gpt_neox", "opt", "phi", "falcon", "mixtral"],
)
@pytest.mark.parametrize("dropped", [[0, 3], [1, 2, 5]])
def test_equal_to_the_truly_cut_model(decoder, truly_cut, windows, family, dropped):
    import torch

    network, ids = decoder(family), torch.from_numpy(windows)
    with torch.no_grad():
        whole = network(ids, use_cache=False).logits
        expected = truly_cut(network, family, dropped)(ids, use_cache=False).logits
        with skipped(network, dropped):
            found = network(ids, use_cache=False).logits
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        assert (found - whole).abs().max() > 1e-2, "the layers matter"
        assert torch.equal(network(ids, use_cache=False).logits, whole)


@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon"])
def test_a_pass_may_start_at_a_layer(decoder, windows, family):
    """Layers up to n compute nothing and n returns what is given: the pass without n, from what entered it."""
    import torch

    network, ids = decoder(family), torch.from_numpy(windows)
    form = output_form(network)
    entering = {}
    layer_flow(network, windows, lambda layer, states, _: entering.update({layer: states}))
    called = []
    for index, layer in enumerate(decoder_layers(network).layers):
        next(layer.children()).register_forward_hook(lambda module, args, output, index=index: called.append(index))
    with torch.no_grad():
        for layer in range(6):
            with skipped(network, [layer]):
                expected = network(ids, use_cache=False).logits
            called.clear()
            with replaced(network, {**dict.fromkeys(range(layer)), layer: entering[layer]}, form):
                assert torch.equal(network(ids, use_cache=False).logits, expected)
            assert called == list(range(layer + 1, 6)), "no other layer computes anything"


def test_restored_after_an_error_and_when_nested(decoder, windows):
    import torch

    network, ids = decoder("llama"), torch.from_numpy(windows)

    def logits():
        with torch.no_grad():
            return network(ids, use_cache=False).logits

    whole = logits()
    with skipped(network, [1, 2]):
        outer = logits()
        with skipped(network, [2, 4]):
            assert not torch.equal(logits(), outer)
        with pytest.raises(ZeroDivisionError), skipped(network, [2, 4]):
            1 / 0
        assert torch.equal(logits(), outer)
    assert torch.equal(logits(), whole)
    assert not any("forward" in layer.__dict__ for layer in network.model.layers)


def test_attributes_are_those_of_the_layer(decoder):
    network = decoder("gemma2")
    kinds = [layer.self_attn.layer_type for layer in network.model.layers]
    names = [name for name, _ in network.named_parameters()]
    with skipped(network, [0, 1]):
        assert [layer.self_attn.layer_type for layer in network.model.layers] == kinds
        assert [name for name, _ in network.named_parameters()] == names


def test_training_mode_is_as_it_was(decoder):
    network = decoder("llama").train()
    with skipped(network, [0]):
        assert network.training
    assert network.training


def test_layers_that_are_not_there(decoder):
    with (
        pytest.raises(RecipeError, match=r"no layers \[-1, 6\] to skip; LlamaForCausalLM has 0 to 5"),
        skipped(decoder("llama"), [6, 0, -1]),
    ):
        pass
