"""Descent alone after a class was forgotten: it brings back what that cost, is undone if it does harm, and resumes."""

import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.forget.forgetter import UNCHANGED
from tamis.forget.forgetting_pairs import ForgettingPairs
from tamis.forget.ugradsl import UGradSL


@pytest.fixture(scope="module")
def forgetful(digits):
    """A world whose class 3 is to be forgotten, and the network that learned it."""
    world = digits.digits_world(0, "class")
    return world, digits.trained(world.examples, seed=0, epochs=20)


def run(forgetful, **params):
    world, network = forgetful
    how = {name: params.pop(name) for name in ("held_out", "folder", "progress") if name in params}
    return UGradSL(**params).apply(network, world.examples, world.forget, **{"held_out": world.test, **how})


def same(one, other):
    return all(tensor.equal(other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("plus", [True, False])
def test_it_brings_back_accuracy_and_not_the_class(forgetful, plus):
    world, network = forgetful
    before, after = (run(forgetful, plus=plus, **more) for more in ({"repair": 0}, {}))
    plain, repaired = (world.metrics(each.network) for each in (before, after))
    assert plain["UA"] > 98
    assert repaired["UA"] > 98
    assert repaired["RA"] > plain["RA"]
    assert repaired["RA"] > world.metrics(network)["RA"] - 1
    assert not any(line.get("repair") for line in before.steps)


def test_its_steps_are_counted_on_and_marked(forgetful):
    told = []
    done = run(forgetful, progress=lambda name, *counts: told.append((name, *counts)))
    assert [line["step"] for line in done.steps] == list(range(len(done.steps)))
    first = next(line["step"] for line in done.steps if line.get("repair"))
    assert [bool(line.get("repair")) for line in done.steps] == [line["step"] >= first for line in done.steps]
    assert done.kept_step == done.steps[-1]["step"]
    assert done.distance == done.steps[-1]["held_out"]
    assert done.reason.endswith(f"; then {done.kept_step - first + 1} steps of descent alone")
    assert "to be forgotten is 0.0 %" in done.reason
    rates = [line["learning_rate"] for line in done.steps[first:]]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.015, "each of the two begins with the rate that was given"
    steps = [step for _, step, _ in told]
    assert steps == sorted(steps)
    assert {name for name, *_ in told} == {"UGradSL"}
    assert {total for *_, total in told} == {told[-1][1]}, "one total from the beginning, reached at the end"


def test_it_is_undone_if_it_leads_away_from_the_aim(world, network):
    """Single examples come back when the network learns on from what stays."""
    done = UGradSL(epochs=5, learning_rate=0.03, repair=20).apply(
        network, world.examples, world.forget, held_out=world.test, aim=0.0
    )
    assert "steps of descent alone, undone since they led away from the aim" in done.reason
    kept = done.steps[done.kept_step]
    assert "repair" not in kept
    assert done.distance == kept["held_out"] < done.steps[-1]["held_out"]
    assert not done.warnings
    assert world.metrics(done.network)["UA"] > 2


def test_single_examples_have_none_unless_it_is_asked_for(world, network):
    done = UGradSL(epochs=0.1).apply(network, world.examples, world.forget)
    assert done.reason == f"all {done.kept_step} steps were done"
    done = UGradSL(epochs=0.1, repair=0.5).apply(network, world.examples, world.forget)
    assert done.reason == f"all {done.kept_step - 10} steps were done; then 10 steps of descent alone"
    assert done.distance is None


@pytest.mark.parametrize("stops", [True, False])
def test_a_loss_that_is_not_finite_undoes_it(forgetful, monkeypatch, stops):
    class Broken(ForgettingPairs):
        def loss(self, network, positions):
            return super().loss(network, positions) * (float("nan") if 200 in positions else 1.0)

    monkeypatch.setattr("tamis.forget.forgetter.ForgettingPairs", Broken)
    done = run(forgetful, **({} if stops else {"held_out": None}))
    assert done.reason.endswith("; then 3 steps of descent alone, undone since a loss was not finite")
    assert not done.diverged
    assert done.kept_step == max(line["step"] for line in done.steps if "repair" not in line)
    if stops:
        assert done.distance == done.steps[done.kept_step]["held_out"]


def test_the_original_comes_back_if_nothing_came_closer(forgetful):
    world, network = forgetful
    done = run((world, network), learning_rate=1e-30)
    assert done.kept_step == 0
    assert done.distance == done.steps[0]["held_out"]
    assert done.warnings == (UNCHANGED,)
    assert same(network, done.network)


@pytest.mark.parametrize(("into_the_repair", "stops"), [(False, False), (True, True)])
def test_resumes_wherever_it_was_interrupted(forgetful, tmp_path, into_the_repair, stops):
    params = {"epochs": 5, "repair": 4, **({} if stops else {"held_out": None})}
    told = []
    whole = run(forgetful, **params, progress=lambda *counts: told.append(counts))
    at = 55
    if into_the_repair:
        at += told[-1][2] - sum("repair" in line for line in whole.steps)

    def interrupt(name, done, total):
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(forgetful, **params, folder=tmp_path, progress=interrupt)
    again = run(forgetful, **params, folder=tmp_path)
    assert same(whole.network, again.network)
    assert (again.kept_step, again.distance, again.reason) == (whole.kept_step, whole.distance, whole.reason)
    assert [line.get("loss") for line in again.steps] == [line.get("loss") for line in whole.steps]


def test_its_batches_are_whole(forgetful):
    """Batch normalisation has no statistics of one row."""
    from torch import nn

    world, _ = forgetful
    network = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    retain = np.setdiff1d(np.arange(len(world.examples)), world.forget)[:65]
    done = UGradSL(repair=1).apply(network, world.examples, world.forget, retain=retain)
    assert done.reason.endswith("then 2 steps of descent alone")
    assert [line["tokens"] for line in done.steps if line.get("repair")] == [64, 64]
    with pytest.raises(RecipeError, match="batch normalisation"):
        UGradSL(batch_rows=1).apply(network, world.examples, world.forget)
    assert not UGradSL(batch_rows=1, epochs=0.01, repair=0).apply(network, world.examples, world.forget).diverged


def test_a_sum_is_a_sum_in_it_too(forgetful):
    import torch

    runs = [run(forgetful, held_out=None, epochs=0.2, clip=None, weight_decay=0.0, **more).network
            for more in ({"reduction": "sum", "learning_rate": 0.01 / 64}, {"learning_rate": 0.01})]  # fmt: skip
    for one, other in zip(*(each.parameters() for each in runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("repair", [-1, float("inf"), float("nan"), "1", True])
def test_wrong_epochs(forgetful, repair):
    with pytest.raises(RecipeError, match="repair"):
        run(forgetful, repair=repair)


def test_few_examples_are_passed_over_twenty_times_at_most():
    assert UGradSL().passes("sample", 4500, 500) == 2
    assert UGradSL().passes("sample", 49_900, 100) == pytest.approx(64 * 64 / 49_900)
    assert UGradSL().passes("sample", 49_600, 400) == pytest.approx(20 * 400 / 49_600)
    assert UGradSL().passes("class", 4500, 500) == 2
    assert UGradSL(plus=False).passes("class", 4500, 500) == 10
    assert UGradSL(plus=False).passes("sample", 49_900, 100) == pytest.approx(64 * 64 / 100)
