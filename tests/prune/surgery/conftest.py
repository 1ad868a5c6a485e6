"""Tiny random models of many families, saved once a session, and ways to look at what is left of them."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager

import pytest

SIZES = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "vocab_size": 64, "bos_token_id": 1,
         "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
GATED = {**SIZES, "intermediate_size": 24, "num_key_value_heads": 1, "max_position_embeddings": 64}
GPT2 = {"n_embd": 16, "n_layer": 6, "n_head": 2, "vocab_size": 64, "n_positions": 64, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
NOT_TIED, TIED = {"tie_word_embeddings": False}, {"tie_word_embeddings": True}
WINDOW = 3

FAMILIES = {
    "llama": ("llama", GATED | NOT_TIED),
    "llama-tied": ("llama", GATED | TIED),
    "mistral": ("mistral", GATED | {"sliding_window": WINDOW}),
    "qwen2": ("qwen2", GATED | NOT_TIED | {"use_sliding_window": True, "sliding_window": WINDOW,
                                           "max_window_layers": 3}),
    "qwen2-tied": ("qwen2", GATED | TIED),
    "qwen3": ("qwen3", GATED | NOT_TIED | {"head_dim": 8}),
    "qwen3-tied": ("qwen3", GATED | TIED | {"head_dim": 8}),
    "gemma2": ("gemma2", GATED | TIED | {"head_dim": 8, "sliding_window": WINDOW}),
    "gemma3": ("gemma3_text", GATED | TIED | {"head_dim": 8, "sliding_window": WINDOW, "layer_types": None}),
    "gpt2": ("gpt2", GPT2 | TIED),
    "gpt2-untied": ("gpt2", GPT2 | NOT_TIED),
    "gpt_neox": ("gpt_neox", SIZES | NOT_TIED | {"intermediate_size": 24, "max_position_embeddings": 64}),
    "gpt_neox-tied": ("gpt_neox", SIZES | TIED | {"intermediate_size": 24, "max_position_embeddings": 64}),
    "gpt_neo": ("gpt_neo", {"hidden_size": 16, "num_layers": 6, "num_heads": 2, "vocab_size": 64, "window_size": WINDOW,
                            "attention_types": [[["global", "local"], 3]], "max_position_embeddings": 64,
                            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}),
    "opt": ("opt", SIZES | {"ffn_dim": 24, "word_embed_proj_dim": 16, "max_position_embeddings": 64}),
    "phi": ("phi", GATED | NOT_TIED),
    "falcon": ("falcon", SIZES | TIED | {"new_decoder_architecture": True, "num_kv_heads": 1}),
    "mixtral": ("mixtral", GATED | NOT_TIED | {"num_local_experts": 3}),
    "qwen2_moe": ("qwen2_moe", GATED | NOT_TIED | EXPERTS | {"shared_expert_intermediate_size": 8,
                                                            "decoder_sparse_step": 2}),
}  # fmt: skip


def build(kind, settings, seed=0):
    """A causal language model with weights large enough that every layer shows in the logits."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    generator = torch.Generator().manual_seed(seed)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.3 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    network.generation_config.do_sample, network.generation_config.top_k = True, 7
    return network


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Save a family's model once; the folder."""
    folders = {}

    def make(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name) / "model"
            build(*FAMILIES[name]).save_pretrained(folders[name])
        return folders[name]

    return make


@pytest.fixture
def make_network():
    """A model of a family, or of a model type with settings of one's own."""
    return lambda name, **settings: build(FAMILIES[name][0], FAMILIES[name][1] | settings)


@pytest.fixture
def load():
    def make(folder):
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()

    return make


@pytest.fixture
def ids():
    """A row of tokens that is longer than any window."""
    import torch

    return torch.tensor([[1, 5, 9, 33, 12, 60, 7, 41, 22, 3, 18, 55]])


@pytest.fixture
def logits_without(ids):
    """Logits of the ORIGINAL model whose dropped layers hand on what they were given."""

    def run(network, dropped):
        import torch

        from tamis.models.decoder_layers import decoder_layers

        def skip(_, args, kwargs, output):
            hidden = args[0] if args else kwargs["hidden_states"]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        layers = decoder_layers(network).layers
        hooks = [layers[layer].register_forward_hook(skip, with_kwargs=True) for layer in dropped]
        with torch.no_grad():
            logits = network(ids, use_cache=False).logits
        for hook in hooks:
            hook.remove()
        return logits

    return run


@pytest.fixture
def digests():
    """SHA-256 of each tensor's bytes, with dtype and shape, over all safetensors files of a folder."""

    def of(folder):
        import torch
        from safetensors.torch import load_file

        found = {}
        for path in sorted(folder.glob("*.safetensors")):
            for name, tensor in load_file(path).items():
                content = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                found[name] = (str(tensor.dtype), tuple(tensor.shape), hashlib.sha256(content).hexdigest())
        return found

    return of


@pytest.fixture
def refused():
    """Expect an error of one sentence that says all these words."""

    @contextmanager
    def expecting(kind, *words):
        with pytest.raises(kind) as error:
            yield
        said = str(error.value)
        assert "\n" not in said
        assert said.endswith(".")
        assert not re.search(r"[a-z)]\. (?!Got )[A-Z]", said), said
        assert [word for word in words if word not in said] == [], said

    return expecting
