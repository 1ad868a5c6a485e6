"""The loop itself, on a classifier that is no language model: steps, seeds, metrics, early stopping, errors."""

import json
import sys
import types

import numpy as np
import pytest

from tamis.errors import DataError, MissingExtraError, RecipeError
from tamis.train import TrainSettings, train

FAST = {"batch_rows": 8, "learning_rate": 0.05, "schedule": "constant"}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    import torch

    return all(torch.equal(one[name], other[name]) for name in other)


def test_a_classifier_learns(classes, classifier):
    import torch

    network, data = classifier(), classes()
    before = state(network)
    trained = train(network, data, TrainSettings(steps=40, **FAST))
    assert trained.steps == trained.kept_step == len(trained.losses) == 40
    assert trained.weight == 320
    assert trained.losses[0] > 0.9
    assert not network.training
    with torch.no_grad():
        assert (network(data.x).argmax(1) == data.y).all()
    assert torch.equal(network[0].weight, before["0.weight"]), "frozen weights stay"


def test_steps_are_those_of_adamw_on_the_mean_loss_of_all_examples(classes, classifier):
    import torch

    weights = np.arange(24) % 4  # a quarter of the examples have none
    data, network, plain = classes(weights=weights), classifier(dropout=0), classifier(dropout=0)
    rule = {"batch_rows": 18, "weight_decay": 0.1, "learning_rate": 0.1, "schedule": "constant", "warmup": 0}
    trained = train(network, data, TrainSettings(steps=4, clip=0.01, **rule))
    matrices, vectors = [plain[4].weight], [plain[1].weight, plain[1].bias, plain[4].bias]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer, losses = torch.optim.AdamW(groups, lr=0.1), []
    for _ in range(4):
        optimizer.zero_grad()
        loss = data.loss(plain.train(), np.flatnonzero(weights)) / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(matrices + vectors, 0.01)
        optimizer.step()
        losses.append(loss.item())
    assert trained.losses == pytest.approx(losses, rel=1e-5)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_steps_of_sgd_in_the_order_given(classes, classifier):
    import torch

    data, network, plain = classes(), classifier(dropout=0), classifier(dropout=0)
    rule = {"batch_rows": 10, "epochs": 2, "learning_rate": 0.1, "schedule": "constant", "warmup": 0}
    trained = train(
        network, data, TrainSettings(optimizer="sgd", momentum=0.9, weight_decay=0.1, order="given", **rule)
    )
    matrices, vectors = [plain[4].weight], [plain[1].weight, plain[1].bias, plain[4].bias]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors}]
    optimizer, places = torch.optim.SGD(groups, lr=0.1, momentum=0.9), np.arange(48) % 24
    for start in range(0, 48, 10):
        optimizer.zero_grad()
        batch = places[start : start + 10]
        (data.loss(plain.train(), batch) / len(batch)).backward()
        optimizer.step()
    assert trained.steps == 5
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_rule_is_asked_whether_to_stop(classes, classifier, tmp_path):
    asked = []

    def stop(network, noted):
        assert not network.training
        asked.append(list(noted))
        return "enough" if len(noted) == 1 else None, f"note {len(noted)}"

    network, settings = classifier(), TrainSettings(steps=9, eval_every=2, **FAST)
    trained = train(network, classes(), settings, stop=stop, folder=tmp_path)
    assert (trained.steps, trained.kept_step, trained.stop_reason) == (4, 4, "enough")
    assert asked == [[], ["note 0"]]
    again = classifier()
    assert train(again, classes(), settings, stop=stop, folder=tmp_path).stop_reason == "enough"
    assert len(asked) == 2, "what was finished is not asked again"
    assert same(state(again), state(network))
    assert train(classifier(), classes(), settings, stop=lambda network, noted: (None, 0)).stop_reason == ""


