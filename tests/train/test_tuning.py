"""Which weights learn, and adapters that become plain weights."""

import pytest

from tamis.errors import RecipeError
from tamis.train import MaskedTokens, TrainSettings, merge, prepare, train

QUICK = {"steps": 3, "batch_rows": 8, "learning_rate": 0.01, "lora_rank": 4}


def changed(network, before):
    import torch

    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def logits(network):
    import torch

    with torch.no_grad():
        return network.eval()(input_ids=torch.arange(3, 15)[None]).logits


def test_adapters_on_all_seven_projections_merge_into_plain_weights(tiny_llama, rows, mask):
    import torch

    plain = tiny_llama()
    before, settings = state(plain), TrainSettings(**QUICK)
    network, description = prepare(plain, settings)
    assert description.startswith("LoRA adapters of rank 4 on all seven projections learn: ")
    adapted = {name.rpartition(".lora_")[0] for name, each in network.named_parameters() if each.requires_grad}
    assert len(adapted) == 7 * 3
    assert torch.equal(logits(network), logits(tiny_llama())), "adapters begin at zero"
    train(network, MaskedTokens(rows, mask, pad_id=0), settings)
    with_adapters = logits(network)
    merged = merge(network)
    assert type(merged) is type(tiny_llama())
    assert merged.state_dict().keys() == before.keys()
    assert len(changed(merged, before)) == 7 * 3
    torch.testing.assert_close(logits(merged), with_adapters)
    assert merge(merged) is merged


def test_a_merged_model_can_be_prepared_again(tiny_llama):
    settings = TrainSettings(**QUICK)
    network = merge(prepare(tiny_llama(), settings)[0])
    _, description = prepare(network, TrainSettings(tune="full"))
    assert description.startswith("all weights learn: ")
    with pytest.raises(RecipeError, match=r"carries adapters already; merge\(network\)"):
        prepare(prepare(network, settings)[0], settings)


def test_adapters_follow_the_seed_and_leave_the_global_generator(tiny_llama):
    import torch

    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(drawn))
        before = torch.get_rng_state()
        network, _ = prepare(tiny_llama(), TrainSettings(seed=seed, lora_rank=2))
        assert torch.equal(before, torch.get_rng_state())
        drawn.append(torch.cat([each.flatten() for name, each in network.named_parameters() if "lora_A" in name]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_another_architecture_gets_adapters_on_all_its_linear_layers():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=29, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2)
    network, description = prepare(GPT2LMHeadModel(config), TrainSettings(lora_rank=2))
    assert "on all linear layers but the head learn" in description
    assert {name.split(".lora_")[0].split("h.0.")[1] for name, p in network.named_parameters() if p.requires_grad} == {
        "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"
    }  # fmt: skip
    network, _ = prepare(merge(network), TrainSettings(tune="last:1"))
    learning = {name for name, each in network.named_parameters() if each.requires_grad}
    assert {"transformer.ln_f.weight", "transformer.ln_f.bias"} < learning
    assert "transformer.wpe.weight" not in learning


@pytest.mark.parametrize(("n", "layers"), [(0, set()), (1, {2}), (2, {1, 2}), (3, {0, 1, 2})])
def test_the_last_layers_and_nothing_else_learn(tiny_llama, rows, mask, n, layers):
    settings = TrainSettings(**{**QUICK, "tune": f"last:{n}"})
    network, description = prepare(tiny_llama(), settings)
    named = f"the last {n} of 3 layers, " if n else ""
    assert description.startswith(f"{named}the final norm and the output layer learn: ")
    before = state(network)
    train(network, MaskedTokens(rows, mask, pad_id=0), settings)
    inside = {name for name in before if name.startswith(tuple(f"model.layers.{each}." for each in layers))}
    assert changed(network, before) == inside | {"model.norm.weight", "lm_head.weight"}


def test_more_layers_than_there_are_is_refused(tiny_llama):
    network = tiny_llama()
    with pytest.raises(RecipeError, match="asks for the last 4 layers, but LlamaForCausalLM has 3; use 'last:3'"):
        prepare(network, TrainSettings(tune="last:4"))
    assert all(each.requires_grad for each in network.parameters()), "nothing was changed"


def test_only_the_head(tiny_llama, rows, mask):
    settings = TrainSettings(**{**QUICK, "tune": "head"})
    network, description = prepare(tiny_llama(), settings)
    assert description == f"the output layer learns: {29 * 16:,} of {network.num_parameters():,} weights"
    before = state(network)
    train(network, MaskedTokens(rows, mask, pad_id=0), settings)
    assert changed(network, before) == {"lm_head.weight"}


def test_a_tied_head_says_that_the_embeddings_learn_too(tiny_llama, rows, mask):
    settings = TrainSettings(**{**QUICK, "tune": "head"})
    network, description = prepare(tiny_llama(tied=True), settings)
    assert "TIED to the input embeddings, so that these learn too" in description
    before = state(network)
    train(network, MaskedTokens(rows, mask, pad_id=0), settings)
    assert changed(network, before) == {"lm_head.weight", "model.embed_tokens.weight"}
    assert network.lm_head.weight is network.model.embed_tokens.weight


def test_a_tied_head_learns_what_a_copy_of_it_would_learn(tiny_llama, rows, mask):
    """In one step: later the layers read other embeddings."""
    import torch

    tied, untied = tiny_llama(tied=True), tiny_llama(tied=False)
    untied.load_state_dict(tied.state_dict())
    settings = TrainSettings(**{**QUICK, "tune": "last:1", "steps": 1})
    for network in (tied, untied):
        prepare(network, settings)
        train(network, MaskedTokens(rows, mask, pad_id=0), settings)
    for name in ("lm_head.weight", "model.norm.weight", "model.layers.2.mlp.up_proj.weight"):
        assert torch.equal(tied.state_dict()[name], untied.state_dict()[name]), name


def test_a_network_that_was_stopped_at_its_embeddings_can_learn_whole_again(tiny_llama, rows, mask):
    import torch

    network, fresh = tiny_llama(tied=True), tiny_llama(tied=True)
    prepare(network, TrainSettings(**{**QUICK, "tune": "head"}))
    settings = TrainSettings(**{**QUICK, "tune": "full"})
    for each in (network, fresh):
        prepare(each, settings)
        train(each, MaskedTokens(rows, mask, pad_id=0), settings)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), fresh.parameters(), strict=True))


def test_a_setting_that_is_wrong_is_named(tiny_llama):
    with pytest.raises(RecipeError, match="The 'tune' parameter of TrainSettings"):
        prepare(tiny_llama(), TrainSettings(tune="adapters"))
