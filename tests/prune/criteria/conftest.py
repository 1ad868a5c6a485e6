"""Random decoders of a few thousand weights, one a family, and windows for them."""

from __future__ import annotations

import re

import numpy as np
import pytest

VOCABULARY = 64
LAYERS = 6


# Each family: names of its model and configuration in transformers, and what it calls its sizes.
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
GROUPED = {**SIZES, "num_key_value_heads": 1, "sliding_window": 4}
FAMILIES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", SIZES),
    "mistral": ("MistralForCausalLM", "MistralConfig", GROUPED),
    "qwen2": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {**GROUPED, "use_sliding_window": True, "layer_types": ["full_attention"] * 2 + ["sliding_attention"] * 4},
    ),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {**GROUPED, "head_dim": 8, "pad_token_id": 0, "layer_types": ["sliding_attention", "full_attention"] * 3},
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 16, "n_head": 2}),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", SIZES),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {"hidden_size": 16, "ffn_dim": 24, "num_attention_heads": 2, "word_embed_proj_dim": 16},
    ),
    "phi": ("PhiForCausalLM", "PhiConfig", SIZES),
    "falcon": ("FalconForCausalLM", "FalconConfig", {"hidden_size": 16, "num_attention_heads": 2}),
    "mixtral": (
        "MixtralForCausalLM",
        "MixtralConfig",
        {**SIZES, "num_key_value_heads": 1, "num_local_experts": 3, "num_experts_per_tok": 2},
    ),
}


def build(family, layers=LAYERS, seed=0, **changes):
    """Make a random network; equal arguments give equal weights."""
    import torch
    import transformers

    kind, config, sizes = FAMILIES[family]
    sizes = {"num_hidden_layers": layers, "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2} | sizes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = getattr(transformers, kind)(getattr(transformers, config)(**sizes | changes)).eval()
        for weight in network.parameters():
            if weight.dim() > 1:
                weight.data.normal_(0, 0.2)
    return network


@pytest.fixture
def decoder():
    """Make a random network of a family; see :func:`build`."""
    return build


@pytest.fixture
def truly_cut():
    """Cut layers out of a network by hand: a smaller configuration, and the weights of what is left renumbered."""

    def cut(network, family, dropped):
        kept = [layer for layer in range(LAYERS) if layer not in dropped]
        kinds = FAMILIES[family][2].get("layer_types")
        changes = {"layer_types": [kinds[i] for i in kept]} if kinds else {}
        smaller = build(family, layers=len(kept), seed=1, **changes)
        state = {}
        for name, tensor in network.state_dict().items():
            at = re.search(r"\.(?:layers|h)\.(\d+)\.", name)
            if at is None:
                state[name] = tensor
            elif int(at[1]) in kept:
                state[f"{name[: at.start(1)]}{kept.index(int(at[1]))}{name[at.end(1) :]}"] = tensor
        smaller.load_state_dict(state, strict=True)
        return smaller

    return cut


@pytest.fixture
def silenced():
    """Make a llama, some of whose layers add nothing to the residual stream."""

    def make(layers, **changes):
        import torch

        network = build("llama", **changes)
        with torch.no_grad():
            for layer in layers:
                network.model.layers[layer].self_attn.o_proj.weight.zero_()
                network.model.layers[layer].mlp.down_proj.weight.zero_()
        return network

    return make


@pytest.fixture
def windows():
    """Seven windows of 12 tokens."""
    return np.random.default_rng(3).integers(3, VOCABULARY, (7, 12))


def states_by_hand(network, ids):
    """Input of each layer of a llama and output of the last, float64, by calling the layers one after the other."""
    import torch

    model = network.model
    ids = torch.as_tensor(ids)
    with torch.no_grad():
        states = model.embed_tokens(ids)
        places = torch.arange(ids.shape[1])[None]
        rotary = model.rotary_emb(states, places)
        mask = torch.full((ids.shape[1],) * 2, -torch.inf, dtype=states.dtype).triu(1)[None, None]
        found = [states]
        for layer in model.layers:
            states = layer(states, attention_mask=mask, position_embeddings=rotary)
            found.append(states)
    return [each.double().numpy() for each in found]


@pytest.fixture
def by_hand():
    return states_by_hand
