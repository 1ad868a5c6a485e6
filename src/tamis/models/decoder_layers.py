"""The layers of a decoder, found by structure and not by the names that each family gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tamis.errors import RecipeError


@dataclass(frozen=True)
class DecoderLayers:
    """Where the layers of a causal language model are.

    Attributes
    ----------
    owner : torch.nn.Module
        The module whose list they are.
    attribute : str
        Name of the list in its owner, such as ``layers`` or ``h``.
    path : str
        Name of the list in the whole network, such as ``model.layers``.
    layers : torch.nn.ModuleList
    norm : torch.nn.Module or None
        The norm behind the last layer.
    """

    owner: Any
    attribute: str
    path: str
    layers: Any
    norm: Any | None


def decoder_layers(network: Any) -> DecoderLayers:
    """Find the layers: the longest list of modules in the decoder, lists within lists aside.

    Parameters
    ----------
    network : transformers.PreTrainedModel

    Raises
    ------
    RecipeError
        If there is no list of modules.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> found = decoder_layers(GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=8, n_head=1, vocab_size=9, bos_token_id=0,
    ...                                                   eos_token_id=0)))
    >>> found.path, len(found.layers), type(found.norm).__name__
    ('transformer.h', 3, 'LayerNorm')
    """
    decoder = network.get_decoder()
    lists = list(_module_lists(decoder))
    if not lists:
        raise RecipeError(f"{type(network).__name__} has no list of layers; use tune='head' or 'full'.")
    owner, attribute, layers = max(lists, key=lambda found: len(found[2]))
    path = next(name for name, module in network.named_modules() if module is layers)
    return DecoderLayers(owner, attribute, path, layers, _final_norm(owner))


def _module_lists(module: Any) -> Iterator[tuple[Any, str, Any]]:
    from torch.nn import ModuleList

    for name, child in module.named_children():
        if isinstance(child, ModuleList):
            yield module, name, child
        else:
            yield from _module_lists(child)


def _final_norm(owner: Any) -> Any | None:
    """The last module beside the layers with one-dimensional weights only, if any; Bloom has one before them too."""
    sizes = [(child, [parameter.dim() for parameter in child.parameters()]) for child in owner.children()]
    return next((child for child, dims in reversed(sizes) if dims and max(dims) == 1), None)
