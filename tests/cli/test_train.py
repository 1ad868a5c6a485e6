"""``tamis train`` on a byte llama of 30,000 weights, and what it says of bad input."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.cli.console import Progress
from tamis.data.token_rows import TokenRows, flat_of
from tamis.runs import Run

FAST = ("--learning-rate", 0.01, "--batch-rows", 8, "--lora-rank", 2, "--questions", 2)
MODEL = {"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
         "tokenizer_config.json", "chat_template.jinja"}  # fmt: skip


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two models, a pool, and a run of 'tamis tokens' that ranks the pool by both; two rows have no answer."""
    from safetensors.torch import load_file, save_file

    path = Path(__file__).parents[1] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("world")
    module.main(str(folder / "base"))
    shutil.copytree(folder / "base", folder / "tuned")
    tensors = load_file(folder / "tuned" / "model.safetensors")
    save_file({k: 1.1 * v for k, v in tensors.items()}, folder / "tuned" / "model.safetensors", {"format": "pt"})
    rows = [{"id": f"r{i:02d}", "prompt": f"add {i}", "response": "" if i in (3, 9) else f"it is {i + i % 7}."}
            for i in range(40)]  # fmt: skip
    write_rows(folder / "pool.jsonl", rows)
    made = call("tokens", folder / "pool.jsonl", "--base", folder / "base", "--reference", folder / "tuned",
                "--check-rows", 0, "--out", folder / "tokens" / "run")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def run(world):
    return world / "tokens" / "run"


@pytest.fixture(scope="module")
def train(world, run):
    """Train in a folder of its own; options come after the usual ones."""
    made = []

    def train(*more, source=run, out=None):
        made.append(out)
        out = world / f"alone-{len(made)}" / "run" if out is None else out
        return call("train", source, "--out", out, *FAST, *more), out

    return train


@pytest.fixture(scope="module")
def finished(train):
    result, folder = train()
    assert result.exit_code == 0, result.stderr
    return result, folder


@pytest.fixture(scope="module")
def compared(train):
    """All arms, two seeds."""
    result, folder = train("--arms", "kept, all,random,sample,reverse", "--seeds", 2, "--steps", 2, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), folder


