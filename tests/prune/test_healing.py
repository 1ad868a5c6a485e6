"""Healing: what learns, what stays as it is to the bit, and that a tuned head is there when the model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tamis.data.token_rows import TokenRows
from tamis.errors import RecipeError
from tamis.prune.healing import healed, is_tied, start_of_healing, tied_sentence, untie
from tamis.prune.prune_recipe import PruneRecipe
from tamis.prune.settings import PruneSettings
from tamis.recipe import Recipe
from tamis.train.step import save_tuned, training_of
from tamis.train.tuned_model import TunedModel

LAYERS = 4
HEAD, NORM = "lm_head.weight", "model.norm.weight"


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return TokenRows.from_lists(
        [f"r{i}" for i in range(12)],
        [rng.integers(3, 259, 10).tolist() for _ in range(12)],
        [[False] * 5 + [True] * 5] * 12,
    )


@pytest.fixture
def own(tiny_model):
    """A model of four layers, tied or not, and its weights."""
    from tamis.models.causal_lm import load_own

    def own(tied=False):
        model = tiny_model(layers=LAYERS, tied=tied)
        return model, load_own(model)

    return own


def heal(model, rows, steps, how, *, tied="tune", rate=0.01, **more):
    """Heal for two steps; return the tuned model and the folder of its step."""
    params = {
        "model": model.name,
        "heal": how,
        "tied": tied,
        "steps": 2,
        "batch_rows": 6,
        "learning_rate": rate,
        **more,
    }
    parts = PruneRecipe.of(Recipe(method="prune", inputs={"data": "x"}, params={**params, "criterion": "reverse"}))
    start = start_of_healing(steps("untie"), model, parts.settings, parts.heal)
    step = steps("heal")
    tuned = healed(step, TunedModel(start), rows, parts.training, parts.settings, parent=model, progress=None)
    return tuned, step.folder


def changed(before, after):
    """Names of the weights that are not the same bits."""
    old, new = before.state_dict(), after.state_dict()
    assert old.keys() == new.keys()
    return {name for name in old if not old[name].equal(new[name])}


class TestTied:
    def test_seen_by_the_weights(self, own):
        assert is_tied(own(tied=True)[1])
        assert not is_tied(own()[1])

    def test_a_copy_learns_alone_and_is_there_after_loading(self, own, tmp_path):
        import torch
        from transformers import AutoModelForCausalLM

        _, network = own(tied=True)
        ids = torch.tensor([[5, 6, 7]])
        before = network(ids).logits
        assert untie(network) == 259 * 32
        assert not is_tied(network)
        assert network(ids).logits.equal(before)
        with torch.no_grad():
            network.lm_head.weight.add_(1.0)
        network.save_pretrained(tmp_path / "untied")
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "untied")
        assert json.loads((tmp_path / "untied" / "config.json").read_text())["tie_word_embeddings"] is False
        assert loaded.lm_head.weight.equal(network.lm_head.weight)
        assert loaded.model.embed_tokens.weight.equal(own(tied=True)[1].model.embed_tokens.weight)

    def test_a_user_is_told(self, own, one_sentence):
        _, network = own(tied=True)
        settings = {name: PruneSettings(model="mine", tied=name) for name in ("tune", "untie", "refuse")}
        assert "input embeddings learn too" in tied_sentence(network, settings["tune"], "last3")
        assert "adds 8,288 weights" in tied_sentence(network, settings["untie"], "head")
        with one_sentence(RecipeError, "--tied refuse", "8,288", "--heal lora", "'mine'"):
            tied_sentence(network, settings["refuse"], "last1")

    @pytest.mark.parametrize("tied", ["tune", "untie", "refuse"])
    def test_nothing_is_said_where_no_tied_head_learns(self, own, tied):
        settings = PruneSettings(model="m", tied=tied)
        assert tied_sentence(own(tied=True)[1], settings, "lora") is None
        assert tied_sentence(own()[1], settings, "last3") is None

    @pytest.mark.parametrize("heal", ["none", "lora"])
    def test_no_copy_is_made_where_no_head_learns(self, own, steps, heal):
        model, _ = own(tied=True)
        settings = PruneSettings(model=model.name, tied="untie")
        assert start_of_healing(steps("untie"), model, settings, heal) == model


class TestWhatLearns:
    @pytest.mark.parametrize(("how", "first", "count"), [("head", 4, 8288 + 32), ("last1", 3, 8288 + 32 + 6208),
                                                         ("last3", 1, 8288 + 32 + 3 * 6208)])  # fmt: skip
    def test_partial_tuning(self, own, rows, steps, how, first, count):
        model, before = own()
        tuned, folder = heal(model, rows, steps, how)
        learned = changed(before, tuned.network())
        expected = {name for name in before.state_dict() for layer in range(first, LAYERS)
                    if name.startswith(f"model.layers.{layer}.")}  # fmt: skip
        assert learned == expected | {HEAD, NORM}
        assert f"{count:,} of" in training_of(folder)["learns"]
        assert count == sum(before.state_dict()[name].numel() for name in learned)

    def test_lora(self, own, rows, steps):
        model, before = own()
        tuned, folder = heal(model, rows, steps, "lora", lora_rank=2)
        learned = changed(before, tuned.network())
        assert learned == {name for name in before.state_dict() if name.endswith("_proj.weight")}
        shapes = [before.state_dict()[name].shape for name in learned]
        assert f"{sum(2 * sum(shape) for shape in shapes):,} of" in training_of(folder)["learns"]

    def test_a_tied_matrix_learns_as_one(self, own, rows, steps):
        model, before = own(tied=True)
        tuned, folder = heal(model, rows, steps, "head")
        assert changed(before, tuned.network()) == {HEAD, "model.embed_tokens.weight", NORM}
        assert is_tied(tuned.network())
        assert "TIED" in training_of(folder)["learns"]

    def test_an_untied_head_learns_alone_and_survives_saving(self, own, rows, steps, tmp_path):
        from transformers import AutoModelForCausalLM

        model, before = own(tied=True)
        tuned, folder = heal(model, rows, steps, "head", tied="untie")
        assert changed(before, tuned.network()) == {HEAD, NORM}
        save_tuned(tuned, training_of(folder), tmp_path / "model", data="x", notes=[])
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
        assert not changed(loaded, tuned.network())
        assert loaded.config.tie_word_embeddings is False

    def test_the_source_is_not_touched(self, own, rows, steps):
        model, _ = own(tied=True)
        before = {path.name: path.read_bytes() for path in Path(model.folder).iterdir()}
        heal(model, rows, steps, "last2", tied="untie")
        assert {path.name: path.read_bytes() for path in Path(model.folder).iterdir()} == before


class TestDistilled:
    def test_from_a_parent_that_is_the_start_nothing_is_learned(self, own, rows, steps):
        import torch

        model, before = own()
        tuned, _ = heal(model, rows, steps, "head", distill=1.0, rate=1e-9)
        old, new = before.state_dict(), tuned.network().state_dict()
        assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)

    def test_it_ends_elsewhere_than_the_plain_loss(self, own, rows, steps):
        model, _ = own()
        plain, other = heal(model, rows, steps, "head"), heal(model, rows, steps, "head", distill=0.5)
        assert changed(plain[0].own(), other[0].own()) == {HEAD, NORM}

    def test_a_finished_step_needs_no_parent(self, own, rows, steps, monkeypatch):
        from tamis.prune import healing

        model, _ = own()
        parts = PruneSettings(model=model.name, distill=0.5, heal="head")
        recipe = Recipe(method="prune", inputs={"data": "x"}, params={"model": model.name, "heal": "head", "steps": 1})
        training = PruneRecipe.of(recipe).training
        step = steps("heal")
        healed(step, TunedModel(model), rows, training, parts, parent=model, progress=None)
        monkeypatch.setattr(healing, "load_own", None)
        healed(step, TunedModel(model), rows, training, parts, parent=model, progress=None)
