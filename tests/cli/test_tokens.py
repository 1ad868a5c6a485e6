"""``tamis tokens`` on a byte llama of 30,000 weights, and what it says of bad input."""

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

FAST = ("--learning-rate", 0.01, "--batch-rows", 4, "--lora-rank", 4)
RESULTS = ("tokens.parquet", "spans.parquet", "selection.parquet", "evidence.parquet", "selected.jsonl")


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def records(n=40):
    """Short sums, not in the order of their ids."""
    order = np.random.default_rng(0).permutation(n).tolist()
    return [
        {"id": f"r{i:02d}", "prompt": f"add {i} and {i % 7}", "response": f"it is {i + i % 7}.", "kind": "ab"[i % 2]}
        for i in order
    ]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def results(folder):
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of models: ``base``, and others made of it."""
    from safetensors.torch import load_file, save_file

    path = Path(__file__).parents[1] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("models")
    module.main(str(folder / "base"))

    def variant(name, weights=None, **files):
        shutil.copytree(folder / "base", folder / name)
        if weights is not None:
            tensors = load_file(folder / name / "model.safetensors")
            weights(tensors)
            save_file(tensors, folder / name / "model.safetensors", metadata={"format": "pt"})
        for file, change in files.items():
            target = next((folder / name).glob(f"{file}.*"))
            target.write_text(change(target.read_text(encoding="utf-8")), encoding="utf-8")

    vocabulary = json.loads((folder / "base" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]

    def tuned(tensors):
        import torch

        noise = torch.Generator().manual_seed(5)
        for name in tensors:
            tensors[name] = tensors[name] + 0.02 * torch.randn(tensors[name].shape, generator=noise)

    def broken(tensors):
        tuned(tensors)
        tensors["model.embed_tokens.weight"][vocabulary["z"]] = float("nan")

    def swapped(text):
        found = json.loads(text)
        own = found["model"]["vocab"]
        own["i"], own["t"] = own["t"], own["i"]
        return json.dumps(found)

    def marked(text):
        said = "{{ m['content'] }}<|im_end|>"
        assert said in text
        inside = "{% generation %}" + said + "{% endgeneration %}"
        return text.replace(said, "{% if m['role'] == 'assistant' %}" + inside + "{% else %}" + said + "{% endif %}")

    variant("tuned", tuned)
    variant("broken", broken)
    variant("swapped", tuned, tokenizer=swapped)
    variant("short", tuned, config=lambda text: text.replace('"max_position_embeddings": 4096',
                                                             '"max_position_embeddings": 40'))  # fmt: skip
    variant("marked", chat_template=marked)
    variant("renamed", config=lambda text: text.replace('"transformers_version": "', '"transformers_version": "0'))
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_rows(folder / "pool.jsonl", records())
    return folder


@pytest.fixture(scope="module")
def given(models, world):
    """Run the command in a folder of its own; options replace the usual ones."""
    made = []

    def given(*more, pool="pool.jsonl", base="base", reference="tuned", out=None):
        made.append(out)
        model = ("--reference", models / reference) if reference else ()
        out = world / f"alone-{len(made)}" / "run" if out is None else out
        return call("tokens", world / pool, "--base", models / base, *model, "--out", out, *more), out

    return given


@pytest.fixture(scope="module")
def finished(given):
    """A finished run with a given reference: what was said, and where it lies."""
    result, folder = given()
    assert result.exit_code == 0, result.stderr
    return result, folder


@pytest.fixture(scope="module")
def warmed(given):
    """A finished run whose reference was made on 8 records of the pool."""
    result, folder = given("--warmup", 8, *FAST, reference=None)
    assert result.exit_code == 0, result.stderr
    return result, folder


def summary_of(result, code=0):
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def found_in(folder):
    return json.loads(next(folder.glob("steps/*-decide/findings.json")).read_text(encoding="utf-8"))


class TestARun:
    def test_it_says_what_it_did(self, finished):
        result, folder = finished
        lines = result.stdout.splitlines()
        assert lines[0] == "40 records, 1,623 tokens, 393 of them answers; base base, reference: tuned"
        assert lines[1].startswith("kept 235 tokens (59.8%); the cut lies at ")
        assert lines[2] == "records: all tokens kept 0, some masked 40, none kept 0, undecided 0"
        assert "near ties: " in result.stdout
        assert "of the decisions would turn in bfloat16" in result.stdout
        assert f"tamis export {folder} --format trl" in result.stdout
        for name in (*RESULTS, "report.html", "recipe.yaml", "manifest.json"):
            assert (folder / name).exists(), name

    def test_the_mask_file(self, finished):
        frame = pl.read_parquet(finished[1] / "tokens.parquet")
        assert frame.schema == {
            "unit_id": pl.String, "input_ids": pl.List(pl.Int32), "response": pl.List(pl.Boolean),
            "keep": pl.List(pl.Boolean), "score": pl.List(pl.Float32),
        }  # fmt: skip
        assert frame["unit_id"].to_list() == [row["id"] for row in records()], "in the order of the pool"
        rows, keep = TokenRows.from_frame(frame), flat_of(frame["keep"], np.bool_)
        assert keep.sum() == int(0.6 * rows.response.sum())
        assert not keep[~rows.response].any()

    def test_the_scores_are_what_the_models_say(self, finished, models):
        """Held against a plain log-softmax, one record at a time, without any code of tamis."""
        import torch
        from transformers import AutoModelForCausalLM

        frame = pl.read_parquet(finished[1] / "tokens.parquet").head(5)
        pair = [AutoModelForCausalLM.from_pretrained(models / name).eval() for name in ("base", "tuned")]
        for ids, response, score in frame.select("input_ids", "response", "score").iter_rows():
            tokens = torch.tensor([ids])
            with torch.no_grad():
                losses = [-network(tokens).logits[0].log_softmax(-1)[range(len(ids) - 1), ids[1:]] for network in pair]
            expected = [float("nan"), *(losses[0] - losses[1]).tolist()]
            np.testing.assert_allclose(score, np.where(response, expected, np.nan), atol=1e-4)

    def test_every_record_and_every_answer_token_is_decided_about(self, finished):
        folder = finished[1]
        selection = pl.read_parquet(folder / "selection.parquet")
        assert sorted(selection["unit_id"]) == sorted(row["id"] for row in records())
        frame = pl.read_parquet(folder / "tokens.parquet")
        states = {}
        for unit_id, decision in pl.read_parquet(folder / "spans.parquet").select("unit_id", "decision").iter_rows():
            unit, _, span = unit_id.rpartition("[")
            start, stop = map(int, span[:-1].split(":"))
            states |= {(unit, j): decision == "keep" for j in range(start, stop)}
        expected = {(unit, j): k for unit, response, keep in frame.select("unit_id", "response", "keep").iter_rows()
                    for j, (r, k) in enumerate(zip(response, keep, strict=True)) if r}  # fmt: skip
        assert states == expected

    def test_selected_records_come_back_as_they_came(self, finished):
        lines = (finished[1] / "selected.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == records()

    def test_the_summary_counts_what_the_files_hold(self, given, finished):
        result, folder = given("--json")
        said = summary_of(result)
        frame = pl.read_parquet(folder / "tokens.parquet")
        assert said["tokens"] == frame["input_ids"].list.len().sum()
        assert said["tokens_kept"] == frame["keep"].list.sum().sum()
        assert said["response_tokens"] == frame["response"].list.sum().sum()
        assert said["records"] == {"keep": 0, "mask": 40, "drop": 0}
        assert (said["base"], said["reference"], said["exit_code"], said["warnings"]) == ("base", "tuned", 0, [])
        assert 0 <= said["near_cut"][1] <= said["near_cut"][0] <= said["near_cut"][2] <= 1
        assert Run.open(folder).status == "complete"
        assert results(folder) == results(finished[1]), "the same recipe gives the same bytes"

    def test_a_second_call_changes_nothing(self, given, finished):
        first, folder = finished
        before = {
            p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in ("ledger.jsonl", ".lock")
        }
        again, _ = given(out=folder)
        assert again.stdout == first.stdout
        changed = [p.name for p, old in before.items() if p.read_bytes() != old]
        assert set(changed) <= {"manifest.json", "report.html"}, "these count the sessions"
        assert {p for p in folder.rglob("*") if p.is_file()} == {*before, folder / "ledger.jsonl", folder / ".lock"}

    def test_another_recipe_wants_another_folder(self, given, finished, refused):
        result, _ = given("--keep", 0.5, out=finished[1])
        refused(result, "holds a run of another recipe", "params.keep (0.6 -> 0.5)")

    def test_other_records_or_models_in_the_same_place_are_not_taken_for_the_old_ones(
        self, given, world, models, refused
    ):
        result, folder = given("--limit", 4, out=world / "moved" / "run")
        assert result.exit_code == 0
        write_rows(world / "moved.jsonl", records()[:30])
        refused(given("--limit", 4, pool="moved.jsonl", out=folder)[0], "inputs.pool")
        refused(given("--limit", 4, reference="broken", out=folder)[0], "params.reference")


class TestWhy:
    def test_text(self, finished):
        said = call("why", finished[1], "r06").stdout.splitlines()
        assert said[0].startswith("r06: mask, mean score ")
        assert "of 10 tokens kept" in said[1]
        assert said[2] == "  [masked] and kept tokens of the answer:"
        assert said[3].replace("[", "").replace("]", "").strip() == "it is 12.<|im_end|>"
        assert said[4].startswith("  highest scores: '")
        assert said[5].startswith("  lowest scores: '")

    def test_json(self, finished):
        found = json.loads(call("why", finished[1], "r06", "--json").stdout)
        frame = pl.read_parquet(finished[1] / "tokens.parquet").filter(unit_id="r06")
        assert "".join(each["text"] for each in found["tokens"]).endswith("assistant\nit is 12.<|im_end|>")
        assert [each["keep"] for each in found["tokens"]] == frame["keep"][0].to_list()
        assert [each["response"] for each in found["tokens"]] == frame["response"][0].to_list()
        assert [each["score"] for each in found["tokens"] if each["response"]] == [
            s for s in frame["score"][0] if not np.isnan(s)
        ]
        assert all(each["score"] is None for each in found["tokens"] if not each["response"])

    def test_ids_that_are_none(self, finished, refused):
        refused(call("why", finished[1], "r"), "begins several ids")
        refused(call("why", finished[1], "x"), "has no unit 'x'")


class TestPlans:
    def test_a_dry_run_makes_no_folder(self, given):
        result, folder = given("--dry-run")
        assert result.stdout.startswith("40 records, 1,623 tokens, 393 of them answers; about 235 to keep\n")
        assert "answers found by rendering" in result.stdout
        assert not folder.exists()
        assert not folder.parent.exists()

    def test_the_plan_of_a_run_and_of_its_recipe_is_that_of_the_dry_run(self, given, finished):
        folder = finished[1]
        said = summary_of(given("--dry-run", "--json")[0])
        assert said["kept"] == 235
        assert said["forward_tokens"] == 2 * 1623
        assert summary_of(call("plan", folder, "--json")) == said
        assert summary_of(call("plan", folder / "recipe.yaml", "--json")) == said

    def test_a_warm_up_costs_its_training(self, given):
        said = summary_of(given("--warmup", 8, "--epochs", 2, "--dry-run", "--json", reference=None)[0])
        assert (said["rows"], said["warmup"]) == (32, 8)
        warm = (said["forward_tokens"] - 2 * said["tokens"]) / 6
        assert said["tokens"] + warm == 1623

    def test_a_plan_names_models_as_the_run_does(self, given):
        result, _ = given("--dry-run")
        assert "base base, reference tuned;" in result.stdout

    def test_a_plan_counts_kept_tokens_as_the_run_does(self, given, world):
        plan = summary_of(given("--keep", 0.57, "--dry-run", "--json", pool="hundred.jsonl")[0])
        assert plan["response_tokens"] == 100
        assert plan["kept"] == 57

    @pytest.fixture(autouse=True, scope="module")
    @staticmethod
    def hundred(world):
        """Ten records with ten answer tokens each."""
        rows = [{"id": f"h{i}", "prompt": f"q{i}", "response": "123456789"} for i in range(10)]
        write_rows(world / "hundred.jsonl", rows)

    @pytest.mark.parametrize("change", [{"base": "absent"}, {"reference": "absent"}, {"pool": "absent.jsonl"}], ids=str)
    def test_a_plan_finds_what_is_missing(self, given, refused, change):
        refused(given("--dry-run", **change)[0], "There is no", "absent")


class TestWarmup:
    def test_records_are_held_out(self, warmed):
        result, folder = warmed
        lines = result.stdout.splitlines()
        assert lines[0].startswith("32 records, ")
        assert lines[0].endswith("reference: base, warmed up on 8 records")
        warm = pl.read_parquet(next(folder.glob("steps/*-tokens/warmup.parquet")))["unit_id"].to_list()
        cleaned = pl.read_parquet(folder / "tokens.parquet")["unit_id"].to_list()
        assert sorted([*warm, *cleaned]) == sorted(row["id"] for row in records())
        found = found_in(folder)
        assert (found["warmup"]["records"], found["settings"]["held_out"]) == (8, True)
        assert found["warmup"]["steps"] == len(found["warmup"]["loss"]) == 2
        assert not any("warm-up" in warning for warning in found["warnings"])

    def test_the_reference_has_learned(self, warmed):
        evidence = pl.read_parquet(warmed[1] / "evidence.parquet").filter(split="ranked tokens")
        assert evidence["after"].item() < evidence["before"].item()

    def test_nothing_of_the_training_is_left_but_what_was_learned(self, warmed):
        step = next(warmed[1].glob("steps/*-warm-up"))
        assert {p.name for p in step.iterdir()} == {
            "_DONE", "step.json", "learned.safetensors", "training.json", "metrics.jsonl"
        }  # fmt: skip

    def test_the_leak_is_asked_for_and_said(self, given):
        result, folder = given("--warmup", 8, *FAST, "--leak-warmup", "--check-rows", 0, reference=None)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("40 records, ")
        assert "the warm-up records are in the pool: the reference has seen them" in result.stdout
        assert found_in(folder)["settings"]["held_out"] is False
        assert "bfloat16" not in result.stdout

    def test_the_leak_of_no_warm_up_is_not_warned_of(self, given):
        result, _ = given("--leak-warmup", "--limit", 10, "--check-rows", 0)
        assert "warm-up records are in the pool" not in result.stdout

    def test_warm_up_records_that_are_lost_are_counted(self, given, world, models):
        template = (models / "base" / "chat_template.jinja").read_text(encoding="utf-8")
        shutil.copytree(models / "base", models / "refuses")
        refuses = "{% if messages[0]['content'][0] == 'q' %}{{ raise_exception('No q.') }}{% endif %}"
        (models / "refuses" / "chat_template.jinja").write_text(refuses + template, encoding="utf-8")
        write_rows(world / "w.jsonl", [{"id": f"w{i}", "prompt": "pq"[i > 2], "response": "it is"} for i in range(5)])
        result, folder = given("--warmup", world / "w.jsonl", "--limit", 10, "--check-rows", 0, *FAST, base="refuses",
                               reference=None)  # fmt: skip
        assert result.exit_code == 0, result.stderr
        found = found_in(folder)
        assert found["warmup"]["records"] == 3
        assert any("2 " in warning and "warm-up" in warning for warning in found["warnings"])

    def test_a_file_and_a_run(self, given, world, finished):
        write_rows(world / "warm.jsonl", records()[:6])
        result, _ = given("--warmup", world / "warm.jsonl", *FAST, "--limit", 12, reference=None)
        assert result.exit_code == 0, result.stderr
        assert "6 records, " in result.stdout.splitlines()[0]
        assert result.stdout.splitlines()[0].endswith("warmed up on 6 records")
        result, _ = given("--warmup", world / "warm.jsonl", "--dry-run", "--json", reference=None)
        assert summary_of(result)["rows"] == 34
        # the records that a run has selected: here all of the pool's
        refused_ = given("--warmup", finished[1], "--dry-run", reference=None)[0]
        assert refused_.stderr.strip() == (
            "tamis: All records of the pool are warm-up records; nothing is left to clean."
        )

    @pytest.mark.parametrize(
        ("warmup", "words"),
        [("40", "has 40 records, 40 of them for the warm-up leave none"), ("4000", "4000 of them"),
         ("0", "int in [1, inf)"), ("absent.jsonl", "There is no file"), ("empty.jsonl", "empty.jsonl"),
         ("silent.jsonl", "None of the 2 warm-up records has an answer"), ("1.5", "There is no file")],
    )  # fmt: skip
    def test_warm_up_records_that_do_not_do(self, given, world, refused, warmup, words):
        write_rows(world / "empty.jsonl", [])
        write_rows(world / "silent.jsonl", [{"id": f"s{i}", "prompt": "q", "response": ""} for i in range(2)])
        warmup = world / warmup if warmup.endswith("jsonl") else warmup
        refused(given("--warmup", warmup, reference=None)[0], words)

    def test_a_run_that_has_selected_nothing(self, given, world, refused):
        run = world / "half" / "run"
        run.mkdir(parents=True)
        (run / "manifest.json").write_text("{}")
        refused(given("--warmup", run, reference=None)[0], "has selected no records", "tamis resume")


class TestSelfEvolving:
    @pytest.fixture(scope="module")
    @staticmethod
    def evolved(given):
        result, folder = given("--mode", "self-evolving", "--slices", 3, *FAST, reference=None)
        assert result.exit_code == 0, result.stderr
        return result, folder

    def test_the_first_slice_is_kept_whole_and_the_others_in_part(self, evolved):
        result, folder = evolved
        assert "reference: the model of the stage before" in result.stdout
        found = found_in(folder)
        stages = found["stages"]
        assert [each["records"] for each in stages] == [14, 13, 13]
        assert stages[0]["kept"] == stages[0]["tokens"]
        assert [each["kept"] for each in stages[1:]] == [int(0.6 * each["tokens"]) for each in stages[1:]]
        assert (stages[0]["cut"], found["kept"]["cut"]) == (None, None)
        assert all(each["loss"] > 0 for each in stages)
        counts = pl.read_parquet(folder / "selection.parquet")["decision"].value_counts()
        assert dict(counts.iter_rows())["keep"] >= 14

    def test_why_a_record_of_the_first_slice_is_kept(self, evolved):
        folder = evolved[1]
        whole = pl.read_parquet(folder / "selection.parquet").filter(pl.col("reason").str.contains("first slice"))
        assert len(whole) == 14
        said = call("why", folder, whole["unit_id"][0]).stdout
        assert "in the first slice: the first stage trains on all of its tokens" in said
        assert "highest" not in said, "nothing was ranked there"

    def test_slices_that_do_not_do(self, given, refused):
        evolve = ("--mode", "self-evolving")
        refused(
            given(*evolve, "--quiet", "--slices", 21, reference=None)[0], "21 slices need at least 42 records. Got 40"
        )
        refused(given(*evolve, "--slices", 1, reference=None)[0], "[2, inf)")
        refused(given(*evolve, "--slicing", "random", reference=None)[0], "'shuffled' or 'contiguous'")
        refused(given(*evolve)[0], "self-evolving mode")
        refused(given(*evolve, "--warmup", 8, reference=None)[0], "leave --warmup away")

    def test_a_plan(self, given):
        result, _ = given("--mode", "self-evolving", "--dry-run", "--json", reference=None)
        assert summary_of(result)["forward_tokens"] == (2 + 3) * 1623


class TestMissing:
    def test_rows_without_an_answer_are_undecided_and_the_run_is_incomplete(self, given, world):
        write_rows(world / "some.jsonl", [{**row, "response": row["response"] if row["id"][-1] != "3" else ""}
                                          for row in records()])  # fmt: skip
        result, folder = given("--json", pool="some.jsonl")
        said = summary_of(result)
        assert (said["rows"], said["undecided"], said["records"]["mask"]) == (40, 4, 36)
        assert Run.open(folder).status == "incomplete"
        frame = pl.read_parquet(folder / "selection.parquet").filter(pl.col("decision").is_null())
        assert sorted(frame["unit_id"]) == ["r03", "r13", "r23", "r33"]
        assert frame["score"].null_count() == 4
        assert set(frame["reason"]) == {
            "no token to train on: it has no answer, or the answer lies behind the maximum length"
        }
        assert found_in(folder)["pool"]["no_response"] == 4
        assert len((folder / "selected.jsonl").read_text().splitlines()) == 36
        assert "r03: undecided" in call("why", folder, "r03").stdout

    def test_rows_longer_than_the_context_are_cut_and_counted(self, given):
        result, folder = given(base="short", reference="base")
        assert result.exit_code == 0, result.stderr
        assert "[transformers]" not in result.stderr
        found = found_in(folder)
        assert found["settings"]["max_length"] == 40
        lengths = pl.read_parquet(folder / "tokens.parquet")["input_ids"].list.len()
        assert lengths.max() == 40
        assert 20 < found["pool"]["truncated"] < 40
        assert f"{found['pool']['truncated']} of 40 records are cut at 40 tokens" in result.stdout

    def test_a_maximum_length_below_every_answer(self, given, refused):
        refused(given("--max-length", 20, "--quiet")[0], "None of the 40 records has an answer token")

    def test_losses_that_are_no_numbers(self, given, world):
        """The reference has a broken vector for one letter: rows with it have no loss, and nothing is decided there."""
        rows = [
            {**row, "response": row["response"] + (" z" if row["id"] in ("r05", "r18") else "")} for row in records()
        ]
        write_rows(world / "z.jsonl", rows)
        result, folder = given(pool="z.jsonl", reference="broken")
        assert result.exit_code == 3, (result.stdout, result.stderr)
        assert "of 2 records have no finite loss (first: r05, r18)" in result.stdout
        assert "undecided 2" in result.stdout
        assert Run.open(folder).status == "incomplete"
        frame = pl.read_parquet(folder / "selection.parquet").filter(pl.col("decision").is_null())
        assert sorted(frame["unit_id"]) == ["r05", "r18"]
        assert set(frame["reason"]) == {"no loss could be measured"}
        masks = pl.read_parquet(folder / "tokens.parquet").filter(pl.col("unit_id").is_in(["r05", "r18"]))
        assert masks["keep"].list.sum().to_list() == [0, 0]
        assert found_in(folder)["pool"]["unmeasured_tokens"] == masks["response"].list.sum().sum()
        assert "incomplete" in call("status", folder).stdout
        assert "r05: undecided" in call("why", folder, "r05").stdout
        again = call("resume", folder, "--json")
        assert summary_of(again, code=3)["undecided"] == 2

    def test_a_model_that_gives_no_number_at_all(self, given, world, refused):
        write_rows(world / "zz.jsonl", [{**row, "prompt": "z " + row["prompt"]} for row in records()])
        refused(given("--quiet", pool="zz.jsonl", reference="broken")[0], "No token has a loss by both models")

    def test_a_warm_up_that_diverges(self, given, world, refused):
        write_rows(world / "zz.jsonl", [{**row, "prompt": "z " + row["prompt"]} for row in records()])
        result, _ = given("--warmup", 8, "--quiet", pool="zz.jsonl", base="broken", reference=None)
        refused(result, "Training stopped at step 1", "finite loss")

    def test_a_template_that_refuses_some_rows(self, given, world, models):
        template = (models / "base" / "chat_template.jinja").read_text(encoding="utf-8")
        shutil.copytree(models / "base", models / "strict")
        (models / "strict" / "chat_template.jinja").write_text(
            "{% if messages[0]['content'] | length > 11 %}{{ raise_exception('Too long.') }}{% endif %}" + template,
            encoding="utf-8",
        )
        result, folder = given("--json", base="strict")
        said = summary_of(result)
        assert said["undecided"] > 0
        frame = pl.read_parquet(folder / "selection.parquet").filter(pl.col("decision").is_null())
        assert set(frame["reason"]) == {"the row is refused by the chat template: Too long"}
        assert len(frame) == said["undecided"] == 40 - len(pl.read_parquet(folder / "tokens.parquet"))
        assert "undecided" in call("why", folder, frame["unit_id"][0]).stdout

    def test_rejected_rows_are_told(self, given, world):
        rows = [*records(), {"id": "bad", "prompt": None, "response": None}]
        write_rows(world / "bad.jsonl", rows)
        result, folder = given(pool="bad.jsonl")
        assert result.exit_code == 0, result.stderr
        assert "rejected on reading: 1 rows, see rejects.parquet" in result.stdout
        assert len(pl.read_parquet(folder / "rejects.parquet")) == 1


class TestReferences:
    def test_the_base_itself_is_refused(self, given, refused):
        refused(given(reference="base")[0], "The reference 'base' is the base itself", "--allow-same")

    def test_unless_it_is_asked_for(self, given):
        result, folder = given("--allow-same", reference="base")
        assert result.exit_code == 0, result.stderr
        assert "all scores are equal" in result.stdout
        assert "the cut lies at +0.0000 nats" in result.stdout
        found = found_in(folder)
        assert found["limits"]["same_models"] is True
        assert found["kept"]["ties"] == 392
        assert "records keep no token" in result.stdout

    def test_equal_weights_under_another_name_are_no_signal(self, given):
        result, _ = given(reference="renamed")
        assert result.exit_code == 0, result.stderr
        assert "all scores are equal" in result.stdout

    def test_another_tokenizer(self, given, refused):
        refused(given(reference="swapped")[0], "The tokenizers of 'base' and 'swapped' differ", "cannot be compared")

    def test_another_model(self, given, refused, models):
        """A directory that is none, an encoder, a damaged file."""
        (models / "nothing").mkdir(exist_ok=True)
        refused(given(reference="nothing")[0], "holds no language model")
        shutil.copytree(models / "tuned", models / "damaged", dirs_exist_ok=True)
        (models / "damaged" / "model.safetensors").write_bytes(b"broken")
        refused(given("--quiet", reference="damaged")[0], "cannot be loaded")


class TestTemplates:
    def test_a_template_without_marks_works_and_that_is_said(self, finished):
        assert found_in(finished[1])["settings"]["template"] == "tokenizer, answers found by rendering"

    def test_a_template_with_marks(self, given):
        result, folder = given("--json", base="marked")
        assert summary_of(result)["template"] == "tokenizer"
        rows = TokenRows.from_frame(pl.read_parquet(folder / "tokens.parquet"))
        assert int(rows.response.sum()) == 393

    def test_no_template(self, given, models):
        shutil.copytree(models / "base", models / "plain")
        (models / "plain" / "chat_template.jinja").unlink()
        result, _ = given("--json", base="plain")
        assert summary_of(result)["template"] == "plain"


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--keep", "0"), "(0, 1]"), (("--keep", "1.01"), "(0, 1]"), (("--keep", "-0.6"), "(0, 1]"),
     (("--keep", "nan"), "(0, 1]"), (("--scope", "row"), "'global', 'sample' or 'batch'"),
     (("--rank-by", "loss"), "'excess'"), (("--mode", "evolve"), "'fixed' or 'self-evolving'"),
     (("--max-length", "1"), "[2, inf)"), (("--limit", "1"), "[2, inf)"), (("--check-rows", "-1"), "[0, inf)"),
     (("--dtype", "int8"), "'bfloat16'"), (("--device", "tpu"), "There is no device 'tpu'"),
     (("--batch-rows", "0"), "[1, inf)"), (("--epochs", "0"), "> 0"), (("--learning-rate", "-1"), "> 0"),
     (("--tune", "some"), "'lora'"), (("--lora-rank", "0"), ">= 1"), (("--engine", "spark"), "'spark'"),
     (("--group", "nope"), "nope"), (("--format", "xml"), "xml"), (("--id-column", "nope"), "nope"),
     (("--warmup", "3"), "leave one away"), (("--workers", "0"), "workers")],
    ids=lambda v: v[0] if isinstance(v, tuple) else None,
)  # fmt: skip
def test_bad_options(given, refused, options, words):
    refused(given(*options)[0], words)


def test_no_reference_at_all(given, refused):
    refused(given(reference=None)[0], "needs a reference", "--warmup", "--reference")


def test_missing_files(given, refused):
    refused(given(pool="absent.jsonl")[0], "There is no file")
    refused(given(base="absent")[0], "There is no model")
    refused(given(reference="absent")[0], "There is no model")


def test_pools_that_are_too_small(given, world, refused):
    write_rows(world / "one.jsonl", records()[:1])
    refused(given("--quiet", pool="one.jsonl")[0], "at least two records")
    write_rows(world / "none.jsonl", [])
    refused(given(pool="none.jsonl")[0], "none.jsonl")


@pytest.mark.parametrize(
    ("options", "change"),
    [(("--mode", "self-evolving", "--slices", 21), {"reference": None}), (("--max-length", 20), {}),
     ((), {"pool": "one.jsonl"})],
    ids=["slices", "max-length", "one record"],
)  # fmt: skip
def test_what_the_pool_tells_is_said_before_a_model_is_run(given, world, refused, options, change):
    write_rows(world / "one.jsonl", records()[:1])
    refused(given(*options, **change)[0])


class TestOtherVerbs:
    def test_they_know_the_run(self, finished, given, world):
        other, folder = given("--keep", 0.3, "--check-rows", 0)
        assert other.exit_code == 0
        assert "40 units in both" in call("diff", finished[1], folder).stdout
        assert "04-rounding" in call("status", finished[1]).stdout
        assert "arXiv 2502.01968" in call("methods").stdout
        again = call("run", finished[1] / "recipe.yaml", "--out", world / "by-recipe" / "run")
        assert again.exit_code == 0, again.stderr
        assert results(world / "by-recipe" / "run") == results(finished[1])

    def test_relative_names_hold_wherever_a_run_is_resumed(self, finished, world, models, monkeypatch, tmp_path):
        shutil.copytree(models / "base", tmp_path / "base")
        shutil.copytree(models / "tuned", tmp_path / "tuned")
        shutil.copyfile(world / "pool.jsonl", tmp_path / "pool.jsonl")
        monkeypatch.chdir(tmp_path)
        options = ("--base", "hf:base", "--reference", "./tuned", "--out", "made/run")
        with monkeypatch.context() as patch:
            patch.setattr(Progress, "__call__", interrupted)
            assert call("tokens", "pool.jsonl", *options).exit_code == 130
        monkeypatch.chdir(tmp_path.parent)
        again = call("resume", tmp_path / "made" / "run")
        assert again.exit_code == 0, again.stderr
        assert results(tmp_path / "made" / "run") == results(finished[1])


def interrupted(*_):
    raise KeyboardInterrupt


class TestOptions:
    def test_scopes_and_baselines_end_well(self, given):
        for more in (("--scope", "sample"), ("--scope", "batch", "--rank-by", "random"), ("--rank-by", "base-high")):
            said = summary_of(given(*more, "--limit", 10, "--check-rows", 0, "--json")[0])
            assert 0.5 < said["share_kept"] <= 0.6

    def test_prompt_tokens(self, given):
        said = summary_of(given("--with-prompt-tokens", "--limit", 10, "--check-rows", 0, "--json")[0])
        assert said["tokens_kept"] == int(0.6 * (said["tokens"] - said["rows"]))

    def test_all_tokens(self, given):
        result, folder = given("--keep", 1, "--limit", 10, "--check-rows", 0, "--json")
        said = summary_of(result)
        assert said["records"] == {"keep": 10, "mask": 0, "drop": 0}
        frame = pl.read_parquet(folder / "tokens.parquet")
        assert frame["keep"].to_list() == frame["response"].to_list()

    def test_sources(self, given):
        result, folder = given("--group", "kind", "--limit", 20, "--check-rows", 0)
        assert result.exit_code == 0, result.stderr
        assert {each["name"] for each in found_in(folder)["shares"]["source"]} == {"a", "b"}

    def test_scoring_in_bfloat16(self, given):
        said = summary_of(given("--dtype", "bfloat16", "--limit", 10, "--json")[0])
        assert said["flips_bf16"][0] < 0.1, "what is computed in bfloat16 twice hardly differs"


class TestInterrupted:
    """Ctrl-C wherever progress is told, then ``tamis resume`` or the same call again."""

    @pytest.fixture
    def stop_at(self, monkeypatch):
        def stop_at(step, done):
            def told(self, name, now, total):
                if name.endswith(step) and now >= done:
                    raise KeyboardInterrupt

            monkeypatch.setattr(Progress, "__call__", told)

        yield stop_at
        monkeypatch.undo()

    @pytest.mark.parametrize(("step", "done"), [("warm-up", 1), ("reference", 32)], ids=["warm-up", "reference"])
    def test_a_warmed_up_run(self, given, warmed, stop_at, monkeypatch, step, done):
        stop_at(step, done)
        result, folder = given("--warmup", 8, *FAST, reference=None)
        assert result.exit_code == 130
        assert result.stderr.strip().endswith("interrupted; finished work is kept, 'tamis resume RUN' goes on.")
        assert Run.open(folder).status == "running"
        assert not (folder / "selection.parquet").exists()
        monkeypatch.undo()
        assert call("resume", folder).exit_code == 0
        assert results(folder) == results(warmed[1])
