"""What a configuration says of layers by their index: carried over, derived anew, or refused by name."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tamis.errors import RecipeError
from tamis.prune.surgery.config import pruned_config

LLAMA = {"model_type": "llama", "num_hidden_layers": 6, "hidden_size": 16, "num_attention_heads": 2}
S, F = "sliding_attention", "full_attention"
KEPT = (0, 2, 3, 5)


def cut(config, kept=KEPT, n=6, **options):
    before = deepcopy(config)
    result = pruned_config(config, kept, n, **options)
    assert config == before
    return result


@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layer", "n_layers", "num_layers"])
def test_the_count_is_under_the_family_s_own_key(key):
    kind = {"n_layer": "gpt2", "n_layers": "mpt", "num_layers": "xglm"}.get(key, "llama")
    assert cut({"model_type": kind, key: 6})[key] == 4


def test_a_count_that_the_file_leaves_to_the_default_is_written():
    assert cut({"model_type": "gpt2"}, kept=tuple(range(9)), n=12)["n_layer"] == 9


def test_all_names_of_the_count_change():
    result = cut({"model_type": "falcon", "n_layer": 6, "num_hidden_layers": 6})
    assert (result["n_layer"], result["num_hidden_layers"]) == (4, 4)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "gemma2"}, [S, S, F, F]),
        ({"model_type": "gemma3_text"}, [S, S, S, F]),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 3}, [S, F, S, F]),
        ({"model_type": "cohere2", "sliding_window_pattern": 2}, [S, S, F, F]),
        ({"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 3}, [F, F, S, S]),
        ({"model_type": "qwen3_next", "full_attention_interval": 3}, ["linear_attention", F, "linear_attention", F]),
        ({"model_type": "gpt_oss", "layer_types": [F, F, F, S, S, S]}, [F, F, S, S]),
    ],
)
def test_the_kinds_of_attention_are_those_of_the_original(config, expected):
    assert cut({"num_hidden_layers": 6, **config})["layer_types"] == expected


@pytest.mark.parametrize("key", ["max_window_layers", "first_k_dense_replace"])
def test_counts_of_first_layers_are_counted_anew(key):
    kind = "qwen2" if key == "max_window_layers" else "deepseek_v3"
    assert cut({"model_type": kind, "num_hidden_layers": 6, key: 3})[key] == 2
    assert cut({"model_type": kind, "num_hidden_layers": 6, key: 3}, kept=(1, 2, 3, 4))[key] == 2


def test_a_count_of_first_layers_that_is_the_default_is_written():
    assert cut({"model_type": "deepseek_v3", "num_hidden_layers": 6})["first_k_dense_replace"] == 2


def test_experts_in_every_second_layer_become_a_list():
    result = cut({"model_type": "qwen2_moe", "num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]})
    assert (result["decoder_sparse_step"], result["mlp_only_layers"]) == (1, [0, 1, 2])


def test_lists_of_indices_are_renumbered():
    result = cut({"model_type": "llama4_text", "num_hidden_layers": 6, "interleave_moe_layer_step": 3})
    assert result["moe_layers"] == [1, 3]
    assert result["no_rope_layers"] == [1, 1, 0, 1]
    assert cut({"model_type": "qwen3_moe", "num_hidden_layers": 6, "mlp_only_layers": [1, 2]})["mlp_only_layers"] == [1]
    assert cut({"model_type": "bamba", "num_hidden_layers": 6, "attn_layer_indices": [3]})["attn_layer_indices"] == [2]


@pytest.mark.parametrize("silent", [None, []])
def test_an_entry_that_says_nothing_is_derived(silent):
    result = cut({"model_type": "llama4_text", "num_hidden_layers": 6, "no_rope_layers": silent, "layer_types": None})
    assert result["no_rope_layers"] == [1, 1, 0, 1]
    assert result["layer_types"] == ["chunked_attention", "chunked_attention", F, "chunked_attention"]


def test_gpt_neo_has_pairs():
    result = cut({"model_type": "gpt_neo", "num_layers": 6, "attention_types": [[["global", "local"], 3]]})
    assert result["attention_types"] == [[["global", "global", "local", "local"], 1]]
    assert result["attention_layers"] == ["global", "global", "local", "local"]


def test_a_pattern_that_is_repeated_is_written_out():
    result = cut({"model_type": "recurrent_gemma", "num_hidden_layers": 6,
                  "block_types": ["recurrent", "recurrent", "attention"]})  # fmt: skip
    assert result["block_types"] == ["recurrent", "attention", "recurrent", "attention"]


def test_a_nested_section_changes_and_the_vision_tower_does_not():
    vision = {"model_type": "siglip_vision_model", "num_hidden_layers": 6}
    result = cut({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 6},
                  "vision_config": vision})  # fmt: skip
    assert result["text_config"]["num_hidden_layers"] == 4
    assert result["text_config"]["layer_types"] == [S, S, S, F]
    assert result["vision_config"] == vision
    assert "num_hidden_layers" not in result


def test_a_nested_section_that_leaves_all_to_defaults_is_written():
    result = cut({"model_type": "llava", "text_config": {"model_type": "llama"}}, kept=range(31), n=32)
    assert result["text_config"]["num_hidden_layers"] == 31


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gemma3n_text", "num_kv_shared_layers": 2, "intermediate_size": 24}, ["num_kv_shared_layers"]),
        ({"model_type": "gpt2", "n_layer": 6, "scale_attn_by_inverse_layer_idx": True}, ["inverse_layer_idx"]),
        ({"model_type": "jamba", "attn_layer_period": 4, "attn_layer_offset": 2}, ["attn_layer_period"]),
        ({"model_type": "ernie4_5_moe", "moe_layer_interval": 2}, ["moe_layer_interval"]),
        (LLAMA | {"strange": [1, 2, 3, 4, 5, 6]}, ["'strange'", "values={'strange': ...}", "--config strange=JSON"]),
        (LLAMA | {"odd_layers": [1, 3]}, ["'odd_layers'"]),
        (LLAMA | {"moe_layers_enum": "1,3"}, ["'moe_layers_enum'"]),
        (LLAMA | {"linear": {"kda_layers": [1, 3]}}, ["'linear'", "'kda_layers'"]),
        (LLAMA | {"block_configs": [1, 2]}, ["'block_configs'", "2 entries for 6 layers"]),
        (LLAMA | {"layer_types": [F] * 5}, ["layer_types"]),
        ({"model_type": "t5", "num_layers": 6, "is_encoder_decoder": True}, ["encoder-decoder"]),
        (LLAMA | {"quantization_config": {"dynamic": {r"-:model\.layers\.3\..*": {}}}},
         ["quantization_config.dynamic"]),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_refused_by_name(config, words, refused):
    with refused(RecipeError, *words):
        cut({"num_hidden_layers": 6, **config} if "n_layer" not in config else config)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "n_layer": 6, "scale_attn_by_inverse_layer_idx": True},
        {"model_type": "jamba", "num_hidden_layers": 6, "attn_layer_period": 4, "attn_layer_offset": 2},
    ],
)
def test_rules_by_index_hold_when_only_the_last_layers_go(config):
    assert 4 in cut(config, kept=(0, 1, 2, 3)).values()


def test_lists_that_only_happen_to_be_as_long_stay():
    rope = {"rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
    scales = {"short_factor": [1.0] * 6, "long_factor": [1.0] * 6}
    config = LLAMA | {"head_dim": 12, "eos_token_id": [1, 2, 3, 4, 5, 6], "rope_parameters": rope | scales}
    result = cut(config)
    assert result == config | {"num_hidden_layers": 4}


def test_values_answer_and_override():
    config = LLAMA | {"strange": [1, 2, 3, 4, 5, 6]}
    assert cut(config, values={"strange": [7]})["strange"] == [7]
    gemma = {"model_type": "gemma2", "num_hidden_layers": 6}
    assert cut(gemma, values={"layer_types": [F] * 4})["layer_types"] == [F] * 4


def test_values_that_transformers_refuses_are_refused(refused):
    with refused(RecipeError, "layer_types"):
        cut({"model_type": "gemma2", "num_hidden_layers": 6}, values={"layer_types": [F] * 3})


def test_names_in_the_settings_of_quantisation_are_renumbered():
    settings = {"ignore": ["lm_head", "model.layers.3.mlp.gate", "model.layers.4.mlp.gate",
                           "model.vision_tower.encoder.layers.3.fc1"], "bits": 4}  # fmt: skip
    result = cut(LLAMA | {"quantization_config": settings})["quantization_config"]
    assert result == {"ignore": ["lm_head", "model.layers.2.mlp.gate", "model.vision_tower.encoder.layers.3.fc1"],
                      "bits": 4}  # fmt: skip


def test_a_type_that_transformers_does_not_know_is_cut_by_what_the_file_says(refused):
    config = {"model_type": "of_my_own", "num_hidden_layers": 6, "layer_types": [S, F] * 3}
    assert cut(config)["layer_types"] == [S, S, F, F]
    with refused(RecipeError, "sliding_window_pattern"):
        cut({"model_type": "of_my_own", "num_hidden_layers": 6, "sliding_window_pattern": 2})


@pytest.mark.parametrize("kept", [(), (3, 2), (0, 0), (0, 6), (-1, 2)])
def test_kept_layers_are_checked(kept, refused):
    with refused(RecipeError, "[0, 6)"):
        cut(LLAMA, kept=kept)
