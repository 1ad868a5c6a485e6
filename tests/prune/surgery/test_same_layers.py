"""Whatever the rules for configurations overlook is found by building both models."""

from __future__ import annotations

import pytest

from tamis.errors import RecipeError
from tamis.prune.surgery.config import pruned_config, require_same_layers
from tamis.prune.surgery.transformers_config import meta_network

SMALL = {"num_hidden_layers": 6, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2,
         "num_key_value_heads": 1, "vocab_size": 64}  # fmt: skip
KEPT = (0, 2, 3, 5)


def require(config, kept=KEPT, **options):
    cut = pruned_config(config, kept, 6)
    require_same_layers(config, cut, kept, **options)


def test_a_wrong_list_is_found(refused):
    gemma = SMALL | {"model_type": "gemma2", "head_dim": 8}
    require(gemma)
    with refused(RecipeError, "Layer 2", "layer 1", "'full_attention'", "--config KEY=JSON"):
        require_same_layers(gemma, gemma | {"num_hidden_layers": 4}, KEPT)


def test_what_the_forward_pass_looks_up_by_index_is_found(refused):
    gemma3 = SMALL | {"model_type": "gemma3_text", "head_dim": 8, "sliding_window_pattern": 2}
    require(gemma3)
    llama = SMALL | {"model_type": "llama", "layer_types": ["full_attention"] * 6, "of_mine": [1, 2, 3, 4, 5, 6]}
    with refused(RecipeError, "'of_mine'"):
        require_same_layers(llama, llama | {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 4,
                                            "of_mine": [1, 2, 3, 4]}, KEPT)  # fmt: skip


def test_an_index_that_the_code_computes_with_is_found(refused):
    with refused(RecipeError, "Layer 2", "lambda_init"):
        require(SMALL | {"model_type": "diffllama", "num_key_value_heads": 2})


def test_a_shape_that_depends_on_the_number_of_layers_is_found(refused):
    with refused(RecipeError, "number of layers", "'transformer.layer_norm1.4.weight'"):
        require({"model_type": "xlm", "n_layers": 6, "emb_dim": 16, "n_heads": 2, "n_words": 64})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SMALL | {"model_type": "olmo2"}, ["Olmo2ForCausalLM", "self_attn.q_proj"]),
        (SMALL | {"model_type": "exaone4", "sliding_window": 4}, ["Exaone4ForCausalLM"]),
        (SMALL | {"model_type": "opt", "ffn_dim": 24, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
         ["OPTForCausalLM", "q_proj"]),
        ({"model_type": "openai-gpt", "n_layer": 6, "n_embd": 16, "n_head": 2, "vocab_size": 64},
         ["OpenAIGPTLMHeadModel"]),
        (SMALL | {"model_type": "bert", "is_decoder": True}, ["BertLMHeadModel"]),
        ({"model_type": "bloom", "n_layer": 6, "hidden_size": 16, "n_head": 2, "vocab_size": 64,
          "apply_residual_connection_post_layernorm": True}, ["apply_residual_connection_post_layernorm"]),
    ],
)  # fmt: skip
def test_models_that_are_not_pre_norm_are_refused_unless_told_otherwise(config, words, refused):
    with refused(RecipeError, "not pre-norm", "allow_post_norm=True", *words):
        require(config)
    require(config, allow_post_norm=True)


def test_a_type_that_transformers_does_not_know_cannot_be_checked(refused):
    with refused(RecipeError, "'of_my_own'"):
        require({"model_type": "of_my_own", "num_hidden_layers": 6})


def test_llama_3_1_8b_loses_what_the_paper_says():
    llama = {"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}  # fmt: skip
    sizes = [sum(weight.numel() for weight in meta_network(config).parameters())
             for config in (llama, pruned_config(llama, range(24), 32))]  # fmt: skip
    assert [round(size / 1e9, 3) for size in sizes] == [8.030, 6.285]