def test_a_rule_has_its_notes_again_after_an_interruption(classes, classifier, tmp_path):
    """It stops at the third note, whether or not the run was interrupted after the second."""

    def stop(network, noted):
        return "enough" if len(noted) == 2 else None, len(noted)

    def interrupted(name, done, total):
        if done == 4:
            raise KeyboardInterrupt

    network, settings = classifier(), TrainSettings(steps=9, eval_every=2, checkpoint_every=1, **FAST)
    with pytest.raises(KeyboardInterrupt):
        train(network, classes(), settings, stop=stop, folder=tmp_path, progress=interrupted)
    again = classifier()
    assert train(again, classes(), settings, stop=stop, folder=tmp_path).noted == [0, 1, 2]
    straight = classifier()
    train(straight, classes(), settings, stop=stop)
    assert same(state(again), state(straight))


def test_the_seed_decides_and_the_callers_random_numbers_do_not(classes, classifier):
    import torch

    settings, ends = TrainSettings(steps=5, **FAST), []
    for seed, globally in ((0, 1), (0, 2), (1, 1)):
        network = classifier()
        torch.manual_seed(globally)
        np.random.seed(globally)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()
        train(network, classes(), TrainSettings(**{**settings.to_json(), "seed": seed}))
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1] == np.random.get_state()[1].tolist()
        ends.append(state(network))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_dropout_is_drawn_anew_each_step(classes):
    from torch import nn

    # the same example each step and a learning rate of nearly nothing: only dropout can change the loss
    network = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 3))
    losses = train(network, classes(n=1), TrainSettings(steps=4, batch_rows=1, learning_rate=1e-12)).losses
    assert len(set(losses)) == 4


def test_each_step_leaves_a_line(classes, classifier, tmp_path):
    told, shown = [], []
    trained = train(
        classifier(),
        classes(),
        TrainSettings(steps=6, batch_rows=8, eval_every=4, learning_rate=0.1, warmup=0.3),
        folder=tmp_path / "new" / "folder",
        held_out=lambda network: float(network.training),
        on_metrics=told.append,
        progress=lambda *state: shown.append(state),
        name="warm-up",
    )
    found = lines(tmp_path / "new" / "folder")
    assert found == told
    assert found[0] == {"step": 0, "held_out": 0.0}
    assert [line["step"] for line in found] == list(range(7))
    assert [line["step"] for line in found if "held_out" in line] == [0, 4, 6]
    assert set(found[1]) == {"step", "loss", "learning_rate", "tokens", "grad_norm", "seconds"}
    assert [line["learning_rate"] for line in found[1:]] == pytest.approx([0.05, 0.1, 0.1, 0.075, 0.05, 0.025])
    assert [line["loss"] for line in found[1:]] == trained.losses
    assert sum(line["tokens"] for line in found[1:]) == trained.weight == 48
    assert trained.seconds == pytest.approx(sum(line["seconds"] for line in found[1:]))
    assert shown == [("warm-up", done, 6) for done in range(7)]
    assert trained.held_out == [(0, 0.0), (4, 0.0), (6, 0.0)]


def test_it_stops_when_patience_runs_out_and_goes_back_to_the_best_weights(classes, classifier, tmp_path):
    values, seen = iter([5.0, 4.0, 3.0, 3.5, 3.0, 99.0]), []

    def held_out(network):
        seen.append(state(network))
        return next(values)

    network = classifier()
    settings = TrainSettings(steps=50, eval_every=2, patience=2, **FAST)
    trained = train(network, classes(), settings, held_out=held_out, folder=tmp_path)
    assert trained.stopped_early
    assert (trained.steps, trained.kept_step) == (8, 4)
    assert [value for _, value in trained.held_out] == [5.0, 4.0, 3.0, 3.5, 3.0]
    assert same(network.state_dict(), seen[2])
    assert not same(network.state_dict(), seen[4])

    again = classifier()
    assert train(again, classes(), settings, held_out=held_out, folder=tmp_path) == trained
    assert same(again.state_dict(), seen[2])


def test_patience_that_does_not_run_out_keeps_the_best_too(classes, classifier):
    values = iter([3.0, 1.0, 2.0])
    trained = train(
        classifier(),
        classes(),
        TrainSettings(steps=4, eval_every=2, patience=5, **FAST),
        held_out=lambda _: next(values),
    )
    assert (trained.stopped_early, trained.steps, trained.kept_step) == (False, 4, 2)


