"""Tasks of the real LM evaluation harness, from a task file on this machine, on a tiny model."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import BackendError, MissingExtraError, RecipeError
from tamis.evidence.lm_tasks import require_tasks, task_scores
from tamis.evidence.resampling import share_interval

TASK = """
task: two_choices
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{[good, bad]}}}}"
doc_to_target: 0
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one task of 12 questions."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": f"say {i}:", "good": " yes", "bad": " no, never" if i % 3 else " y"} for i in range(12)]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "two_choices.yaml").write_text(TASK.format(data=folder / "data.jsonl"))
    gone = TASK.replace("two_choices", "gone").format(data=folder / "gone.jsonl")
    (folder / "gone.yaml").write_text(gone)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A random llama over bytes."""
    from tamis.models.causal_lm import find_model, load

    path = Path(__file__).parents[1] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("model")
    module.main(str(folder))
    return load(find_model(str(folder)))


@pytest.mark.filterwarnings("ignore")  # of the harness and its libraries
class TestTasks:
    def test_a_task_is_scored_as_its_log_likelihoods_say(self, model, folder):
        import torch

        network, tokenizer = model
        (found,) = task_scores(network, tokenizer, ["two_choices"], folder=folder)

        def likelihood(question, choice):
            ids = torch.tensor([tokenizer(question + choice, add_special_tokens=False)["input_ids"]])
            n = len(tokenizer(choice, add_special_tokens=False)["input_ids"])
            logs = network(ids).logits.log_softmax(-1)[0, -n - 1 : -1]
            return logs.gather(-1, ids[0, -n:, None]).sum().item()

        rows = [json.loads(line) for line in (Path(folder) / "data.jsonl").read_text().splitlines()]
        right = [likelihood(r["question"], r["good"]) > likelihood(r["question"], r["bad"]) for r in rows]
        value, low, high = found["estimate"]
        assert (found["task"], found["metric"], found["n"]) == ("two_choices", "acc", 12)
        assert value == pytest.approx(np.mean(right))
        assert 0 < value < 1
        assert (value, low, high) == pytest.approx(share_interval(sum(right), 12))

    def test_a_limit_takes_the_first_questions(self, model, folder):
        (found,) = task_scores(*model, ["two_choices"], folder=folder, limit=5)
        assert found["n"] == 5

    def test_an_unknown_task_is_refused_with_a_suggestion(self, folder):
        with pytest.raises(RecipeError, match=r"no task 'two_choice'\. Did you mean 'two_choices'\?"):
            require_tasks(["two_choice"], folder)

    def test_data_that_are_not_here_are_said_to_be_missing(self, model, folder):
        with pytest.raises(BackendError, match=r"gone could not be asked .*; their data has to be") as caught:
            task_scores(*model, ["gone"], folder=folder)
        assert "\n" not in str(caught.value)

    def test_a_folder_that_is_not_there(self):
        with pytest.raises(RecipeError, match="no folder /nowhere of task files"):
            require_tasks(["x"], "/nowhere")


def test_no_task_needs_no_harness(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert task_scores(None, None, []) == []


def test_without_the_harness_its_name_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install lm-eval"):
        require_tasks(["arc_easy"])
