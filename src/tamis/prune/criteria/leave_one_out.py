"""Losses of a network without one of its layers, and the greedy order that they give."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.criteria.flow import evaluation, layer_flow
from tamis.prune.criteria.order import free_layers, require_finite
from tamis.prune.criteria.skipping import output_form, replaced
from tamis.prune.criteria.windows import BATCH_WINDOWS, predicted_tokens, window_batches
from tamis.train.masked_lm import MaskedTokens

if TYPE_CHECKING:
    from torch import Tensor


def window_losses(
    network: Any, windows: NDArray[np.int64], *, dropped: Collection[int] = (), batch_size: int = BATCH_WINDOWS
) -> NDArray[np.float64]:
    """Return the loss of each window, summed over its ``seq_len - 1`` predicted tokens, in nats.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    windows : ndarray of int, shape (n, seq_len)
    dropped : collection of int
        Layers that are skipped.
    batch_size : int, default=4
        Windows that the network reads at a time; the losses do not depend on it.

    Returns
    -------
    ndarray of float64, shape (n,)
        The log-softmax is in float32 whatever the dtype of the network. A loss that is not finite is handed on.

    Raises
    ------
    DataError
        If the windows are not token ids of this network.
    RecipeError
        If there is no such layer.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> window_losses(LlamaForCausalLM(config), np.array([[3, 4, 5], [5, 8, 3]]), dropped=[0]).shape
    (2,)
    """
    import torch

    batches = window_batches("ppl", network, windows, batch_size)
    kept = predicted_tokens(windows)
    with evaluation(network), torch.no_grad(), replaced(network, dict.fromkeys(dropped), output_form(network)):
        return np.concatenate([_losses(network, kept, positions) for positions in batches])


def losses_without(
    network: Any,
    windows: NDArray[np.int64],
    candidates: Sequence[int],
    *,
    dropped: Collection[int] = (),
    batch_size: int = BATCH_WINDOWS,
) -> NDArray[np.float64]:
    """Return the loss of each window when one layer more is left out, for each candidate.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    windows : ndarray of int, shape (n, seq_len)
    candidates : sequence of int, length C
        Layers that are left out, one at a time.
    dropped : collection of int
        Layers that are skipped all the while.
    batch_size : int, default=4
        Windows that the network reads at a time; the losses do not depend on it.

    Returns
    -------
    ndarray of float64, shape (C, n)
        As of :func:`window_losses`, to the bit.

    Raises
    ------
    DataError
        If the windows are not token ids of this network, or a loss is not finite.
    RecipeError
        If there is no such layer, or a candidate is among those dropped.

    Notes
    -----
    What candidates read is the same in all passes up to the one left out. One pass keeps what enters each candidate,
    ``C * batch_size * seq_len * H`` numbers, and the pass without layer l starts from what entered l: on average half
    of the layers are left to compute.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=3,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> network, windows = LlamaForCausalLM(config), np.array([[3, 4, 5], [5, 8, 3]])
    >>> losses = losses_without(network, windows, [0, 2], dropped=[1])
    >>> bool((losses[1] == window_losses(network, windows, dropped=[1, 2])).all())
    True
    """
    import torch

    batches = window_batches("ppl", network, windows, batch_size)
    known = range(len(decoder_layers(network).layers))
    if wrong := [layer for layer in candidates if layer in dropped or layer not in known]:
        raise RecipeError(
            f"The layers {wrong} cannot be left out: {type(network).__name__} has the layers 0 to {len(known) - 1}, "
            f"and {sorted(dropped)} are dropped already."
        )
    kept, form = predicted_tokens(windows), output_form(network)
    losses = np.empty((len(candidates), len(windows)))
    with evaluation(network), torch.no_grad(), replaced(network, dict.fromkeys(dropped), form):
        for positions in batches:
            entering = _entering(network, windows[positions, :-1], candidates)
            for row, layer in enumerate(candidates):
                before: dict[int, Tensor | None] = dict.fromkeys(range(layer))
                with replaced(network, {**before, layer: entering[layer]}, form):
                    losses[row, positions] = _losses(network, kept, positions)
    require_finite("loss without a layer", losses.sum(axis=1), candidates)
    return losses


def perplexity(losses: NDArray[np.float64], seq_len: int) -> NDArray[np.float64]:
    """``exp(loss per predicted token)``, over the last axis of summed losses of windows of ``seq_len`` tokens.

    Of :func:`losses_without` it is the score of each candidate: the layer whose removal hurts least is pruned first
    (Kim et al., "Shortened LLaMA", arXiv 2402.02834; Lu et al., arXiv 2411.15558, metric "PPL").

    Examples
    --------
    >>> perplexity(np.log([[9.0, 9.0], [4.0, 16.0]]), seq_len=2)
    array([9., 8.])
    """
    return np.asarray(np.exp(losses.mean(axis=-1) / (seq_len - 1)), dtype=np.float64)


@dataclass(frozen=True)
class SlebOrder:
    """Layers in the order in which the greedy search took them out.

    Attributes
    ----------
    order : tuple of int, length k
    losses : ndarray of float64, shape (k,)
        Loss per predicted token when the layers up to this one are out, in nats.
    scores : ndarray of float64, shape (N,)
        Of a layer that was taken out the smallest loss from then on, so that none is above that of a later one. Of
        a layer that is left the loss if it had gone last instead. Protected layers follow at the end, in order: the
        largest of these and 1, 2, ... more.
    """

    order: tuple[int, ...]
    losses: NDArray[np.float64]
    scores: NDArray[np.float64]


def sleb(
    network: Any,
    windows: NDArray[np.int64],
    k: int,
    *,
    allowed: NDArray[np.bool_],
    batch_size: int = BATCH_WINDOWS,
) -> SlebOrder:
    """Take out ``k`` layers one after the other, each time the one that the network left so far can best do without.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    windows : ndarray of int, shape (n, seq_len)
    k : int
    allowed : ndarray of bool, shape (N,)
        Whether a layer may be pruned.
    batch_size : int, default=4
        Windows that the network reads at a time; the losses do not depend on it.

    Returns
    -------
    SlebOrder
        Of layers that cost the same, the one with the smaller index goes first.

    Raises
    ------
    DataError
        If the windows are not token ids of this network, or a loss is not finite.
    RecipeError
        If fewer than ``k`` layers are free.

    Notes
    -----
    Song et al., "SLEB" (arXiv 2402.09025), algorithm 1 with its third metric, the loss of the network pruned so far.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=4,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> allowed = np.array([False, True, True, False])
    >>> found = sleb(LlamaForCausalLM(config), np.array([[3, 4, 5]]), 2, allowed=allowed)
    >>> sorted(found.order), found.losses.shape, found.scores.argsort()[2:].tolist()
    ([1, 2], (2,), [0, 3])
    """
    n = len(decoder_layers(network).layers)
    free = free_layers("sleb", allowed, n, k)
    order: list[int] = []
    losses, scores = np.empty(k), np.full(n, np.nan)
    for step in range(k):
        sums = losses_without(network, windows, free, dropped=order, batch_size=batch_size).sum(axis=1)
        scores[free] = sums / (windows.size - len(windows))
        order.append(min(free, key=lambda layer: (scores[layer], layer)))
        free.remove(order[-1])
        losses[step] = scores[order[-1]]
    scores[order] = np.minimum.accumulate(losses[::-1])[::-1]
    protected = np.flatnonzero(~allowed)
    scores[protected] = np.nanmax(scores) + 1 + np.arange(len(protected))
    return SlebOrder(tuple(order), losses, scores)


def _losses(network: Any, kept: MaskedTokens, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Summed loss of each of these windows."""
    losses, row = kept.token_losses(network, positions)
    sums = np.bincount(row, weights=losses.cpu().numpy(), minlength=len(positions))
    return sums.astype(np.float64, copy=False)


def _entering(network: Any, ids: NDArray[np.int64], layers: Collection[int]) -> dict[int, Tensor]:
    """What enters these layers when the network reads these tokens."""
    found: dict[int, Tensor] = {}

    def receive(layer: int, entering: Tensor, leaving: Tensor) -> None:
        if layer in layers:
            found[layer] = entering

    layer_flow(network, ids, receive)
    return found