def test_a_loss_that_is_not_finite_names_step_and_examples(classes, classifier):
    data = classes()
    data.x[5:7] = float("nan")
    data.lengths[5:7] = 15  # the two of them in a micro-batch
    network = classifier(dropout=0)
    settings = TrainSettings(steps=9, batch_rows=24, micro_tokens=30)
    with pytest.raises(
        DataError, match=r"stopped at step 1: .* on the examples at positions [56], [56], got a loss of nan"
    ):
        train(network, data, settings)
    assert all(tensor.isfinite().all() for tensor in network[4].parameters()), "no step was made of it"


def test_a_gradient_that_is_not_finite_names_them_too(classifier, classes):
    import torch

    class Steep(classes):
        def loss(self, network, positions):
            return torch.sqrt(network[4].bias.sum() * 0) + super().loss(network, positions)

    with pytest.raises(DataError, match=r"step 1: .* positions (\d+, ){19}\d+ and 1 more, got .* gradient of norm nan"):
        train(classifier(), Steep(), TrainSettings(steps=2, batch_rows=21))


def test_a_held_out_loss_that_is_not_finite_stops(classes, classifier):
    values = iter([1.0, float("nan")])
    with pytest.raises(DataError, match="held-out loss after step 2 is nan"):
        train(classifier(), classes(), TrainSettings(steps=4, eval_every=2, **FAST), held_out=lambda _: next(values))


def test_what_cannot_be_trained_is_refused(classes, classifier):
    with pytest.raises(RecipeError, match="'clip' parameter of TrainSettings"):
        train(classifier(), classes(), TrainSettings(clip=-1))
    with pytest.raises(RecipeError, match=r"No weight of this network learns .* call prepare"):
        train(classifier().requires_grad_(False), classes(), TrainSettings())
    with pytest.raises(DataError, match="nothing to train on"):
        train(classifier(), classes(weights=np.zeros(24)), TrainSettings())
    with pytest.raises(RecipeError, match=r"patience.* needs a held-out loss"):
        train(classifier(), classes(), TrainSettings(patience=1, eval_every=1))


def test_weights_that_learn_are_float32_while_they_do_and_bfloat16_again_after(classes, classifier):
    import torch

    seen = []

    class Watching(classes):
        def loss(self, network, positions):
            loss = super().loss(network, positions)
            seen.append((network[0].weight.dtype, network[4].weight.dtype, network[4](torch.zeros(1, 8)).dtype))
            return loss

    network = classifier().bfloat16()
    train(network, Watching(), TrainSettings(steps=2, precision="bfloat16", **FAST))
    assert set(seen) == {(torch.bfloat16, torch.float32, torch.bfloat16)}
    seen.clear()
    train(network, Watching(), TrainSettings(steps=2, precision="float32", **FAST))
    assert set(seen) == {(torch.float32, torch.float32, torch.float32)}
    assert {each.dtype for each in network.parameters()} == {torch.bfloat16}


def test_tensorboard_has_to_be_installed_and_needs_a_folder(classes, classifier, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="TensorBoard log needs a folder"):
        train(classifier(), classes(), TrainSettings(steps=1), tensorboard=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install tensorboard"):
        train(classifier(), classes(), TrainSettings(steps=1), folder=tmp_path, tensorboard=True)


def test_tensorboard_gets_what_the_file_gets(classes, classifier, tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, log_dir, purge_step):
            written.append((log_dir, purge_step))

        def add_scalar(self, name, value, step):
            written.append((step, name, value))

        def close(self):
            written.append("closed")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    train(classifier(), classes(), TrainSettings(steps=2, **FAST), folder=tmp_path, tensorboard=True)
    assert written[0] == (str(tmp_path / "tensorboard"), 0)
    assert written[-1] == "closed"
    expected = {(line["step"], name, value) for line in lines(tmp_path) for name, value in line.items()}
    assert set(written[1:-1]) == {each for each in expected if each[1] != "step"}
