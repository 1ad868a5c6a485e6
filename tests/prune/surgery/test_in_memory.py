"""A live model without some layers: its own configuration and indices, its parent's weights and ways."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tamis.errors import RecipeError
from tamis.prune.surgery.in_memory import cut_network

KEPT, DROPPED = (1, 3, 4), (0, 2, 5)


def test_weights_are_shared_and_the_parent_is_left_alone(make_network, logits_without, ids):
    network = make_network("llama-tied").train()
    network.model.layers[3].requires_grad_(False)
    before = network(ids, use_cache=False).logits
    expected = logits_without(network, DROPPED)
    cut = cut_network(network, KEPT)
    assert [layer.self_attn.layer_idx for layer in cut.model.layers] == [0, 1, 2]
    assert cut.config.num_hidden_layers == 3
    assert cut.lm_head.weight is cut.model.embed_tokens.weight
    for new, old in enumerate(KEPT):
        pairs = zip(cut.model.layers[new].parameters(), network.model.layers[old].parameters(), strict=True)
        for mine, its in pairs:
            assert mine.data_ptr() == its.data_ptr()
            assert mine is not its
            assert mine.requires_grad == its.requires_grad == (old != 3)
    torch.testing.assert_close(cut(ids, use_cache=False).logits, expected)
    assert len(network.model.layers) == 6
    torch.testing.assert_close(network(ids, use_cache=False).logits, before)


def test_modes_and_generation_settings_are_the_parent_s(make_network):
    network = make_network("opt").train()
    network.model.decoder.layers[1].eval()
    cut = cut_network(network, KEPT)
    assert cut.training
    assert [layer.training for layer in cut.model.decoder.layers] == [False, True, True]
    assert cut.generation_config.top_k == 7
    assert cut.generation_config is not network.generation_config
    assert cut.config._attn_implementation == network.config._attn_implementation


def test_a_cut_model_can_be_cut_again(make_network, logits_without, ids):
    network = make_network("gemma2")
    twice = cut_network(cut_network(network, (0, 1, 3, 4, 5)), (1, 2, 4))
    torch.testing.assert_close(twice(ids, use_cache=False).logits, logits_without(network, (0, 2, 4)))
    assert [layer.self_attn.sliding_window for layer in twice.model.layers] == [None] * 3


def test_a_model_with_a_non_persistent_buffer_of_its_own_keeps_it(make_network, ids):
    network = make_network("llama")
    network.model.rotary_emb.inv_freq.mul_(0.5)
    cut = cut_network(network, KEPT)
    assert cut.model.rotary_emb.inv_freq.tolist() == network.model.rotary_emb.inv_freq.tolist()
    assert not any(tensor.is_meta for tensor in [*cut.parameters(), *cut.buffers()])


def test_weights_from_a_gguf_file_can_be_cut_and_saved(make_network, tmp_path, load):
    network = make_network("llama")
    network.hf_quantizer = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="gguf"))
    cut_network(network, KEPT).save_pretrained(tmp_path)
    assert load(tmp_path).config.num_hidden_layers == 3


def test_models_that_are_more_than_their_weights_are_refused(make_network, refused):
    network = make_network("llama")
    network.hf_quantizer = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="bitsandbytes"))
    with refused(RecipeError, "quantised"):
        cut_network(network, KEPT)


# peft asks transformers under a name that transformers 5.24 calls old
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapters_are_refused(make_network, refused):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(make_network("llama"), LoraConfig(r=2, target_modules=["q_proj"]))
    with refused(RecipeError, "adapters"):
        cut_network(adapted, KEPT)


@pytest.mark.parametrize("kept", [(), (6,)])
def test_layers_that_it_does_not_have(make_network, refused, kept):
    with refused(RecipeError, "[0, 6)"):
        cut_network(make_network("llama"), kept)
