"""Losses without a layer against networks that are truly cut; the greedy order against a search by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria.leave_one_out import losses_without, perplexity, sleb, window_losses

EVERY = np.ones(6, dtype=bool)


def losses_by_hand(network, windows):
    """Summed loss of each window, by transformers' own logits in float64."""
    import torch

    ids = torch.from_numpy(windows)
    with torch.no_grad():
        log_p = network(ids, use_cache=False).logits[:, :-1].double().log_softmax(-1)
    return -log_p.gather(-1, ids[:, 1:, None])[..., 0].sum(1).numpy()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "falcon"])
def test_equal_to_networks_that_are_truly_cut(decoder, truly_cut, windows, family):
    network = decoder(family)
    np.testing.assert_allclose(window_losses(network, windows), losses_by_hand(network, windows), rtol=1e-5)
    found = losses_without(network, windows, [0, 2, 5], dropped=[1])
    assert found.shape == (3, 7)
    for row, layer in zip(found, [0, 2, 5], strict=True):
        cut = truly_cut(network, family, [1, layer])
        np.testing.assert_allclose(row, losses_by_hand(cut, windows), rtol=1e-5)


@pytest.mark.parametrize("dropped", [[], [0], [2, 5]])
def test_equal_to_plain_passes_to_the_bit(decoder, windows, dropped):
    network = decoder("llama")
    candidates = [layer for layer in (4, 0, 1, 3, 5, 2) if layer not in dropped]
    found = losses_without(network, windows, candidates, dropped=dropped, batch_size=3)
    for row, layer in zip(found, candidates, strict=True):
        np.testing.assert_array_equal(row, window_losses(network, windows, dropped=[*dropped, layer], batch_size=3))


def test_no_layer_in_front_of_the_one_left_out_is_computed_again(decoder, windows):
    network = decoder("llama")
    called = []
    for index, layer in enumerate(network.model.layers):
        layer.self_attn.register_forward_hook(lambda module, args, output, index=index: called.append(index))
    losses_without(network, windows, range(6), batch_size=7)
    # One token to see what layers return, one whole pass, and behind layer l a pass without it.
    assert np.bincount(called).tolist() == [2 + layer for layer in range(6)]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batches_do_not_matter(decoder, windows, batch_size):
    network = decoder("llama")
    candidates = list(range(6))
    expected = losses_without(network, windows, candidates)
    np.testing.assert_allclose(losses_without(network, windows, candidates, batch_size=batch_size), expected, rtol=1e-6)


def test_layers_that_do_nothing_are_not_missed(silenced, windows):
    network = silenced([1, 4])
    dense = window_losses(network, windows)
    found = losses_without(network, windows, range(6))
    np.testing.assert_array_equal(found[[1, 4]], [dense, dense])
    scores = perplexity(found, 12)
    assert scores[[1, 4]].tolist() == [perplexity(dense, 12)] * 2
    np.testing.assert_allclose(scores, np.exp(found.sum(1) / (7 * 11)))


def test_the_network_is_left_as_it_was(decoder, windows):
    import torch

    network = decoder("gpt2", resid_pdrop=0.5).train()
    before = losses_without(network, windows, range(6))
    np.testing.assert_array_equal(before, losses_without(network.eval(), windows, range(6)))
    ids = torch.from_numpy(windows)
    assert torch.equal(network(ids).logits, decoder("gpt2")(ids).logits)


def test_layers_that_cannot_be_left_out(decoder, windows):
    with pytest.raises(RecipeError, match=r"layers \[2, 6\] cannot be left out: .* has the layers 0 to 5, and \[2\]"):
        losses_without(decoder("llama"), windows, [1, 2, 6], dropped=[2])
    with pytest.raises(RecipeError, match=r"no layers \[7\] to skip"):
        window_losses(decoder("llama"), windows, dropped=[7])


def greedy_by_hand(network, truly_cut, windows, k, allowed):
    order, losses = [], []
    for _ in range(k):
        free = [layer for layer in range(6) if allowed[layer] and layer not in order]
        costs = [losses_by_hand(truly_cut(network, "llama", [*order, layer]), windows).sum() for layer in free]
        order.append(free[int(np.argmin(costs))])
        losses.append(min(costs) / (7 * 11))
    return tuple(order), losses


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_greedy_order_by_brute_force(decoder, truly_cut, windows, k, seed):
    network = decoder("llama", seed=seed)
    found = sleb(network, windows, k, allowed=EVERY)
    order, losses = greedy_by_hand(network, truly_cut, windows, k, EVERY)
    assert found.order == order
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    assert sorted(np.argsort(found.scores, kind="stable")[:k].tolist()) == sorted(order)
    assert np.isfinite(found.scores).all()


def test_each_step_looks_at_the_network_pruned_so_far(decoder, truly_cut, windows):
    """Somewhere the greedy pair is not the pair of the two best single layers."""
    differ = 0
    for seed in range(6):
        network = decoder("llama", seed=seed)
        once = np.argsort(losses_without(network, windows, range(6)).sum(1))[:2].tolist()
        differ += set(sleb(network, windows, 2, allowed=EVERY).order) != set(once)
    assert differ


def test_protected_layers_stay(silenced, truly_cut, windows):
    network = silenced([0, 5])
    allowed = np.array([False, True, True, True, True, False])
    found = sleb(network, windows, 2, allowed=allowed)
    assert found.order == greedy_by_hand(network, truly_cut, windows, 2, allowed)[0]
    np.testing.assert_allclose(found.scores[[0, 5]] - found.scores[1:5].max(), [1, 2])
    with pytest.raises(RecipeError, match=r"'sleb' is to prune 5 layers, and only 4 of the 6 are free"):
        sleb(network, windows, 5, allowed=allowed)


def test_of_layers_that_cost_the_same_the_first(silenced, windows):
    network = silenced([1, 3, 4])
    found = sleb(network, windows, 3, allowed=np.isin(range(6), [1, 3, 4]))
    assert found.order == (1, 3, 4)
    assert found.losses.tolist() == [window_losses(network, windows).sum() / (7 * 11)] * 3


def test_a_loss_that_is_no_number_is_refused(decoder, windows):
    import torch

    network = decoder("llama")
    with torch.no_grad():
        network.model.layers[3].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(DataError, match=r"'loss without a layer' gives no finite score for the layers \[0, 1, 2, 4\]"):
        sleb(network, windows, 1, allowed=np.array([True] * 5 + [False]))
