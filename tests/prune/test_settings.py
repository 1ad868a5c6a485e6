"""Prune recipes: what is not said, what does not go together, and one sentence for each."""

from __future__ import annotations

import pytest

from tamis.errors import RecipeError
from tamis.prune.criteria_list import CRITERIA
from tamis.prune.prune_recipe import PruneRecipe
from tamis.prune.settings import PruneSettings
from tamis.recipe import Recipe

FILES = {"data": "pool.jsonl", "calibration": "texts.txt", "held_out": "held.txt", "scores": "scores.csv"}


def of(*roles, seed=42, **params):
    return PruneRecipe.of(
        Recipe(method="prune", inputs={r: FILES[r] for r in roles}, params={"model": "m", **params}, seed=seed)
    )


class TestDefaults:
    def test_with_data(self):
        parts = of("data")
        assert (parts.heal, parts.settings.criterion, parts.settings.tied) == ("last3", "auto", "tune")
        training = parts.training
        assert (training.tune, training.learning_rate, training.epochs, training.batch_rows) == ("last:3", 1e-5, 2, 16)
        assert (training.clip, training.schedule, training.warmup, training.weight_decay) == (1.0, "linear", 0.1, 0)

    def test_without_data_nothing_is_healed(self):
        assert of(criterion="reverse").heal == "none"
        assert of("calibration", "held_out").heal == "none"

    def test_lora_learns_faster(self):
        training = of("data", heal="lora").training
        assert (training.tune, training.learning_rate, training.lora_rank) == ("lora", 1e-4, 8)
        assert (training.lora_alpha, training.lora_dropout) == (16, 0.05)

    @pytest.mark.parametrize(("heal", "tune"), [("head", "last:0"), ("last1", "last:1"), ("last12", "last:12")])
    def test_partial_tuning(self, heal, tune):
        assert of("data", heal=heal).training.tune == tune

    def test_paper(self):
        parts = of("data", fidelity="paper")
        assert parts.settings.criterion == "reverse"
        assert of("data", fidelity="paper", heal="lora").training.learning_rate == 1e-5
        assert of("data", fidelity="paper", criterion="bi").settings.criterion == "bi"
        for criterion in CRITERIA:
            pruner = parts.settings.pruner(criterion, 32, 0)
            assert (pruner.protect_first, pruner.protect_last) == (0, 0)

    def test_what_is_said_wins(self):
        parts = of("data", fidelity="paper", heal="lora", learning_rate=0.5, steps=3, epochs=9, lora_rank=2, seed=7)
        training = parts.training
        assert (training.learning_rate, training.steps, training.lora_rank, training.seed) == (0.5, 3, 2, 7)


class TestProtection:
    @pytest.mark.parametrize(
        ("criterion", "spared"),
        [("magnitude", (4, 2)), ("taylor", (4, 2)), ("ppl", (4, 2)), ("sleb", (1, 1)), ("bi", (0, 0)),
         ("angular", (0, 0)), ("reverse", (0, 0)), ("random", (0, 0)), ("ppl, file", (4, 2)), ("mine, file", (0, 0))],
    )  # fmt: skip
    def test_by_criterion(self, criterion, spared):
        pruner = PruneSettings(model="m").pruner(criterion, 32, 0)
        assert (pruner.protect_first, pruner.protect_last) == spared

    def test_said(self):
        settings = PruneSettings(model="m", protect_first=0, protect="3-5,9")
        pruner = settings.pruner("ppl", 32, 0)
        assert (pruner.protect_first, pruner.protect_last, pruner.protect) == (0, 2, (3, 4, 5, 9))

    def test_too_few_are_left_is_known_before_anything_is_computed(self, one_sentence):
        with one_sentence(RecipeError, "3 of 8 layers are to go, but 6 are protected, which leaves 2"):
            of("data", criterion="ppl", n_drop=3).require_room(8, "ppl", 0)


