"""Train recipes: every wrong parameter is one sentence that names it."""

from __future__ import annotations

import pytest

from tamis.curate.tuning.settings import NOT_IN_RECIPE, tune_recipe
from tamis.errors import RecipeError
from tamis.recipe import Recipe


def of(params, *, inputs=("tokens",), seed=0):
    given = {"base": "smollm2", **params}
    return tune_recipe(
        Recipe(method="train", inputs={role: f"{role}.parquet" for role in inputs}, params=given, seed=seed)
    )


def refused(make, *words):
    with pytest.raises(RecipeError) as caught:
        make()
    said = str(caught.value)
    assert "\n" not in said
    assert 20 < len(said) < 400
    assert said.endswith((".", "?"))
    for word in words:
        assert word in said, said


def test_what_is_not_said_is_the_published_setting():
    settings, training = of({})
    assert (settings.arms, settings.seeds, settings.hold_out, settings.questions) == (("kept",), 1, 0.1, 20)
    assert (training.tune, training.lora_rank, training.learning_rate, training.epochs) == ("lora", 64, 1e-4, 1.0)


def test_what_is_said_arrives():
    given = {"arms": ["kept", "all"], "seeds": 3, "hold_out": 0.5, "questions": 0, "dtype": "float16", "steps": 7,
             "epochs": 2.0, "batch_rows": 3, "learning_rate": 0.1, "schedule": "cosine", "warmup": 0.2,
             "weight_decay": 0.3, "clip": 1.0, "precision": "float32", "tune": "full", "eval_every": 2,
             "patience": 1, "normalise": "micro"}  # fmt: skip
    settings, training = of(given, seed=5)
    assert settings.arms == ("kept", "all")
    for name in given.keys() - {"arms"}:
        assert getattr(training if hasattr(training, name) else settings, name) == given[name], name
    assert training.seed == 5


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"seeds": 0}, "[1, inf)"), ({"seeds": 1.0}, "[1, inf)"), ({"seeds": True}, "[1, inf)"),
        ({"questions": -1}, "[0, inf)"), ({"questions": None}, "[0, inf)"),
        ({"hold_out": 1}, "[0, 1)"), ({"hold_out": -0.1}, "[0, 1)"), ({"hold_out": False}, "[0, 1)"),
        ({"hold_out": "a"}, "[0, 1)"), ({"dtype": "int8"}, "'bfloat16'"),
        ({"steps": 0}, ">= 1"), ({"epochs": 0}, "> 0"), ({"batch_rows": 0}, ">= 1"), ({"learning_rate": 0}, "> 0"),
        ({"schedule": "x"}, "'cosine'"), ({"warmup": 2}, "[0, 1]"), ({"weight_decay": -1}, ">= 0"),
        ({"clip": -1.0}, "> 0"), ({"precision": "half"}, "'float32'"), ({"tune": "last:-1"}, "'last:N'"),
        ({"patience": -1, "eval_every": 1}, ">= 0"), ({"eval_every": 0.5}, ">= 0"), ({"normalise": ""}, "'step'"),
        ({"arms": []}, "different ones of"), ({"arms": ["kept", "kept"]}, "different ones of"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_wrong_parameters(params, words):
    refused(lambda: of(params), f"'{next(iter(params))}'", words)


@pytest.mark.parametrize(("arm", "meant"), [("kep", "'kept'"), ("ranom", "'random'"), ("", "Known names")])
def test_unknown_arms(arm, meant):
    refused(lambda: of({"arms": ["all", arm]}), f"no arm called '{arm}'", meant)


@pytest.mark.parametrize("arms", ["kept", None, 3])
def test_arms_that_are_no_list(arms):
    refused(lambda: of({"arms": arms}), "arms")


@pytest.mark.parametrize("base", [5, ["a"]])
def test_a_base_that_is_no_name(base):
    refused(lambda: of({"base": base}), "base")


@pytest.mark.parametrize("base", [None, ""])
def test_no_base(base):
    refused(lambda: of({"base": base}), "'base'", "--base")


@pytest.mark.parametrize(("name", "meant"), [("seads", "seeds"), ("lerning_rate", "learning_rate"), ("arm", "arms")])
def test_unknown_parameters(name, meant):
    refused(lambda: of({name: 1}), f"have no '{name}'", f"'{meant}'")


@pytest.mark.parametrize("name", NOT_IN_RECIPE)
def test_what_a_recipe_does_not_say(name):
    refused(lambda: of({name: 1}), f"have no '{name}'")


def test_an_unknown_input():
    refused(lambda: of({}, inputs=("tokens", "pool")), "have no 'pool'", "tokens")


def test_early_stopping_needs_what_it_is_told_by():
    refused(lambda: of({"patience": 1}), "'eval_every'")
    refused(lambda: of({"patience": 1, "eval_every": 1, "hold_out": 0}), "--hold-out")
    of({"patience": 1, "eval_every": 1})
