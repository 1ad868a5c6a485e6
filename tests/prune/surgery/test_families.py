"""Each family: cut on disk and in memory, loaded by transformers, against the original with layers skipped."""

from __future__ import annotations

import json

import pytest
import torch

from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.config import pruned_config, require_same_layers
from tamis.prune.surgery.in_memory import cut_network
from tamis.prune.surgery.streaming import write_cut

KEPT, DROPPED = (0, 2, 3), (1, 4, 5)


@pytest.fixture
def stream(tmp_path):
    """Cut a saved model on disk; the new folder."""

    def cut(folder, kept=KEPT, **options):
        checkpoint = Checkpoint.open(folder)
        config = pruned_config(checkpoint.config, kept, checkpoint.n_layers)
        require_same_layers(checkpoint.config, config, kept)
        write_cut(checkpoint, kept, tmp_path / "cut", config=config, card="A card.\n", **options)
        return tmp_path / "cut"

    return cut


def test_a_streamed_cut_computes_what_the_kept_layers_compute(family, saved, stream, load, logits_without, ids):
    original, cut = load(saved(family)), load(stream(saved(family)))
    with torch.no_grad():
        logits = cut(ids, use_cache=False).logits
    torch.testing.assert_close(logits, logits_without(original, DROPPED), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits, original(ids).logits, atol=1e-2)


def test_generating_with_a_cache_equals_generating_without(family, saved, stream, load, ids):
    cut = load(stream(saved(family)))
    with_cache = cut.generate(ids, max_new_tokens=8, do_sample=False, use_cache=True)
    assert with_cache.tolist() == cut.generate(ids, max_new_tokens=8, do_sample=False, use_cache=False).tolist()
    assert with_cache.shape[1] > ids.shape[1]


def test_the_streamed_file_holds_the_bytes_of_the_in_memory_one(family, saved, stream, load, digests, tmp_path):
    cut_network(load(saved(family)), KEPT).save_pretrained(tmp_path / "memory")
    streamed = stream(saved(family))
    assert digests(streamed) == digests(tmp_path / "memory")
    configs = [json.loads((folder / "config.json").read_text()) for folder in (streamed, tmp_path / "memory")]
    assert configs[0].items() <= configs[1].items()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays(make_network, stream, load, digests, tmp_path, dtype):
    network = make_network("llama").to(getattr(torch, dtype))
    network.save_pretrained(tmp_path / "parent")
    cut = cut_network(network, KEPT)
    assert cut.dtype == network.dtype
    cut.save_pretrained(tmp_path / "memory")
    streamed = stream(tmp_path / "parent")
    assert digests(streamed) == digests(tmp_path / "memory")
    assert {dtype for dtype, _, _ in digests(streamed).values()} == {f"torch.{dtype}"}
    assert load(streamed).dtype == network.dtype


@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "gemma2"])
def test_tied_matrices_stay_tied(saved, stream, load, family):
    cut = load(stream(saved(family)))
    assert cut.get_output_embeddings().weight is cut.get_input_embeddings().weight


def test_gemma_2_keeps_each_layer_s_attention_when_layers_before_it_go(saved, stream, load, ids):
    original, cut = load(saved("gemma2")), load(stream(saved("gemma2"), kept=(1, 3, 4)))
    assert cut.config.layer_types == ["full_attention", "full_attention", "sliding_attention"]
    assert [layer.self_attn.sliding_window for layer in cut.model.layers] == [None, None, 3]
    assert [layer.self_attn.layer_idx for layer in cut.model.layers] == [0, 1, 2]
    n = ids.shape[1]
    far = torch.arange(n)[:, None] - torch.arange(n)[None]
    full = torch.where(far >= 0, 0.0, float("-inf"))[None, None]
    window = torch.where((far >= 0) & (far < 3), 0.0, float("-inf"))[None, None]
    model = original.model
    with torch.no_grad():
        x = model.embed_tokens(ids)
        if not hasattr(model.embed_tokens, "embed_scale"):
            x = x * model.config.hidden_size**0.5
        rotary = model.rotary_emb(x, torch.arange(n)[None])
        for layer, mask in ((1, full), (3, full), (4, window)):
            x = model.layers[layer](x, position_embeddings=rotary, attention_mask=mask)
        logits = original.lm_head(model.norm(x))
        cap = original.config.final_logit_softcapping
        torch.testing.assert_close(cut(ids).logits, cap * torch.tanh(logits / cap), rtol=1e-4, atol=1e-4)


def test_layers_that_write_nothing_can_go_unseen(make_network, ids):
    network = make_network("llama")
    with torch.no_grad():
        for layer in DROPPED:
            network.model.layers[layer].self_attn.o_proj.weight.zero_()
            network.model.layers[layer].mlp.down_proj.weight.zero_()
        torch.testing.assert_close(cut_network(network, KEPT)(ids).logits, network(ids).logits, rtol=1e-6, atol=1e-6)


def test_many_shards_in_and_out(make_network, stream, load, digests, logits_without, ids, tmp_path):
    network = make_network("llama")
    network.save_pretrained(tmp_path / "parent", max_shard_size="8KB")
    assert len(list((tmp_path / "parent").glob("*.safetensors"))) > 3
    cut = stream(tmp_path / "parent", max_shard_bytes=5_000)
    shards = list(cut.glob("model-*-of-*.safetensors"))
    assert len(shards) > 2
    assert all(path.stat().st_size < 8_000 for path in shards)
    assert Checkpoint.open(cut).n_parameters() == sum(weight.numel() for weight in load(cut).parameters())
    cut_network(network, KEPT).save_pretrained(tmp_path / "memory")
    assert digests(cut) == digests(tmp_path / "memory")
    with torch.no_grad():
        torch.testing.assert_close(load(cut)(ids).logits, logits_without(network, DROPPED), rtol=1e-5, atol=1e-5)