class TestHowMany:
    def test_all_ways_to_say_it(self):
        for params, k in (({}, 2), ({"ratio": 0.5}, 4), ({"n_drop": 3}, 3), ({"n_layers": 3}, 5),
                          ({"drop": "1,6-7"}, 3), ({"keep": "0-2"}, 5)):  # fmt: skip
            assert of("data", **params).settings.pruner("bi", 8, 0).count(8) == k, params

    def test_given_layers(self):
        assert of(drop="6,1-2").settings.given(8) == (1, 2, 6)
        assert of(keep="0,3-7").settings.given(8) == (1, 2)
        assert of(criterion="reverse").settings.given(8) is None

    @pytest.mark.parametrize("pair", [("n_drop", "n_layers"), ("n_drop", "drop"), ("n_layers", "keep"),
                                      ("drop", "keep"), ("n_drop", "keep"), ("ratio", "n_drop"),
                                      ("ratio", "keep")])  # fmt: skip
    def test_two_ways_at_once(self, pair, one_sentence):
        values = {"ratio": 0.3, "n_drop": 2, "n_layers": 6, "drop": "1", "keep": "0-2"}
        with one_sentence(RecipeError, repr(pair[0]), repr(pair[1]), "not both"):
            of("data", **{name: values[name] for name in pair})

    @pytest.mark.parametrize(
        ("params", "words"),
        [({"n_layers": 8}, "the model has 8"), ({"n_layers": 9}, "the model has 8"), ({"n_drop": 8}, "would drop 8"),
         ({"drop": "0-7"}, "8 are to go"), ({"keep": "0-7"}, "0 are to go"), ({"drop": "7-8"}, "names layer 8"),
         ({"keep": "99"}, "names layer 99"), ({"protect": "8"}, "names layer 8"), ({"drop": "x"}, "names no layers"),
         ({"ratio": 0.1}, "would drop 0")],
    )  # fmt: skip
    def test_what_this_model_cannot_lose(self, params, words, one_sentence):
        with one_sentence(RecipeError, words):
            of("data", **params).require_room(8, "given", 0)

    def test_more_layers_to_heal_than_stay(self, one_sentence):
        with one_sentence(RecipeError, "Healing (last3)", "2 stay", "--heal last2"):
            of("data", n_layers=2).require_room(8, "given", 0)
        of("data", n_layers=2, heal="head").require_room(8, "given", 0)
        of("data", n_layers=2, heal="lora").require_room(8, "given", 0)
        of("data", n_layers=3).require_room(8, "given", 0)