def summary_of(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def masks_of(run):
    frame = pl.read_parquet(run / "tokens.parquet").sort("unit_id")
    return TokenRows.from_frame(frame), flat_of(frame["keep"], np.bool_)


class TestARun:
    def test_it_says_what_it_did(self, finished, run):
        lines = finished[0].stdout.splitlines()
        assert lines[0].startswith("trained base for 5 steps on ")
        assert " tokens of 34 records; LoRA adapters of rank 2 on all seven projections learn: 1,856 of " in lines[0]
        assert lines[1].startswith("loss ")
        text = finished[0].stdout
        assert "loss a held-out token (nats), all answer tokens, kept: " in text
        assert "loss a held-out token (nats), tokens that the run kept, kept: " in text
        assert "share of sums solved, arithmetic probe, kept: 0.000 before, 0.000 (0.000 to " in text
        assert f"model    {finished[1] / 'model'}" in text
        assert (finished[1] / "report.html").exists()
        assert Run.open(finished[1]).status == "complete"

    def test_the_summary(self, train, run):
        result, folder = train("--json")
        said = summary_of(result)
        keep = masks_of(run)[1]
        assert (said["rows"], said["held_out_records"], said["trained_records"]) == (40, 4, 34)
        training = json.loads(next(folder.glob("steps/*-train-kept-0/training.json")).read_text())
        assert said["tokens"] == training["tokens"] < keep.sum()
        assert said["loss"] == [training["losses"][0], training["losses"][-1]]
        assert said["steps"] == len(training["losses"]) == 5
        assert {row["metric"] for row in said["evidence"]} == {
            "loss a held-out token (nats)", "change of the loss a held-out token (nats)", "share of sums solved"
        }  # fmt: skip
        assert said["model"] == str(folder / "model")

    def test_it_learned(self, finished):
        losses = json.loads(next(finished[1].glob("steps/*-train-kept-0/training.json")).read_text())["losses"]
        assert losses[-1] < losses[0] - 0.3
        evidence = pl.read_parquet(finished[1] / "evidence.parquet").filter(split="tokens that the run kept")
        assert evidence.filter(pl.col("metric").str.starts_with("change"))["high"].item() < 0

    def test_the_base_is_left_as_it_was(self, finished, world):
        from safetensors.torch import load_file

        before = load_file(world / "base" / "model.safetensors")
        after = load_file(finished[1] / "model" / "model.safetensors")
        assert before.keys() == after.keys()
        moved = {name for name in before if not bool((before[name] == after[name]).all())}
        assert moved == {name for name in before if "_proj" in name}, "what the adapters were on, and nothing else"

    def test_the_held_out_losses_are_what_the_saved_model_says(self, finished, run):
        """Held against a plain log-softmax of the saved folder, one record at a time."""
        import torch
        from transformers import AutoModelForCausalLM

        network = AutoModelForCausalLM.from_pretrained(finished[1] / "model").eval()
        rows, keep = masks_of(run)
        sums, counts = {"all": 0.0, "kept": 0.0}, {"all": 0, "kept": 0}
        trained = json.loads(next(finished[1].glob("steps/*-train-kept-0/training.json")).read_text())["records"]
        from tamis.curate.tuning.masks import split_records

        fitted, held = split_records(rows, 0.1, 0)
        assert len(fitted) == trained
        for row in held.tolist():
            part = slice(int(rows.offsets[row]), int(rows.offsets[row + 1]))
            ids = torch.from_numpy(rows.ids[part].astype(np.int64))
            with torch.no_grad():
                losses = -network(ids[None]).logits[0].log_softmax(-1)[range(len(ids) - 1), ids[1:]]
            for name, mask in (("all", rows.response[part]), ("kept", keep[part])):
                sums[name] += float(losses[torch.from_numpy(mask[1:])].sum())
                counts[name] += int(mask.sum())
        evidence = pl.read_parquet(finished[1] / "evidence.parquet").filter(metric="loss a held-out token (nats)")
        for name, split in (("all", "all answer tokens"), ("kept", "tokens that the run kept")):
            row = evidence.row(
                by_predicate=pl.col("metric").str.starts_with("loss") & (pl.col("split") == split), named=True
            )
            assert row["after"] == pytest.approx(sums[name] / counts[name], rel=1e-4)
            assert row["n"] == counts[name]

    def test_the_model_loads_and_writes(self, finished):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = finished[1] / "model"
        assert {path.name for path in folder.iterdir()} == MODEL
        network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": "add 2"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        written = network.generate(**ids, max_new_tokens=5, do_sample=False, pad_token_id=0)
        assert written.shape[1] > ids["input_ids"].shape[1]

    def test_tamis_takes_the_model_as_a_reference(self, finished, world):
        result = call("tokens", world / "pool.jsonl", "--base", world / "base", "--reference", finished[1] / "model",
                      "--check-rows", 0, "--out", world / "next" / "run", "--json")  # fmt: skip
        assert summary_of(result)["reference"] == "model"

    def test_the_model_card(self, finished):
        card = (finished[1] / "model" / "README.md").read_text(encoding="utf-8")
        assert card.startswith("---\nlibrary_name: transformers\n")
        assert "# base, trained further with tamis" in card
        assert "34 records" in card
        assert "(the tokens that the run kept)" in card
        assert "| lora_rank | 2 |" in card
        assert "it depends on the two models that scored the tokens" in card

    def test_a_second_call_changes_nothing(self, train, finished):
        first, folder = finished
        before = {
            p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in ("ledger.jsonl", ".lock")
        }
        again, _ = train(out=folder)
        assert again.stdout == first.stdout
        changed = {p.name for p, old in before.items() if p.read_bytes() != old}
        assert changed <= {"manifest.json", "report.html"}, "these count the sessions"

    def test_the_same_recipe_gives_the_same_bytes(self, train, finished):
        _, folder = train()
        for name in ("evidence.parquet", "model/model.safetensors", "model/README.md"):
            assert (folder / name).read_bytes() == (finished[1] / name).read_bytes(), name

    def test_another_recipe_wants_another_folder(self, train, finished, refused):
        refused(train("--steps", 1, out=finished[1])[0], "holds a run of another recipe", "params.steps")

    def test_other_verbs_know_the_run(self, finished, refused):
        assert "02-train-kept-0" in call("status", finished[1]).stdout
        assert call("report", finished[1]).exit_code == 0
        refused(call("why", finished[1], "r01"), "is a run of 'train', which decides nothing")
        plan = call("plan", finished[1]).stdout
        assert plan.startswith("40 records, 4 of them held out; base base, lora\n")


class TestPlans:
    def test_a_dry_run_makes_no_folder(self, train):
        result, folder = train("--dry-run")
        assert result.exit_code == 0, result.stderr
        assert "tokens of 34 records, 5 steps" in result.stdout
        assert not folder.parent.exists()

    def test_as_json_it_is_the_plan_of_the_run(self, train, finished):
        said = summary_of(train("--dry-run", "--json")[0])
        assert summary_of(call("plan", finished[1], "--json")) == said
        training = json.loads(next(finished[1].glob("steps/*-train-kept-0/training.json")).read_text())
        assert said["arms"] == [
            {"arm": "kept", "records": 34, "tokens": training["tokens"], "steps": training["steps"]}
        ]

    def test_arms_and_seeds_multiply(self, train):
        said = summary_of(train("--dry-run", "--json", "--arms", "kept,all", "--seeds", 3)[0])
        assert (said["steps"], said["seeds"], len(said["arms"])) == (5 * 2 * 3, 3, 2)


class TestArms:
    def test_as_many_tokens_in_each_but_all(self, compared):
        trained = {(path.parent.name.split("-")[2], path.parent.name.split("-")[3]): json.loads(path.read_text())
                   for path in compared[1].glob("steps/*/training.json")}  # fmt: skip
        assert len(trained) == 10
        # held-out records are left out of all arms, so that counts differ a little where a mask is another one
        tokens = {key: each["tokens"] for key, each in trained.items()}
        assert tokens["kept", "0"] == tokens["kept", "1"]
        for arm in ("random", "reverse"):
            assert abs(tokens[arm, "0"] - tokens["kept", "0"]) < 0.15 * tokens["kept", "0"]
        assert tokens["all", "0"] > 1.5 * tokens["kept", "0"]
        assert trained["random", "0"]["losses"] != trained["random", "1"]["losses"]

    def test_evidence_of_each_arm(self, compared):
        frame = pl.DataFrame(compared[0]["evidence"])
        arms = ["kept", "all", "random", "sample", "reverse"]
        losses = frame.filter(metric="loss a held-out token (nats)", split="all answer tokens")
        assert losses["group"].to_list() == arms
        assert losses["before"].n_unique() == 1
        gains = frame.filter(pl.col("metric").str.contains("less that of the arm 'all'"), split="all answer tokens")
        assert sorted(gains["group"]) == sorted(set(arms) - {"all"})
        for arm in gains["group"]:
            gain = gains.filter(group=arm)["after"].item()
            each = [losses.filter(group=name)["after"].item() for name in (arm, "all")]
            assert gain == pytest.approx(each[0] - each[1])

    def test_the_model_of_the_first_arm_is_saved(self, compared, train, tmp_path):
        result, folder = train("--steps", 2)
        assert result.exit_code == 0, result.stderr
        name = "model/model.safetensors"
        assert (folder / name).read_bytes() == (compared[1] / name).read_bytes()

    def test_arms_of_an_evolving_run(self, world, train):
        evolving = world / "evolving" / "run"
        made = call("tokens", world / "pool.jsonl", "--base", world / "base", "--mode", "self-evolving", "--slices", 2,
                    *FAST[:6], "--out", evolving)  # fmt: skip
        assert made.exit_code == 0, made.stderr
        result, folder = train(
            "--arms", "kept,random", "--steps", 1, "--hold-out", 0, "--questions", 0, source=evolving
        )
        assert result.exit_code == 0, result.stderr
        tokens = [json.loads(path.read_text())["tokens"] for path in sorted(folder.glob("steps/*/training.json"))]
        assert tokens[0] == tokens[1]

    @pytest.mark.parametrize(
        ("arms", "words"),
        [("kep", "There is no arm called 'kep'. Did you mean 'kept'?"), ("kept,,all", "no arm called ''"),
         ("kept,kept", "different ones of"), ("", "different ones of"), ("KEPT", "no arm called 'KEPT'")],
    )  # fmt: skip
    def test_unknown_arms(self, train, refused, arms, words):
        refused(train("--arms", arms)[0], words)


class TestOptions:
    def test_nothing_to_measure_with(self, train):
        result, folder = train("--hold-out", 0, "--questions", 0, "--steps", 1, "--json")
        said = summary_of(result)
        assert (said["evidence"], said["held_out_records"], said["trained_records"]) == ([], 0, 38)
        assert (folder / "model" / "README.md").exists()

    @pytest.mark.parametrize(
        ("tune", "learns"),
        [("full", "all weights learn"), ("head", "the output layer learns"),
         ("last:1", "the last 1 of 2 layers, the final norm and the output layer learn")],
    )  # fmt: skip
    def test_other_weights(self, train, tune, learns):
        said = summary_of(train("--tune", tune, "--steps", 1, "--hold-out", 0, "--questions", 0, "--json")[0])
        assert said["learns"].startswith(learns)

    def test_the_saved_model_in_another_format(self, train):
        result, folder = train("--dtype", "bfloat16", "--steps", 1, "--hold-out", 0, "--questions", 0)
        assert result.exit_code == 0, result.stderr
        from safetensors.torch import load_file

        tensors = load_file(folder / "model" / "model.safetensors")
        assert {str(each.dtype) for each in tensors.values()} == {"torch.bfloat16"}
        assert json.loads((folder / "model" / "config.json").read_text())["dtype"] == "bfloat16"

    def test_early_stopping(self, train):
        result, folder = train("--eval-every", 1, "--patience", 1, "--learning-rate", 3.0, "--clip", 1.0,
                               "--steps", 20, "--questions", 0, "--json")  # fmt: skip
        said = summary_of(result)
        training = json.loads(next(folder.glob("steps/*-train-kept-0/training.json")).read_text())
        assert training["stopped_early"]
        assert said["steps"] < 20

    def test_a_mask_file_and_a_base(self, train, world, run, refused):
        refused(train(source=run / "tokens.parquet")[0], "needs the parameter 'base'", "--base MODEL")
        result, _ = train("--base", world / "base", "--steps", 1, "--hold-out", 0, "--questions", 0,
                          source=run / "tokens.parquet")  # fmt: skip
        assert result.exit_code == 0, result.stderr

    def test_another_base_of_the_same_tokenizer(self, train, world):
        said = summary_of(
            train("--base", world / "tuned", "--steps", 1, "--hold-out", 0, "--questions", 0, "--json")[0]
        )
        assert said["base"] == "tuned"

    @pytest.mark.parametrize(
        ("options", "words"),
        [(("--seeds", "0"), "[1, inf)"), (("--questions", "-1"), "[0, inf)"), (("--hold-out", "1"), "[0, 1)"),
         (("--dtype", "int8"), "'bfloat16'"), (("--steps", "0"), ">= 1"), (("--epochs", "0"), "> 0"),
         (("--batch-rows", "0"), ">= 1"), (("--learning-rate", "0"), "> 0"), (("--schedule", "x"), "'cosine'"),
         (("--warmup", "2"), "[0, 1]"), (("--weight-decay", "-1"), ">= 0"), (("--clip", "0"), "> 0"),
         (("--tune", "last:9"), "last 9 layers"), (("--tune", "all"), "'lora'"), (("--precision", "half"), "'float32'"),
         (("--patience", "2"), "eval_every"),
         (("--patience", "1", "--eval-every", "1", "--hold-out", "0"), "--hold-out"),
         (("--device", "tpu"), "There is no device 'tpu'"), (("--base", "absent/x/y"), "There is no model"),
         (("--hold-out", "0.99"), "leave none to train on")],
        ids=lambda v: "".join(v[:2]) if isinstance(v, tuple) else None,
    )  # fmt: skip
    def test_bad_options(self, train, refused, options, words):
        refused(train(*options)[0], words)


class TestSources:
    def test_a_run_of_another_method(self, train, finished, refused):
        refused(train(source=finished[1])[0], "is a run of 'train'; 'tamis train' needs one of 'tokens'.")

    def test_an_unfinished_run(self, train, world, run, refused):
        half = world / "half" / "run"
        shutil.copytree(run, half)
        (half / "tokens.parquet").unlink()
        refused(train(source=half)[0], "has not decided yet", f"tamis resume {half}")

    def test_a_folder_that_is_no_run(self, train, world, refused):
        refused(train(source=world)[0], "is not a run directory")

    def test_nothing_there(self, train, world, refused):
        refused(train(source=world / "absent")[0], "absent")

    def test_files_that_are_no_masks(self, train, world, refused):
        base = ("--base", world / "base")
        refused(train(*base, source=world / "pool.jsonl")[0], "is no mask file")
        pl.DataFrame({"a": [1]}).write_parquet(world / "a.parquet")
        refused(train(*base, source=world / "a.parquet")[0], "is no mask file: it has no column")
        frame = pl.DataFrame({"unit_id": ["a"], "keep": [[True]], "score": [[1.0]]})
        frame.write_parquet(world / "b.parquet")
        refused(train(*base, source=world / "b.parquet")[0], "column 'input_ids'")

    @pytest.mark.parametrize("name", ["input_ids", "keep"])
    def test_a_file_whose_columns_are_no_lists(self, train, world, run, refused, name):
        path = world / f"no-{name}.parquet"
        pl.read_parquet(run / "tokens.parquet").with_columns(pl.lit("x").alias(name)).write_parquet(path)
        refused(train("--base", world / "base", source=path)[0], name)

    def test_a_run_that_kept_nothing(self, train, world, run, refused):
        path = world / "nothing.parquet"
        masks = pl.read_parquet(run / "tokens.parquet")
        masks.with_columns(pl.col("keep").list.eval(pl.element().is_null())).write_parquet(path)
        refused(train("--base", world / "base", "--quiet", source=path)[0], "The arm 'kept' has no token to train on")

    def test_a_smaller_vocabulary(self, train, world, run, refused):
        path = world / "large.parquet"
        masks = pl.read_parquet(run / "tokens.parquet")
        masks.with_columns(pl.col("input_ids").list.eval(pl.element() + 200)).write_parquet(path)
        refused(train("--base", world / "base", source=path)[0], "the tokenizer of 'base' ends at 258")

    def test_another_tokenizer_of_the_same_size(self, train, world, refused):
        shutil.copytree(world / "base", world / "swapped")
        path = world / "swapped" / "tokenizer.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        own = found["model"]["vocab"]
        own["i"], own["t"] = own["t"], own["i"]
        path.write_text(json.dumps(found), encoding="utf-8")
        refused(train("--base", world / "swapped", "--steps", 1, "--questions", 0)[0], "tokenizer")

    def test_a_base_that_was_moved(self, train, world, run):
        moved = world / "moved" / "run"
        shutil.copytree(run, moved)
        recipe = (moved / "recipe.yaml").read_text(encoding="utf-8")
        assert str(world / "base") in recipe
        (moved / "recipe.yaml").write_text(recipe.replace(str(world / "base"), str(world / "gone")), encoding="utf-8")
        result, _ = train("--base", world / "base", "--steps", 1, "--hold-out", 0, "--questions", 0, source=moved)
        assert result.exit_code == 0, result.stderr


class TestInterrupted:
    @pytest.fixture
    def stop_at(self, monkeypatch):
        def stop_at(step, done):
            def told(self, name, now, total):
                if name.endswith(step) and now >= done:
                    raise KeyboardInterrupt

            monkeypatch.setattr(Progress, "__call__", told)

        return stop_at

    @pytest.mark.parametrize("done", [0, 3, 5])
    def test_resumed_it_ends_as_if_nothing_had_been(self, train, finished, stop_at, monkeypatch, done):
        stop_at("train-kept-0", done)
        result, folder = train()
        assert result.exit_code == 130
        assert "'tamis resume RUN' goes on" in result.stderr
        assert not (folder / "model").exists()
        monkeypatch.undo()
        again = call("resume", folder)
        assert again.exit_code == 0, again.stderr
        for name in ("evidence.parquet", "model/model.safetensors", "model/README.md"):
            assert (folder / name).read_bytes() == (finished[1] / name).read_bytes(), name

    def test_a_model_that_could_not_be_saved_is_saved_on_resume(self, train, finished, monkeypatch):
        from tamis.train import saving

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(saving, "model_card", full)
            result, folder = train()
        assert result.exit_code == 2
        assert "No space left on device" in result.stderr
        assert not (folder / "model").exists()
        assert call("resume", folder).exit_code == 0
        name = "model/model.safetensors"
        assert (folder / name).read_bytes() == (finished[1] / name).read_bytes()


def test_a_tensorboard_log_stays_when_the_training_is_done(run, tmp_path):
    made = call("train", run, "--steps", 2, *FAST, "--tensorboard", "--out", tmp_path / "run")
    assert made.exit_code == 0, made.stderr
    (log,) = (tmp_path / "run").glob("steps/*-train-kept-0/tensorboard/events.out.tfevents.*")
    assert log.stat().st_size > 0
    assert not list((tmp_path / "run").glob("steps/*-train-kept-0/training"))


TASK = """
task: say_yes
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["yes", "no"]
doc_to_target: 0
"""


@pytest.mark.filterwarnings("ignore")  # of the harness and its libraries
def test_tasks_of_the_harness_are_asked_before_and_after(run, tmp_path):
    write_rows(tmp_path / "data.jsonl", [{"question": f"say {i}"} for i in range(6)])
    (tmp_path / "say_yes.yaml").write_text(TASK.format(data=tmp_path / "data.jsonl"))
    made = call("train", run, "--steps", 2, *FAST, "--tasks", "say_yes", "--task-folder", tmp_path, "--task-limit", 4,
                "--out", tmp_path / "run", "--json")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    rows = [row for row in json.loads(made.stdout)["evidence"] if row["split"] == "lm-eval say_yes"]
    assert [(row["group"], row["n"], row["metric"]) for row in rows] == [("kept", 4, "share right (acc)")]
    assert rows[0]["before"] in (0, 0.25, 0.5, 0.75, 1)
    assert "share right (acc)" in (tmp_path / "run" / "report.html").read_text()
