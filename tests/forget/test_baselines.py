"""The baselines: what each leaves alone, and what each does to the digits that are to be forgotten."""

import numpy as np
import pytest

from tamis.errors import RecipeError
from tamis.forget.baselines.pairs import L1Sparse, NegGradPlus
from tamis.forget.baselines.relabelled import RandomLabels, SalUn, only_salient, other_classes
from tamis.forget.baselines.retrain import Retrain
from tamis.forget.baselines.teachers import BadTeacher, Scrub, log_probabilities, untrained
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.soft_and_hard import SoftAndHard
from tamis.forget.ugradsl import UGradSL
from tamis.train import TrainSettings
from tamis.train.labelled import LabelledExamples, logits_of


def accuracy(network, examples):
    return float((logits_of(network, examples).argmax(1) == examples.labels.numpy()).mean())


def test_training_anew_reads_nothing_of_what_is_to_be_forgotten(digits, world, network):
    """Other labels there, and nothing changes; the weights of the original do not matter either."""
    recipe = TrainSettings(**{**digits.RECIPE.to_json(), "epochs": 2})
    labels = world.examples.labels.clone()
    labels[world.forget] = 0
    starts = ((network, world.examples), (digits.perceptron(9), LabelledExamples(world.examples.inputs, labels)))
    ends = [Retrain(training=recipe, seed=3).apply(*start, world.forget).network for start in starts]
    for one, other in zip(*(each.parameters() for each in ends), strict=True):
        assert one.equal(other)
    made = Retrain(training=recipe, fresh=digits.perceptron, seed=3).apply(network, world.examples, world.forget)
    assert not next(made.network.parameters()).equal(next(ends[0].parameters()))


def test_untrained_weights_come_from_the_seed(network):
    import torch

    state = torch.get_rng_state()
    one, same, other = (untrained(network, seed)[0].weight for seed in (0, 0, 1))
    assert one.equal(same)
    assert not one.equal(other)
    assert not one.equal(network[0].weight)
    assert state.equal(torch.get_rng_state())


def test_weights_that_cannot_be_reset_are_named(network):
    import torch

    network[1].scale = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(RecipeError, match="module '1' of Sequential cannot be made untrained"):
        untrained(network, 0)


def test_wrong_labels_are_other_classes():
    labels = np.repeat(np.arange(4), 50)
    drawn = other_classes(labels, 4, np.random.default_rng(0))
    assert (drawn != labels).all()
    assert set(drawn) == set(range(4))


def test_random_labels_unteach_a_class(digits):
    world = digits.digits_world(0, "class")
    network = digits.trained(world.examples, seed=0, epochs=10)
    done = RandomLabels(epochs=5).apply(network, world.examples, world.forget)
    assert world.metrics(done.network)["UA"] > 95
    assert world.examples.labels[world.forget[0]] == 3, "the labels of the caller stay"


def test_salun_changes_half_of_the_weights_only(world, network):
    before = [each.clone() for each in network.parameters()]
    done = SalUn(epochs=1, weight_decay=0.0, momentum=0.0).apply(network, world.examples, world.forget)
    changed = sum(int((one != other).sum()) for one, other in zip(before, done.network.parameters(), strict=True))
    total = sum(each.numel() for each in before)
    assert 0.2 * total < changed <= 0.5 * total + 1
    assert all(not each._backward_hooks for each in done.network.parameters())


def test_salient_weights_have_the_largest_gradients(world, network):
    import torch

    network.requires_grad_(True)
    sets = ForgetSets.of(network, world.examples, world.forget)
    part = world.examples.take(world.forget)
    torch.nn.functional.cross_entropy(network(part.inputs), part.labels, reduction="sum").backward()
    size = torch.cat([each.grad.abs().flatten() for each in network.parameters()])
    network.zero_grad()
    with only_salient(network, sets, 0.5):
        sum(each.sum() for each in network.parameters()).backward()
    learns = torch.cat([each.grad.flatten() for each in network.parameters()]).bool()
    assert int(learns.sum()) == round(len(size) / 2)
    assert size[learns].min() >= size[~learns].max()


def test_the_sparse_penalty_falls_to_nothing(world, network):
    network.requires_grad_(True)
    sets = ForgetSets.of(network, world.examples, world.forget)
    pairs = L1Sparse(epochs=1).objective(network, sets, np.random.default_rng(0))
    size = sum(each.abs().sum().item() for each in network.parameters())
    for at in (0, len(pairs) // 2):
        positions = list(range(at, at + 8))
        bare = super(type(pairs), pairs).loss(network, positions).item()
        wanted = 8 * 5e-4 * (1 - at / len(pairs)) * size
        assert pairs.loss(network, positions).item() - bare == pytest.approx(wanted, rel=1e-3)


def test_scrub_goes_away_and_then_comes_back(world, network):
    sets = ForgetSets.of(network, world.examples, world.forget)
    made = Scrub(epochs=4).objective(network, sets, np.random.default_rng(0))
    n, m = len(world.forget), len(world.retain)
    kinds = [("away", n), ("stay", m), ("away", n), ("stay", m), ("stay", m), ("stay", m)]
    start = 0
    for kind, size in kinds:
        soft = made.soft[start : start + size]
        assert (soft == (-1 if kind == "away" else Scrub.soft)).all()
        assert (made.hard[start : start + size] == (0 if kind == "away" else Scrub.hard)).all()
        start += size
    assert start == len(made)


def test_the_bad_teacher_knows_what_stays_and_nothing_of_what_goes(world, network):
    import torch

    sets = ForgetSets.of(network, world.examples, world.forget)
    made = BadTeacher().objective(network, sets, np.random.default_rng(0))
    torch.testing.assert_close(made.teacher[world.retain], log_probabilities(network, sets)[world.retain])
    ignorant = made.teacher[world.forget].argmax(1) == world.examples.labels[world.forget]
    assert ignorant.float().mean() < 0.5


def test_soft_and_hard_losses_are_what_they_say(world, network):
    import torch

    part = world.examples.take(range(6))
    teacher = torch.randn(6, 10).log_softmax(1)
    hard, soft = np.linspace(0, 1, 6), np.linspace(1, -1, 6)
    made = SoftAndHard(part, np.arange(6)[::-1].copy(), hard=hard, soft=soft, teacher=teacher)
    own = network(part.inputs).log_softmax(1)
    kl = torch.nn.functional.kl_div(own, teacher, log_target=True, reduction="none").sum(1)
    ce = torch.nn.functional.cross_entropy(own, part.labels, reduction="none")
    wanted = sum(hard[i] * ce[5 - i] + soft[i] * kl[5 - i] for i in (1, 4))
    torch.testing.assert_close(made.loss(network, [1, 4]), wanted.float())


@pytest.mark.parametrize("method", [NegGradPlus, L1Sparse, SalUn, Scrub, BadTeacher])
def test_each_is_deterministic_and_keeps_what_stays(world, network, method):
    ends = [method(epochs=1, seed=1).apply(network, world.examples, world.forget) for _ in range(2)]
    for one, other in zip(*(each.network.parameters() for each in ends), strict=True):
        assert one.equal(other)
    assert accuracy(ends[0].network, world.examples.take(world.retain)) > 0.95
    assert repr(method(seed=1)).startswith(method.__name__)


def test_all_take_the_same_call(world, network):
    for method in (NegGradPlus(epochs=0.1), UGradSL(epochs=0.1)):
        done = method.apply(network, world.examples, world.forget, held_out=world.test)
        assert done.settings.optimizer == "sgd"
        assert done.sets.kind == "sample"
