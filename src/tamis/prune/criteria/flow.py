"""What flows through a decoder: each layer's own input and output, layer by layer, in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.models.lm_head import hidden_states

if TYPE_CHECKING:
    from torch import Tensor

Receive = Callable[[int, "Tensor", "Tensor"], None]


def layer_flow(
    network: Any, ids: NDArray[np.int64], receive: Receive, *, mask: NDArray[np.bool_] | None = None
) -> None:
    """Hand each layer's input and output to ``receive``, first layer first, while the network reads ``ids``.

    They are taken at the layers themselves. The ``hidden_states`` that transformers returns end with the state *behind
    the final norm*, which is not the output of the last layer.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Read in evaluation mode, without gradients and without its head.
    ids : ndarray of int, shape (B, L)
    receive : callable
        Called with the index of the layer and two tensors of shape (B, L, H) in the network's dtype.
    mask : ndarray of bool, shape (B, L), optional
        False where padding is.

    Raises
    ------
    RecipeError
        If a layer is never called, or called with or for something else than hidden states.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> layer_flow(LlamaForCausalLM(config), np.array([[3, 4, 5]]), lambda layer, entering, leaving:
    ...            print(layer, tuple(entering.shape), tuple(leaving.shape)))
    0 (1, 3, 8) (1, 3, 8)
    1 (1, 3, 8) (1, 3, 8)
    """
    import torch

    found = decoder_layers(network)
    called: list[int] = []

    def hook(index: int) -> Callable[..., None]:
        def pass_on(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            called.append(index)
            leaving = output[0] if isinstance(output, tuple) else output
            receive(index, entering_states(module, args, kwargs), _states(leaving, module, "returns"))

        return pass_on

    device = next(network.parameters()).device
    seen = None if mask is None else torch.from_numpy(mask.astype(np.int64)).to(device)
    with ExitStack() as hooks, evaluation(network), torch.no_grad():
        for index, layer in enumerate(found.layers):
            hooks.callback(layer.register_forward_hook(hook(index), with_kwargs=True).remove)
        hidden_states(network, torch.from_numpy(np.ascontiguousarray(ids)).to(device), seen)
    if called != list(range(len(found.layers))):
        raise RecipeError(
            f"{type(network).__name__} does not call each of the {len(found.layers)} layers in {found.path!r} once and "
            f"in order, but {called}; its layers cannot be pruned."
        )


def entering_states(layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the hidden states that a layer is called with: the first argument, or the one of that name.

    Raises
    ------
    RecipeError
        If there are none.
    """
    return _states(args[0] if args else kwargs.get("hidden_states"), layer, "is called with")


def _states(value: Any, layer: Any, verb: str) -> Tensor:
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.dim() != 3:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise RecipeError(
            f"A layer {type(layer).__name__} {verb} {got} where hidden states of shape (B, L, H) are expected; "
            "layers of this kind cannot be measured."
        )
    return value


@contextmanager
def evaluation(network: Any) -> Iterator[None]:
    """The network in evaluation mode, and afterwards as it was."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
