"""Decoder and head of many families, random and tiny: together they must give the logits that the model gives."""

from __future__ import annotations

import pytest

from tamis.errors import RecipeError
from tamis.models._transformers import quiet
from tamis.models.lm_head import head_logits, hidden_states, require_split
from tamis.train import TrainSettings, prepare

V = 40
NEOX = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = {**NEOX, "num_key_value_heads": 1}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2}
FAMILIES = {
    "llama": LLAMA,
    "mistral": {**LLAMA, "sliding_window": 4},
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "head_dim": 8},
    "gemma2": {**LLAMA, "head_dim": 8, "final_logit_softcapping": 1.5},
    "gemma3_text": {**LLAMA, "head_dim": 8, "sliding_window": 4, "final_logit_softcapping": 1.5},
    "phi3": {**LLAMA, "pad_token_id": 0},
    "granite": {**LLAMA, "logits_scaling": 3.0},
    "cohere": {**LLAMA, "logit_scale": 0.3},
    "olmo2": LLAMA,
    "gpt_neox": NEOX,
    "gpt2": GPT2,
    "opt": {"hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "word_embed_proj_dim": 8},
    "mixtral": {**LLAMA, "num_local_experts": 3, "num_experts_per_tok": 2},
    "falcon": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    "phi": NEOX,
    "stablelm": LLAMA,
    "smollm3": {**LLAMA, "pad_token_id": 0},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
}  # fmt: skip


def make(family):
    """A model whose weights are large enough that a missing factor or cap shows."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    given = {"vocab_size": V, "bos_token_id": 1, "eos_token_id": 2, **FAMILIES[family]}
    with quiet():
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **given)).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(0.3 * torch.randn(weights.shape, generator=noise))
    return network


def ids(rows=2, length=9, seed=1):
    import torch

    return torch.randint(0, V, (rows, length), generator=torch.Generator().manual_seed(seed))


def both(network, input_ids):
    import torch

    with torch.no_grad():
        return network(input_ids=input_ids).logits, head_logits(network, hidden_states(network, input_ids))


@pytest.mark.parametrize("family", FAMILIES)
def test_both_parts_give_the_logits_of_the_model(family):
    network = make(family)
    own, ours = both(network, ids())
    assert own.shape == ours.shape == (2, 9, V)
    assert own.abs().max() > 0.1
    assert (own - ours).abs().max() <= 1e-6 * own.abs().max()
    require_split(network, family)


@pytest.mark.parametrize(
    ("family", "name", "neutral"),
    [("gemma2", "final_logit_softcapping", None), ("granite", "logits_scaling", 1.0), ("cohere", "logit_scale", 1.0)],
)
def test_what_follows_the_head_is_no_matter_of_rounding_here(family, name, neutral):
    """The families above would pass without caps and factors if these did nothing."""
    import torch

    network = make(family)
    own, ours = both(network, ids())
    plain = network.get_output_embeddings()(hidden_states(network, ids()))
    assert (own - plain).abs().max() > 0.02 * own.abs().max()
    network.config.update({name: neutral})
    with torch.no_grad():
        torch.testing.assert_close(head_logits(network, hidden_states(network, ids())), plain)
    assert ours.shape == plain.shape


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "opt", "mixtral"])
def test_padding_on_the_right_needs_no_mask(family):
    import torch

    network, short = make(family), ids(1, 5)
    padded = torch.cat([short, torch.zeros(1, 4, dtype=torch.int64)], dim=1)
    mask = (torch.arange(9) < 5).long()[None]
    with torch.no_grad():
        alone = hidden_states(network, short)
        torch.testing.assert_close(hidden_states(network, padded)[:, :5], alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(hidden_states(network, padded, mask)[:, :5], alone, atol=1e-5, rtol=1e-4)


def test_some_states_give_their_logits():
    import torch

    network = make("llama")
    own, _ = both(network, ids())
    with torch.no_grad():
        some = head_logits(network, hidden_states(network, ids())[[0, 1, 1], [2, 0, 8]])
    torch.testing.assert_close(some, own[[0, 1, 1], [2, 0, 8]])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_through_adapters(family):
    import torch

    network = make(family)
    before, _ = both(network, ids())
    adapted = prepare(network, TrainSettings(lora_rank=2))[0].eval()
    assert type(adapted).__name__.startswith("Peft")
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora" in name:
                weights.fill_(0.2)
    own, ours = both(adapted, ids())
    torch.testing.assert_close(own, ours)
    assert (own - before).abs().max() > 0.01, "the adapters changed nothing"
    require_split(adapted, "adapted")


def test_in_bfloat16():
    import torch

    network = make("gemma2").to(torch.bfloat16)
    assert both(network, ids())[1].dtype == torch.bfloat16
    require_split(network, "narrow")


class TestRefused:
    def said(self, network, name="mine"):
        with pytest.raises(RecipeError) as caught:
            require_split(network, name)
        text = str(caught.value)
        assert "\n" not in text
        assert text.endswith(".")
        assert f"'{name}'" in text
        return text

    @pytest.mark.parametrize(
        "change", [lambda logits: 0.5 * logits, lambda logits: logits + 1, lambda logits: logits[..., :-1],
                   lambda logits: logits.roll(1, -1)],
        ids=["scaled", "shifted", "cut", "permuted"],
    )  # fmt: skip
    def test_a_model_that_changes_its_logits_otherwise(self, monkeypatch, change):
        network = make("llama")
        forward = network.forward

        def changed(*args, **kwargs):
            made = forward(*args, **kwargs)
            made.logits = change(made.logits)
            return made

        monkeypatch.setattr(network, "forward", changed)
        assert "LlamaForCausalLM" in self.said(network)

    def test_a_real_one(self):
        """Falcon-H1 multiplies its logits by a number of its own."""
        import torch
        from transformers import FalconH1Config, FalconH1ForCausalLM

        config = FalconH1Config(**LLAMA, vocab_size=V, lm_head_multiplier=0.3, mamba_d_ssm=16, mamba_n_heads=2,
                                mamba_d_head=8, mamba_d_state=4, pad_token_id=0)  # fmt: skip
        with quiet(), torch.random.fork_rng():
            torch.manual_seed(0)
            network = FalconH1ForCausalLM(config)
        assert "FalconH1ForCausalLM" in self.said(network)

    def test_what_has_no_decoder_and_head(self):
        from transformers import BertConfig, BertModel

        config = BertConfig(**NEOX, vocab_size=V)
        assert "BertModel" in self.said(BertModel(config), "bert")

    def test_the_mode_is_as_it_was(self, monkeypatch):
        network = make("llama").train()
        require_split(network, "mine")
        assert network.training
        monkeypatch.setattr(network, "get_decoder", lambda: None)
        self.said(network)
        assert network.training
        network.eval()
        self.said(network)
        assert not network.training
