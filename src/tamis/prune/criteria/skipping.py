"""A network that skips some of its layers, without a copy of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.models.lm_head import hidden_states
from tamis.prune.criteria.flow import entering_states, evaluation

if TYPE_CHECKING:
    from torch import Tensor

Form = Callable[["Tensor"], Any]
"""Puts hidden states into the form in which the layers of a network return them."""


@contextmanager
def skipped(network: Any, layers: Collection[int]) -> Iterator[None]:
    """The network without these layers while the context lasts; it then gives the logits of the truly cut one.

    Each becomes the identity where it stands: the other layers keep their index, and with it their kind of attention.
    Ask for no cache meanwhile (``use_cache=False``): a skipped layer fills none.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    layers : collection of int
        0-based.

    Raises
    ------
    RecipeError
        If there is no such layer.

    Examples
    --------
    >>> import torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> network, ids = LlamaForCausalLM(config).eval(), torch.tensor([[3, 4, 5]])
    >>> with skipped(network, [0, 1]):
    ...     left = network(ids, use_cache=False).logits
    >>> bool((left == network.lm_head(network.model.norm(network.model.embed_tokens(ids)))).all())
    True
    """
    with replaced(network, dict.fromkeys(layers), output_form(network)):
        yield


@contextmanager
def replaced(network: Any, states: Mapping[int, Tensor | None], form: Form) -> Iterator[None]:
    """The network with some layers computing nothing while the context lasts; such contexts nest.

    Parameters
    ----------
    network : transformers.PreTrainedModel
    states : mapping of int to Tensor or None
        What each such layer returns, whatever it is given; None: what it is given.
    form : callable
        See :func:`output_form`.
    """
    layers = decoder_layers(network).layers
    unknown = sorted(set(states) - set(range(len(layers))))
    if unknown:
        raise RecipeError(
            f"There are no layers {unknown} to skip; {type(network).__name__} has 0 to {len(layers) - 1}."
        )
    before = {index: layers[index].__dict__.get("forward") for index in states}
    try:
        for index, given in states.items():
            layers[index].forward = partial(_stand_in, layers[index], form, given)
        yield
    finally:
        for index, forward in before.items():
            del layers[index].forward
            if forward is not None:
                layers[index].forward = forward


def output_form(network: Any) -> Form:
    """Find out, by reading one token, in which form the layers return hidden states: a tensor, or first in a tuple.

    A decoder treats what its layers return alike, so the first layer tells it for all.
    """
    import torch

    lengths: list[int] = []

    def look(module: Any, args: Any, output: Any) -> None:
        lengths.append(len(output) if isinstance(output, tuple) else 0)

    handle = decoder_layers(network).layers[0].register_forward_hook(look)
    try:
        with evaluation(network), torch.no_grad():
            hidden_states(network, torch.zeros(1, 1, dtype=torch.int64, device=next(network.parameters()).device))
    finally:
        handle.remove()
    length = lengths[0]
    return (lambda states: (states, *[None] * (length - 1))) if length else (lambda states: states)


def _stand_in(layer: Any, form: Form, states: Tensor | None, /, *args: Any, **kwargs: Any) -> Any:
    """What a skipped layer does when it is called."""
    return form(entering_states(layer, args, kwargs) if states is None else states)
