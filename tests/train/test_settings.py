"""Settings are checked by name, and count steps."""

import re

import pytest

from tamis.errors import RecipeError
from tamis.train import TrainSettings
from tamis.train.schedule import rate_factor


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("steps", 1.5), ("steps", True), ("epochs", 0), ("epochs", float("nan")), ("batch_rows", 0),
        ("micro_tokens", 0), ("learning_rate", 0.0), ("learning_rate", "1e-4"), ("schedule", "sawtooth"),
        ("warmup", 1.1), ("weight_decay", -0.1), ("clip", 0), ("precision", "float16"), ("tune", "last:-1"),
        ("tune", "last"), ("tune", None), ("lora_rank", 0), ("lora_alpha", 0), ("lora_dropout", 1.0),
        ("normalise", "batch"), ("eval_every", -1), ("patience", -1), ("checkpoint_every", 2.0), ("seed", None),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named_in_one_sentence(name, value):
    with pytest.raises(RecipeError) as raised:
        TrainSettings(**{name: value}).validate()
    pattern = f"The '{name}' parameter of TrainSettings must be .+\\. Got {re.escape(repr(value))} instead\\."
    assert re.fullmatch(pattern, str(raised.value))


def test_patience_without_evaluations_is_refused():
    with pytest.raises(RecipeError, match="'eval_every' parameter of TrainSettings must be at least 1 when patience"):
        TrainSettings(patience=2).validate()


@pytest.mark.parametrize("tune", ["lora", "full", "head", "last:1", "last:12"])
def test_what_can_be_tuned(tune):
    TrainSettings(tune=tune, clip=1, epochs=2, steps=None).validate()


def test_steps_cover_the_epochs():
    assert TrainSettings(batch_rows=4).n_steps(10) == 3
    assert TrainSettings(batch_rows=4, epochs=2).n_steps(10) == 5
    assert TrainSettings(batch_rows=4, epochs=0.001).n_steps(10) == 1
    assert TrainSettings(batch_rows=4, epochs=2, steps=7).n_steps(10) == 7


def test_settings_go_through_json():
    settings = TrainSettings(tune="last:2", clip=0.5, seed=3)
    assert TrainSettings(**settings.to_json()) == settings


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_after_the_warm_up_the_rate_is_that_of_transformers(schedule):
    import torch
    from transformers import get_scheduler

    steps, rising = 20, 4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = get_scheduler(name, optimizer, num_warmup_steps=rising, num_training_steps=steps).lr_lambdas[0]
    ours = [rate_factor(schedule, step, steps, warmup=0.2) for step in range(steps)]
    assert ours[rising:] == pytest.approx([theirs(step) for step in range(rising, steps)])
    assert ours[:rising] == [0.25, 0.5, 0.75, 1.0]


def test_warm_up_may_take_no_step_or_all():
    assert rate_factor("linear", 0, 4, warmup=0) == 1.0
    assert [rate_factor("cosine", step, 2, warmup=1) for step in range(2)] == [0.5, 1.0]
