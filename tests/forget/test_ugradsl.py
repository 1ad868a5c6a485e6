"""UGradSL on digits: its ends are the baselines, it is deterministic, stops in time, and survives a divergence."""

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.forget.baselines.pairs import FineTune, GradientAscent
from tamis.forget.ugradsl import UGradSL
from tamis.train.labelled import LabelledExamples

FAITHFUL = {"clip": None, "learning_rate": 0.01, "epochs": 1}


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    return all(tensor.equal(other[name]) for name, tensor in one.items())


def by_hand(network, world, positions, sign, *, rate=0.01, batch=64):
    import torch

    matrices = [each for each in network.parameters() if each.dim() > 1]
    vectors = [each for each in network.parameters() if each.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 5e-4}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    for start in range(0, len(positions), batch):
        at = positions[start : start + batch]
        optimizer.zero_grad()
        logits = network(world.examples.inputs[at])
        (sign * torch.nn.functional.cross_entropy(logits, world.examples.labels[at])).backward()
        optimizer.step()
    return network


def test_its_ends_are_gradient_ascent_and_fine_tuning_to_the_bit(world, network):
    ascent = UGradSL(plus=False, p=0, alpha=0, schedule="constant", **FAITHFUL).apply(
        network, world.examples, world.forget
    )
    tuned = UGradSL(plus=True, p=1, schedule="constant", **FAITHFUL).apply(network, world.examples, world.forget)
    baseline = GradientAscent(**FAITHFUL).apply(network, world.examples, world.forget)
    assert same(weights(ascent.network), weights(baseline.network))
    baseline = FineTune(**FAITHFUL).apply(network, world.examples, world.forget)
    assert same(weights(tuned.network), weights(baseline.network))
    assert not same(weights(ascent.network), weights(tuned.network))


