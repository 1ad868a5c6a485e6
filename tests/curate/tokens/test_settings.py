"""Token recipes: every wrong parameter is one sentence that names it, and the published defaults."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tamis.curate.tokens.settings import TRAINED, TokenRecipe, TokenSettings
from tamis.errors import RecipeError
from tamis.recipe import Recipe

BASE = {"base": "smollm2"}


def of(params, *, inputs=("pool",), seed=0):
    params = {**BASE, **params} if "base" not in params else params
    return TokenRecipe.of(
        Recipe(method="tokens", inputs={role: f"{role}.jsonl" for role in inputs}, params=params, seed=seed)
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


def test_the_published_defaults():
    parts = of({"warmup": 10})
    assert (parts.cleaner.keep, parts.cleaner.scope, parts.cleaner.with_prompt_tokens) == (0.6, "global", False)
    assert (parts.settings.mode, parts.settings.slices, parts.settings.max_length) == ("fixed", 5, 2048)
    assert (parts.settings.hold_out, parts.settings.slicing) == (True, "shuffled"), "ours differ here on purpose"
    train = parts.training
    assert (train.lora_rank, train.lora_alpha, train.lora_dropout) == (64, 16, 0.1)
    assert (train.learning_rate, train.schedule, train.warmup, train.weight_decay) == (1e-4, "linear", 0.03, 0.0)
    assert (train.epochs, train.clip, train.normalise) == (1.0, None, "step")


def test_every_parameter_arrives():
    given = {
        "keep": 0.3, "scope": "batch", "rank_by": "reverse", "with_prompt_tokens": True, "batch_rows": 7,
        "warmup": 3, "hold_out": False, "limit": 9, "max_length": 77, "dtype": "bfloat16", "check_rows": 0,
        "allow_same": True, "epochs": 2, "learning_rate": 0.5, "tune": "last:2", "lora_rank": 3, "lora_alpha": 4,
        "train_schedule": "cosine", "train_warmup": 0.1, "train_weight_decay": 0.2, "train_clip": 1.5,
        "train_lora_dropout": 0.0, "train_normalise": "micro",
    }  # fmt: skip
    parts = of(given, seed=11)
    assert parts.cleaner.get_params() == {
        "keep": 0.3, "scope": "batch", "rank_by": "reverse", "with_prompt_tokens": True, "batch_rows": 7, "seed": 11
    }  # fmt: skip
    for each in fields(TokenSettings):
        if each.name in given:
            assert getattr(parts.settings, each.name) == given[each.name], each.name
    for name in TRAINED:
        key = name if name in given else f"train_{name}"
        if name != "warmup":
            assert getattr(parts.training, name) == given[key], name
    assert parts.training.warmup == 0.1
    assert parts.training.seed == 11
    evolving = of({"mode": "self-evolving", "slices": 3, "slicing": "contiguous"}).settings
    assert (evolving.slices, evolving.slicing) == (3, "contiguous")


def test_options_of_reading_are_no_mistake():
    of({"warmup": 3, "format": "jsonl", "id_column": "q", "group": "s"})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"mode": "evolving"}, "'fixed' or 'self-evolving'"),
        ({"slicing": "random"}, "'shuffled' or 'contiguous'"),
        ({"dtype": "float64"}, "'auto', 'float32', 'bfloat16', 'float16'"),
        ({"slices": 1}, "[2, inf)"), ({"slices": 2.0}, "[2, inf)"), ({"slices": None}, "[2, inf)"),
        ({"max_length": 1}, "[2, inf)"), ({"max_length": None}, "[2, inf)"),
        ({"check_rows": -1}, "[0, inf)"), ({"check_rows": True}, "[0, inf)"),
        ({"warmup": 0}, "[1, inf)"), ({"warmup": "ten"}, "[1, inf)"), ({"warmup": 2.5}, "[1, inf)"),
        ({"limit": 1}, "[2, inf)"), ({"limit": False}, "[2, inf)"),
        ({"hold_out": 1}, "a bool"), ({"allow_same": "yes"}, "a bool"),
        ({"keep": 0}, "(0, 1]"), ({"keep": 1.5}, "(0, 1]"), ({"scope": "row"}, "'sample'"),
        ({"rank_by": "x"}, "'excess'"), ({"with_prompt_tokens": 1}, "a bool"), ({"batch_rows": 0}, "[1, inf)"),
        ({"epochs": 0}, "> 0"), ({"learning_rate": -1.0}, "> 0"), ({"tune": "lore"}, "'lora'"),
        ({"lora_rank": 0}, ">= 1"), ({"lora_alpha": 0.5}, ">= 1"), ({"train_schedule": "step"}, "'linear'"),
        ({"train_warmup": 1.5}, "[0, 1]"), ({"train_weight_decay": -0.1}, ">= 0"), ({"train_clip": 0}, "> 0"),
        ({"train_lora_dropout": 1.0}, "[0, 1)"), ({"train_normalise": "row"}, "'step'"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_wrong_parameters(params, words):
    name = next(iter(params)).removeprefix("train_")
    refused(lambda: of({"warmup": 3, **params}), f"'{name}'", words, repr(next(iter(params.values()))))


@pytest.mark.parametrize("params", [{"base": 5, "warmup": 3}, {"base": ["a"], "warmup": 3}, {"reference": 5}], ids=str)
def test_a_name_that_is_no_name(params):
    refused(lambda: of(params), "base" if "base" in params else "reference")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("kep", "keep"), ("refrence", "reference"), ("slice", "slices"), ("train_schedul", "train_schedule"),
     ("schedule", "train_schedule"), ("lora_dropout", "train_lora_dropout")],
)  # fmt: skip
def test_unknown_parameters(name, meant):
    refused(lambda: of({"warmup": 3, name: 1}), f"have no '{name}'", f"'{meant}'")


def test_an_unknown_input():
    refused(lambda: of({"warmup": 3}, inputs=("pool", "warm")), "have no 'warm'", "'warmup'")


@pytest.mark.parametrize("base", [None, ""])
def test_no_base(base):
    refused(lambda: of({"base": base, "warmup": 3}), "'base'", "--base")


def test_no_reference_at_all():
    refused(lambda: of({}), "needs a reference", "--warmup", "--reference")


def test_one_reference_only():
    refused(lambda: of({"reference": "a", "warmup": 3}), "warm-up records", "leave one away")
    refused(lambda: of({"reference": "a"}, inputs=("pool", "warmup")), "--warmup")
    refused(lambda: of({"warmup": 3}, inputs=("pool", "warmup")), "a number of the pool's or a file, not both")
    refused(lambda: of({"reference": "a", "mode": "self-evolving"}), "self-evolving mode")
    refused(lambda: of({"warmup": 3, "mode": "self-evolving"}), "leave --warmup away")
    refused(lambda: of({"mode": "self-evolving"}, inputs=("pool", "warmup")), "leave --warmup away")
    of({"reference": "a"})
    of({"warmup": 3})
    of({}, inputs=("pool", "warmup"))
    of({"mode": "self-evolving"})