class TestInputs:
    @pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"auto"}))
    def test_what_a_criterion_needs(self, criterion, one_sentence):
        of("data", criterion=criterion)
        of("calibration", criterion=criterion)
        if CRITERIA[criterion].reads_text:
            for roles in ((), ("held_out",)):
                with one_sentence(RecipeError, repr(criterion), "--data FILE", "--calibration FILE"):
                    of(*roles, criterion=criterion)
        else:
            of(criterion=criterion)

    def test_auto(self, one_sentence):
        of("data")
        of("calibration", "held_out")
        with one_sentence(RecipeError, "'auto'", "--held-out FILE"):
            of("calibration")
        with one_sentence(RecipeError, "--data FILE"):
            of()
        of("held_out", candidates=["reverse", "magnitude"])

    def test_lists_and_scores_need_nothing(self):
        of(drop="1")
        of(keep="1")
        of("scores")

    @pytest.mark.parametrize("heal", ["head", "last3", "lora"])
    def test_healing_needs_data(self, heal, one_sentence):
        with one_sentence(RecipeError, heal, "--data FILE", "--heal none"):
            of("calibration", "held_out", heal=heal)

    @pytest.mark.parametrize(
        ("roles", "params"),
        [(("data",), {"drop": "1", "criterion": "bi"}), (("data",), {"keep": "1", "criterion": "auto"}),
         (("data", "scores"), {"drop": "1"}), (("data", "scores"), {"criterion": "bi"})],
    )  # fmt: skip
    def test_chosen_twice(self, roles, params, one_sentence):
        with one_sentence(RecipeError, "not both"):
            of(*roles, **params)

    def test_unknown_names(self, one_sentence):
        with one_sentence(RecipeError, "'dat'", "Did you mean 'data'?"):
            PruneRecipe.of(Recipe(method="prune", inputs={"dat": "x"}, params={"model": "m"}))
        with one_sentence(RecipeError, "'ratoi'", "Did you mean 'ratio'?"):
            of("data", ratoi=0.5)
        with one_sentence(RecipeError, "'angulr'", "Did you mean 'angular'?"):
            of("data", criterion="angulr")
        with one_sentence(RecipeError, "'bii'", "Did you mean 'bi'?"):
            of("data", candidates=["reverse", "bii"])
        with one_sentence(RecipeError, "needs the parameter 'model'"):
            PruneRecipe.of(Recipe(method="prune", inputs={}, params={}))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("params", "words"),
    [({"model": 3}, "the name of a model"), ({"ratio": 0}, "(0, 1)"), ({"ratio": 1}, "(0, 1)"),
     ({"ratio": "0.5"}, "(0, 1)"), ({"ratio": NAN}, "(0, 1)"), ({"ratio": None}, "(0, 1)"),
     ({"n_drop": 0}, "[1, inf)"), ({"n_drop": 1.5}, "[1, inf)"), ({"n_drop": True}, "[1, inf)"),
     ({"n_layers": 0}, "[1, inf)"), ({"n_windows": 0}, "[1, inf)"), ({"n_windows": None}, "[1, inf)"),
     ({"seq_len": 1}, "[2, inf)"), ({"seq_len": None}, "[2, inf)"), ({"protect_first": -1}, "[0, inf)"),
     ({"protect_last": "2"}, "[0, inf)"), ({"max_length": 1}, "[2, inf)"), ({"limit": 1}, "[2, inf)"),
     ({"held_records": 0}, "[1, inf)"), ({"held_records": None}, "[1, inf)"), ({"questions": -1}, "[0, inf)"),
     ({"questions": None}, "[0, inf)"), ({"task_limit": 0}, "[1, inf)"), ({"curve": -1}, "[0, inf)"),
     ({"curve": None}, "[0, inf)"), ({"drop": 3}, "text"), ({"keep": [1, 2]}, "text"), ({"protect": 1}, "text"),
     ({"heal": 3}, "text"), ({"heal": "last0"}, "'lastN'"), ({"heal": "all"}, "'lastN'"), ({"heal": ""}, "'lastN'"),
     ({"heal": "Lora"}, "'lora'"), ({"heal": "last3\n"}, "'lora'"), ({"tied": "keep"}, "'untie'"),
     ({"fidelity": "papr"}, "'paper'"), ({"dtype": "int8"}, "'bfloat16'"), ({"magnitude_p": 3}, "one of 1, 2"),
     ({"magnitude_reduction": "sum"}, "'norm_sum'"), ({"taylor_absolute": "x"}, "'window'"),
     ({"distill": -0.1}, "[0, 1]"), ({"distill": 1.5}, "[0, 1]"), ({"distill": NAN}, "[0, 1]"),
     ({"distill": True}, "[0, 1]"), ({"temperature": 0}, "> 0"), ({"temperature": NAN}, "> 0"),
     ({"temperature": INF}, "> 0"), ({"temperature": "warm"}, "> 0"), ({"speed": 1}, "a bool"),
     ({"cut": "no"}, "a bool"), ({"allow_post_norm": 0}, "a bool"), ({"candidates": "bi"}, "a list of texts"),
     ({"candidates": [1]}, "a list of texts"), ({"candidates": []}, "at least one criterion"),
     ({"candidates": ["bi", "bi"]}, "each once"), ({"candidates": ["auto"]}, "no criterion called 'auto'"),
     ({"tasks": "piqa"}, "a list of texts"), ({"config": ["x"]}, "KEY=JSON"), ({"config": ["x="]}, "KEY=JSON"),
     ({"config": ["x=[1,"]}, "KEY=JSON"), ({"config": ["=1"]}, "KEY=JSON"), ({"config": "x=1"}, "a list of texts"),
     ({"criterion": ["bi"]}, "'angular'"), ({"criterion": ""}, "no criterion called"),
     ({"steps": 0}, ">= 1"), ({"epochs": 0}, "> 0"), ({"batch_rows": 0}, ">= 1"), ({"learning_rate": -1}, "> 0"),
     ({"lora_rank": 0}, ">= 1")],
)  # fmt: skip
def test_every_wrong_parameter_is_one_sentence(params, words, one_sentence):
    with one_sentence(RecipeError, words):
        of("data", **params)


def test_entries_of_the_configuration():
    assert of("data", config=["a=[1, 2]", 'b="x=y"', "c=null"]).settings.config_values() == {
        "a": [1, 2], "b": "x=y", "c": None,
    }  # fmt: skip