@pytest.mark.parametrize(("method", "sign"), [(GradientAscent, -1), (FineTune, 1)])
def test_the_baselines_are_what_they_are_called(world, network, method, sign):
    import torch

    from tamis.runs.digests import derive_seed

    made = method(**FAITHFUL)
    done = made.apply(network, world.examples, world.forget)
    pairs = made.objective(network, done.sets, np.random.default_rng(derive_seed(0, "forget")))
    plain = by_hand(network, world, pairs.forget if sign < 0 else pairs.retain, sign)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(done.network.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_the_given_network_stays_and_the_seed_decides(world, network):
    before = weights(network)
    runs = [UGradSL(epochs=1, seed=seed).apply(network, world.examples, world.forget) for seed in (0, 0, 1)]
    assert same(before, weights(network))
    assert same(weights(runs[0].network), weights(runs[1].network))
    assert not same(weights(runs[0].network), weights(runs[2].network))
    assert runs[0].steps[0].keys() >= {"loss", "grad_norm", "learning_rate"}
    assert runs[0].seconds > 0


def test_permuting_classes_permutes_the_result(world, network):
    import torch

    order = torch.arange(10).roll(3)
    twin = UGradSL(epochs=0.2).apply(network, world.examples, world.forget).network
    with torch.no_grad():
        network[4].weight[:] = network[4].weight[order.argsort()].clone()
        network[4].bias[:] = network[4].bias[order.argsort()].clone()
    examples = LabelledExamples(world.examples.inputs, order[world.examples.labels])
    other = UGradSL(epochs=0.2).apply(network, examples, world.forget).network
    with torch.no_grad():
        torch.testing.assert_close(other(world.test.inputs)[:, order], twin(world.test.inputs), rtol=1e-3, atol=1e-3)


def test_a_positive_rate_reinforces_what_is_to_be_forgotten(world, network):
    """The negative control: the confidence in what is to be forgotten grows."""
    from tamis.evidence.membership import margin
    from tamis.train.labelled import logits_of

    part = world.examples.take(world.forget)
    means = []
    for alpha in (0.5, -0.5):
        done = UGradSL(alpha=alpha, force=True, epochs=0.5).apply(network, world.examples, world.forget)
        means.append(np.median(margin(logits_of(done.network, part), part.labels.numpy())))
    before = np.median(margin(logits_of(network, part), part.labels.numpy()))
    assert means[1] < before
    assert means[1] < means[0]


def test_it_stops_when_it_forgot_as_much_as_if_it_had_never_seen_it(world, network):
    done = UGradSL(epochs=5, learning_rate=0.03).apply(network, world.examples, world.forget, held_out=world.test)
    assert "to be forgotten is" in done.reason
    assert len(done.steps) - 1 < 5 * len(world.retain) / 64
    assert done.distance == min(line["held_out"] for line in done.steps if "held_out" in line)
    assert done.distance < done.steps[0]["held_out"] / 2


def test_a_divergence_gives_back_weights_that_work(digits):
    """What the specification measured: p = .5, without clipping, forgetting a class."""
    import torch

    world = digits.digits_world(0, "class")
    network = digits.trained(world.examples, seed=0, epochs=10)
    done = UGradSL(p=0.5, learning_rate=0.01, clip=None).apply(network, world.examples, world.forget)
    assert done.diverged
    assert "expected a finite loss" in done.reason
    assert done.warnings == ("p = 0.5 gives ascent much weight; below 0.9 runs diverged in our measurements",)
    with torch.no_grad():
        assert done.network(world.test.inputs).isfinite().all()


def test_a_divergence_that_the_stop_rule_sees_first_is_caught_too(world, network):
    """Weights that are no numbers at the moment of an evaluation are not what is given back."""
    import torch

    done = UGradSL(p=0.5, learning_rate=1e30, clip=None).apply(
        network, world.examples, world.forget, held_out=world.test
    )
    assert done.diverged
    assert done.distance is None
    with torch.no_grad():
        assert done.network(world.test.inputs).isfinite().all()


def test_resumes_from_its_folder(world, network, tmp_path):
    done = UGradSL(epochs=1).apply(network, world.examples, world.forget, folder=tmp_path)
    again = UGradSL(epochs=1).apply(network, world.examples, world.forget, folder=tmp_path)
    assert same(weights(done.network), weights(again.network))
    assert again.steps == done.steps, "what was done before is told again"
    assert again.seconds > sum(line["seconds"] for line in done.steps)


def test_few_examples_are_looked_at_more_often(world, network):
    looks = []
    for n in (130, 64, 3):
        done = UGradSL().apply(network, world.examples, world.forget[:n], held_out=world.test)
        looks.append([line["step"] for line in done.steps if "held_out" in line][1])
    assert looks == [8, 4, 4]


@pytest.mark.parametrize("alpha", ["paper", "deniability"])
def test_adaptive_rates_train(world, network, alpha):
    done = UGradSL(alpha=alpha, epochs=1).apply(network, world.examples, world.forget)
    assert not done.diverged
    assert world.metrics(done.network)["RA"] > 95


def test_a_sum_is_a_mean_with_a_larger_rate(world, network):
    import torch

    shared = {"epochs": 0.25, "batch_rows": 32, "weight_decay": 0.0, "clip": None}
    part = np.setdiff1d(np.arange(576), world.forget)[:512]  # four whole batches in a quarter of an epoch
    runs = [
        UGradSL(**more, **shared).apply(network, world.examples, world.forget, retain=part).network
        for more in ({"reduction": "sum", "learning_rate": 0.01 / 32}, {"learning_rate": 0.01})
    ]
    for one, other in zip(*(each.parameters() for each in runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "words"),
    [({"alpha": 0.5}, "the sign is wrong"), ({"alpha": "papers"}, "'paper' or 'deniability'"),
     ({"alpha": float("nan")}, "finite"), ({"p": 1.5}, r"\[0, 1\]"), ({"ramp": 2}, r"\[0, 1\]"),
     ({"schedule": "none"}, "'linear' or 'cosine'"), ({"reduction": "max"}, "'mean' or 'sum'"),
     ({"learning_rate": 0}, "float > 0"), ({"epochs": -1}, "float > 0"),
     ({"batch_rows": 0}, "batch_rows"), ({"clip": 0}, "clip"), ({"momentum": 1}, "momentum")],
)  # fmt: skip
def test_wrong_parameters(world, network, params, words):
    with pytest.raises(RecipeError, match=words):
        UGradSL(**params).apply(network, world.examples, world.forget)


def test_probabilities_instead_of_logits(world, network):
    from torch import nn

    with pytest.raises(DataError, match="puts out probabilities"):
        UGradSL().apply(nn.Sequential(network, nn.Softmax(1)), world.examples, world.forget)


def test_labels_that_the_network_does_not_have(world, network):
    labels = world.examples.labels.clone()
    labels[17] = 10
    with pytest.raises(DataError, match="10 classes, but the label at position 17 is 10"):
        UGradSL().apply(network, LabelledExamples(world.examples.inputs, labels), world.forget)


def test_batch_normalisation_of_one_row(world):
    from torch import nn

    network = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    examples = world.examples.take(range(66))
    with pytest.raises(RecipeError, match="batch normalisation"):
        FineTune(epochs=1).apply(network, examples, [0])
    assert UGradSL(epochs=1).apply(network, examples, [0]).reason == "all 2 steps were done"
