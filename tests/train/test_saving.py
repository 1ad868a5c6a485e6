"""A trained model as a folder that transformers loads."""

import pytest

from tamis.errors import RecipeError, RunStateError
from tamis.train import Trained, TrainSettings, merge, model_card, prepare, save_model

CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2} | {chr(97 + i): 3 + i for i in range(26)}
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[])), pad_token="<pad>", eos_token="</s>"
    )
    made.chat_template = CHAT
    return made


def logits(network):
    import torch

    with torch.no_grad():
        return network(input_ids=torch.arange(3, 15)[None]).logits


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_loads_and_is_the_same(tiny_llama, tokenizer, tmp_path, tied):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network, _ = prepare(tiny_llama(tied=tied), TrainSettings(lora_rank=2))
    with torch.no_grad():
        for name, each in network.named_parameters():
            if "lora_B" in name:
                each.fill_(0.1)
    network = merge(network)
    folder = tmp_path / "models" / "new"
    save_model(network, tokenizer, folder, card="# A card\n")
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits(loaded), logits(network))
    assert not torch.equal(logits(loaded), logits(tiny_llama(tied=tied)))
    assert AutoTokenizer.from_pretrained(folder).chat_template == CHAT
    assert (folder / "README.md").read_text() == "# A card\n"
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= names
    assert [path.name for path in folder.parent.iterdir()] == ["new"]


def test_nothing_is_overwritten_and_nothing_half_written(tiny_llama, tokenizer, tmp_path, monkeypatch):
    network = tiny_llama()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(RunStateError, match="mine exists already; save the model to another folder"):
        save_model(network, tokenizer, tmp_path / "mine", card="")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokenizer, "save_pretrained", full)
    with pytest.raises(RunStateError, match=r"cannot be saved in .*No space left on device\); free some space"):
        save_model(network, tokenizer, tmp_path / "new", card="")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_adapters_have_to_be_merged_first(tiny_llama, tokenizer, tmp_path):
    network, _ = prepare(tiny_llama(), TrainSettings(lora_rank=2))
    with pytest.raises(RecipeError, match=r"carries adapters; merge\(network\)"):
        save_model(network, tokenizer, tmp_path / "new", card="")


def test_a_card_says_what_was_done():
    trained = Trained(steps=6, weight=1234.0, losses=[3.0, 2.5], held_out=[(0, 3.1), (3, 2.0), (6, 2.2)], kept_step=3)
    settings = TrainSettings(steps=6, tune="last:2")
    card = model_card(base="me/base", data="Ten rows.", settings=settings, trained=trained, notes=["One.", "Two."])
    header = card.split("---\n")[1]
    assert header.startswith("base_model: me/base\n")
    assert "- One.\n- Two.\n" in card
    for row in ("optimiser steps | 6", "tokens trained on | 1,234", "tune | last:2"):
        assert f"| {row} |" in card
    assert "| held-out loss after step 3 | 2.0000 |" in card
    assert "after step 6" not in card


def test_a_card_of_a_folder_names_no_model_of_the_hub():
    card = model_card(base="smollm2", data="Ten rows.", settings=TrainSettings(), trained=Trained(), notes=[])
    assert "base_model" not in card
    assert "# smollm2, trained further with tamis" in card
