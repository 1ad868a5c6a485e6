"""A live model without some of its layers, which shares the weights of the others with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from tamis.errors import RecipeError
from tamis.models._transformers import quiet
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.surgery.config import pruned_config
from tamis.prune.surgery.kept_layers import KeptLayers
from tamis.prune.surgery.same_layers import same_networks
from tamis.prune.surgery.transformers_config import decoded


def cut_network(network: Any, kept: Iterable[int], *, values: Mapping[str, Any] | None = None) -> Any:
    """Return a model of the same class with only these layers.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Not changed. The result uses the memory of its weights: what trains one trains both.
    kept : iterable of int
        Ascending, 0-based.
    values : mapping of str to Any, optional
        Entries of the configuration, as for :func:`~tamis.prune.surgery.config.pruned_config`.

    Returns
    -------
    transformers.PreTrainedModel
        Built anew from its configuration, so that every index of a layer is right; with the dtype, the device, the
        generation settings and the mode (training or evaluation) of ``network``.

    Raises
    ------
    RecipeError
        If the model carries adapters or is quantised, or if its configuration does not carry over to fewer layers.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> network = GPT2LMHeadModel(GPT2Config(n_layer=3, n_embd=8, n_head=1, vocab_size=9, bos_token_id=0,
    ...                                      eos_token_id=0))
    >>> cut = cut_network(network, (0, 2))
    >>> len(cut.transformer.h), cut.transformer.h[1].attn.layer_idx, cut.config.n_layer
    (2, 1, 2)
    """
    import torch
    from transformers.initialization import no_init_weights

    if hasattr(network, "get_base_model") or getattr(network, "_hf_peft_config_loaded", False):
        raise RecipeError("This model carries adapters; merge(network) them into its weights before layers are cut.")
    quantizer = getattr(network, "hf_quantizer", None)
    # weights from a GGUF file are plain numbers again, though transformers goes on calling the model quantised
    if quantizer is not None and quantizer.quantization_config.quant_method != "gguf":
        raise RecipeError("This model is quantised; load it without quantisation before layers are cut.")
    found = decoder_layers(network)
    layers = KeptLayers.checked(kept, len(found.layers))
    raw = json.loads(network.config.to_json_string())
    raw.pop("quantization_config", None)
    pruned = pruned_config(raw, layers.indices, layers.n_layers, values=values)
    config = type(network.config).from_dict(decoded(pruned))
    attention = network.config._attn_implementation
    with quiet(), torch.device("meta"), no_init_weights():
        cut = type(network)._from_config(config, dtype=network.dtype, attn_implementation=attention)
    old_name = _old_names(found.path, layers)
    _share(cut, network, old_name)
    cut.generation_config = deepcopy(network.generation_config)
    if (conversions := getattr(network, "_weight_conversions", None)) is not None:
        cut._weight_conversions = conversions
    for name, module in cut.named_modules():
        module.training = network.get_submodule(old_name(name)).training
    same_networks(network, cut, layers.indices)
    return cut


def _old_names(path: str, layers: KeptLayers) -> Any:
    """The function from a name in the cut model to the one in its parent."""

    def old_name(name: str) -> str:
        if not name.startswith(f"{path}."):
            return name
        position, dot, rest = name[len(path) + 1 :].partition(".")
        return f"{path}.{layers.indices[int(position)]}{dot}{rest}"

    return old_name


def _share(cut: Any, network: Any, old_name: Any) -> None:
    """Give the cut model the tensors of its parent, those outside of the state dictionary too."""
    import torch

    state = network.state_dict()
    cut.load_state_dict({name: state[old_name(name)] for name in cut.state_dict()}, assign=True)
    learns = {name: parameter.requires_grad for name, parameter in network.named_parameters(remove_duplicate=False)}
    for name, module in cut.named_modules():
        parent = network.get_submodule(old_name(name))
        for key in module._buffers.keys() & module._non_persistent_buffers_set:
            module._buffers[key] = parent._buffers[key]
        for key, value in list(vars(module).items()):
            if isinstance(value, torch.Tensor) and value.is_meta:
                setattr(module, key, getattr(parent, key))
    cut.tie_weights()
    for name, parameter in cut.named_parameters():
        parameter.requires_grad_(learns[old_name(name)])
