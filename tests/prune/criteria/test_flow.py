"""Each layer's own input and output, in any form in which a family passes them on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.prune.criteria.flow import layer_flow


def flow(network, ids, **changes):
    found = []
    layer_flow(network, ids, lambda layer, entering, leaving: found.append((layer, entering, leaving)), **changes)
    return found


def test_equal_to_the_layers_called_by_hand(decoder, by_hand, windows):
    network = decoder("llama")
    states, found = by_hand(network, windows), flow(network, windows)
    assert [layer for layer, _, _ in found] == list(range(6))
    for layer, entering, leaving in found:
        np.testing.assert_allclose(entering.numpy(), states[layer], atol=1e-5)
        np.testing.assert_allclose(leaving.numpy(), states[layer + 1], atol=1e-5)


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_neox", "opt", "phi", "falcon", "mixtral"])
def test_what_leaves_a_layer_enters_the_next(decoder, windows, family):
    found = flow(decoder(family), windows)
    assert len(found) == 6
    for (_, _, leaving), (_, entering, _) in pairwise(found):
        assert leaving.equal(entering)
    assert not found[0][1].equal(found[0][2])


def test_the_last_output_is_not_the_normed_state(decoder, windows):
    import torch

    network = decoder("llama")
    last = flow(network, windows)[-1][2]
    with torch.no_grad():
        normed = network(torch.from_numpy(windows), output_hidden_states=True, use_cache=False).hidden_states[-1]
    assert not torch.allclose(last, normed, atol=1e-2)
    torch.testing.assert_close(network.model.norm(last), normed)


def test_hidden_states_by_keyword(decoder, windows):
    """A decoder that calls its layers by keyword."""
    network = decoder("llama")
    expected = flow(network, windows)
    kind = type(network.model.layers[0])

    class ByKeyword(kind):
        def __call__(self, hidden_states, **rest):
            return super().__call__(hidden_states=hidden_states, **rest)

    for layer in network.model.layers:
        layer.__class__ = ByKeyword
    for before, after in zip(expected, flow(network, windows), strict=True):
        assert before[1].equal(after[1])
        assert before[2].equal(after[2])


def test_padding_on_the_left_is_not_read(decoder, windows):
    network = decoder("llama")
    padded = np.concatenate([np.zeros((7, 3), dtype=np.int64), windows], axis=1)
    mask = np.concatenate([np.zeros((7, 3), dtype=bool), np.ones(windows.shape, dtype=bool)], axis=1)
    for (_, _, plain), (_, _, masked) in zip(flow(network, windows), flow(network, padded, mask=mask), strict=True):
        np.testing.assert_allclose(masked[:, 3:].numpy(), plain.numpy(), atol=1e-4)


def test_dropout_is_off_and_the_mode_as_it_was(decoder, windows):
    network = decoder("gpt2", resid_pdrop=0.5)
    expected = flow(network, windows)
    network.train()
    assert all(a[2].equal(b[2]) for a, b in zip(expected, flow(network, windows), strict=True))
    assert network.training


def test_no_hidden_states_no_measurement(decoder, windows):
    network = decoder("llama")
    forward = network.model.layers[2].forward
    network.model.layers[2].forward = lambda states, **rest: {"states": forward(states, **rest)}
    with pytest.raises(RecipeError, match="LlamaDecoderLayer returns dict where hidden states of shape"):
        flow(network, windows)
    assert not any(layer._forward_hooks for layer in network.model.layers), "hooks are gone after an error"


def test_a_layer_that_is_not_called(decoder, windows):
    network = decoder("llama")
    network.config.num_hidden_layers = 4
    with pytest.raises(RecipeError, match=r"each of the 6 layers in 'model.layers' once.*\[0, 1, 2, 3\]"):
        flow(network, windows)
