"""What the entries of a ``config.json`` say about single layers, by their names in transformers and on the hub."""

from __future__ import annotations

import re
from typing import Any

from tamis.errors import RecipeError

COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""How many layers there are; one of these, by family."""

TEXT_SECTIONS = ("text_config", "llm_config", "language_config")
"""Where a model that also sees or hears keeps the configuration of its decoder."""

OTHER_TOWERS = re.compile(r"vision|visual|image|audio|speech|encoder|tower|(^|\.)(vit|mtp|eagle)(\.|$)")
"""In the names of tensors that belong to no layer of the decoder, though they may be in numbered layers."""

PER_LAYER = (
    "layer_types", "mlp_layer_types", "layers_block_type", "block_types", "hybrid_override_pattern",
    "no_rope_layers", "indexer_types", "hybrid_layer_pattern", "attn_type_list", "attn_layers", "moe_layer_freq",
    "attention_layers", "activation_sparsity_pattern", "layer_rope_theta", "block_configs",
    "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_attention_heads_per_layer",
    "num_query_heads", "num_kv_heads", "ffn_multipliers", "num_experts", "moe_topk", "sliding_window",
)  # fmt: skip
"""Lists (or strings) with one entry for each layer. Where the value is a single one, it is that of every layer."""

INDEX_LISTS = (
    "mlp_only_layers", "moe_layers", "cross_attention_layers", "attn_layer_indices", "full_attn_idxs",
    "hybrid_layer_ids", "local_layer_ids",
)  # fmt: skip
"""Lists of the indices of layers."""

FIRST_LAYERS = (
    "max_window_layers", "first_k_dense_replace", "num_dense_layers", "n_dense_layers", "moe_layer_start_index",
)  # fmt: skip
"""A number n that sets the first n layers apart from the others."""

PERIODS = {
    "sliding_window_pattern": "layer_types",
    "full_attention_interval": "layer_types",
    "global_attn_every_n_layers": "layer_types",
    "layer_group_size": "layer_types",
    "no_rope_layer_interval": "no_rope_layers",
    "interleave_moe_layer_step": "moe_layers",
    "attn_layer_period": None,
    "expert_layer_period": None,
    "moe_layer_interval": None,
    "moe_layer_freq": None,
}
"""A number p that sets every p-th layer apart, and the list that transformers takes instead where there is one."""

ACROSS_LAYERS = {
    "num_kv_shared_layers": "the last layers use keys and values of earlier ones",
    "kv_source_layers": "layers use keys and values of others",
    "use_cla": "layers use keys and values of others",
    "per_layer_config": "it describes layers by their index",
    "loop_layer_index_start": "some layers run several times",
    "loop_layer_index_end": "some layers run several times",
    "n_recurrent_layers": "some layers run several times",
    "num_layers_per_stack": "layers run in stacks",
    "n_layers_per_attn_res_block": "the residual stream runs over blocks of layers",
}
"""Whatever is cut, what these say does not carry over to fewer layers."""

BY_OWN_INDEX = {
    "scale_attn_by_inverse_layer_idx": "each layer scales its attention by its index",
}
"""What these say holds as long as no kept layer gets another index."""

PLAIN_LISTS = re.compile(
    r"token_ids?$|_words_ids$|suppress_tokens$|^architectures$|^_|^mtp_|^languages$|multipliers$|^time_step_limit$|"
    r"^keys_to_ignore|^attention_types$|^rope_"
)
"""Lists that say nothing about layers, whatever their length, or that have a rule of their own."""

SPEAKS_OF_LAYERS = re.compile(r"layers?($|_(ids?|idxs?|index|indices|indexes|list|enum)$)|_layer_")
"""Names of lists that most likely hold the indices of layers."""


def text_section(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that describes the decoder; most often all of it."""
    return next((config[name] for name in TEXT_SECTIONS if isinstance(config.get(name), dict)), config)


def layer_count(config: dict[str, Any]) -> int | None:
    """How many layers the configuration says that the decoder has; None if it leaves that to a default.

    Examples
    --------
    >>> layer_count({"n_layer": 12}), layer_count({"text_config": {"num_hidden_layers": 28}}), layer_count({})
    (12, 28, None)
    """
    for section in (text_section(config), config):
        for key in COUNTS:
            if isinstance(section.get(key), int):
                return int(section[key])
    return None


def refuse_encoder_decoder(config: dict[str, Any]) -> None:
    """Raise RecipeError if the model has an encoder whose layers its decoder reads."""
    if config.get("is_encoder_decoder") or "num_decoder_layers" in config or "decoder_layers" in config:
        name = ", ".join(config.get("architectures") or []) or config.get("model_type")
        raise RecipeError(
            f"{name} is an encoder-decoder model; only layers of a decoder that continues text can be cut, such as "
            "those of LlamaForCausalLM."
        )
