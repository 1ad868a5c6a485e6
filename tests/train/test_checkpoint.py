"""A run that was killed goes on as if it had not been, to the bit."""

import json

import pytest

from tamis.errors import RunStateError
from tamis.runs.whole_folder import whole_folder
from tamis.train import MaskedTokens, TrainSettings, prepare, train

LLAMA = {"steps": 6, "batch_rows": 4, "micro_tokens": 20, "learning_rate": 0.01, "lora_rank": 2, "checkpoint_every": 2}


def interrupted_at(step):
    def progress(name, done, total):
        if done == step:
            raise KeyboardInterrupt

    return progress


def lines(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def fields(trained):
    return {name: value for name, value in trained.to_json().items() if name != "seconds"}


def assert_same(one, other):
    import torch

    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("tune", ["lora", "full", "last:1"])
def test_a_language_model_resumes_to_the_bit(tiny_llama, rows, mask, tmp_path, tune):
    settings, objective = TrainSettings(tune=tune, **LLAMA), MaskedTokens(rows, mask, pad_id=0)
    straight, _ = prepare(tiny_llama(), settings)
    once = train(straight, objective, settings, folder=tmp_path / "straight")
    for step in (4, 5):
        folder = tmp_path / str(step)
        network, _ = prepare(tiny_llama(), settings)
        with pytest.raises(KeyboardInterrupt):
            train(network, objective, settings, folder=folder, progress=interrupted_at(step))
        assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-00000004"]
        network, _ = prepare(tiny_llama(), settings)
        twice = train(network, objective, settings, folder=folder)
        assert_same(network, straight)
        assert lines(folder) == lines(tmp_path / "straight")
        assert fields(twice) == fields(once)


def test_buffers_early_stopping_and_the_best_weights_resume_too(classes, classifier, tmp_path):
    def held_out(network):
        return abs(network[4].bias.sum().item() - 0.02)

    settings = TrainSettings(steps=30, eval_every=1, patience=4, checkpoint_every=1, batch_rows=8, learning_rate=0.02)
    straight = classifier()
    once = train(straight, classes(), settings, held_out=held_out, folder=tmp_path / "straight")
    assert once.stopped_early
    # after the best evaluation and before patience runs out
    network, folder = classifier(), tmp_path / "killed"
    stop = interrupted_at(once.kept_step + 2)
    with pytest.raises(KeyboardInterrupt):
        train(network, classes(), settings, held_out=held_out, folder=folder, progress=stop)
    network = classifier()
    assert fields(train(network, classes(), settings, held_out=held_out, folder=folder)) == fields(once)
    assert_same(network, straight)
    assert lines(folder) == lines(tmp_path / "straight")


def test_a_finished_run_returns_at_once(classes, classifier, tmp_path):
    settings, network, again, shown = TrainSettings(steps=3, batch_rows=8), classifier(), classifier(), []
    trained = train(network, classes(), settings, folder=tmp_path)
    written = (tmp_path / "metrics.jsonl").read_bytes()

    class Untouched(classes):
        def loss(self, network, positions):
            raise AssertionError

    progress = lambda *state: shown.append(state)  # noqa: E731
    assert train(again, Untouched(), settings, folder=tmp_path, progress=progress) == trained
    assert shown == [("train", 3, 3)]
    assert_same(again, network)
    assert (tmp_path / "metrics.jsonl").read_bytes() == written


@pytest.mark.parametrize(
    ("settings", "weights", "seed"),
    [({"learning_rate": 0.5}, 24 * [1], 0), ({"seed": 1}, 24 * [1], 0), ({}, 23 * [1] + [2], 0), ({}, 24 * [1], 1)],
    ids=["settings", "seed", "data", "frozen-weights"],
)
def test_a_checkpoint_of_something_else_is_refused(classes, classifier, tmp_path, settings, weights, seed):
    train(classifier(), classes(), TrainSettings(steps=2), folder=tmp_path)
    with pytest.raises(RunStateError, match=r"checkpoint .*00000002 belongs to a training run with other settings"):
        train(classifier(seed=seed), classes(weights=weights), TrainSettings(steps=2, **settings), folder=tmp_path)


def test_memory_and_checkpoints_may_change_on_resume(classes, classifier, tmp_path):
    settings = TrainSettings(steps=4, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(classifier(), classes(), settings, folder=tmp_path, progress=interrupted_at(2))
    smaller = TrainSettings(steps=4, checkpoint_every=1, micro_tokens=8)
    assert train(classifier(), classes(), smaller, folder=tmp_path).steps == 4


def test_a_damaged_checkpoint_is_named(classes, classifier, tmp_path):
    train(classifier(), classes(), TrainSettings(steps=2), folder=tmp_path)
    (tmp_path / "checkpoint-00000002" / "network.safetensors").write_bytes(b"torn")
    with pytest.raises(RunStateError, match=r"checkpoint .*00000002 cannot be read \(.*delete it to start anew"):
        train(classifier(), classes(), TrainSettings(steps=2), folder=tmp_path)


def test_what_killed_writers_left_is_cleared(classes, classifier, tmp_path):
    torn = tmp_path / ".tmp-1-checkpoint-00000002"
    torn.mkdir()
    (torn / "network.safetensors").write_bytes(b"half")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0, "half a li')
    train(classifier(), classes(), TrainSettings(steps=2), folder=tmp_path)
    assert not torn.exists()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000002", "metrics.jsonl"]


def test_a_checkpoint_holds_no_pickle(classes, classifier, tmp_path):
    train(classifier(), classes(), TrainSettings(steps=1), folder=tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoint-00000001").iterdir())
    assert names == ["network.safetensors", "optimizer.safetensors", "state.json"]


def test_a_folder_that_cannot_be_written_says_so(classes, classifier, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(RunStateError, match=r"00000001 cannot be written \(.*No space left on device\); free some"):
        train(classifier(), classes(), TrainSettings(steps=1), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_folder_is_whole_or_absent(tmp_path):
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "model") as folder:
        (folder / "half").with_name("absent").read_text((folder / "half").write_text("x") and "utf-8")
    assert not list(tmp_path.iterdir())
