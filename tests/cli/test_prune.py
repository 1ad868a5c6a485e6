"""``tamis prune`` on byte llamas of eight layers, and what it says of bad input."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.engine import get_engine
from tamis.prune import job
from tamis.recipe import Recipe
from tamis.runs import Run
from tamis.train import step as train_step

LAYERS = 8
CHEAP = ("--questions", 0, "--no-speed")
FAST = (*CHEAP, "--seq-len", 16, "--windows", 4, "--held-records", 12, "--steps", 2, "--batch-rows", 8)
SCORING = FAST[3:9]
WEIGHTS = "model.safetensors"
AS_THEY_CAME = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "LICENSE")


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def tiny():
    path = Path(__file__).parents[1] / "prune" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    """Two models, of which one is tied, and a pool of 130 records."""
    folder = tmp_path_factory.mktemp("world")
    tiny.tiny_llama(folder / "base", dtype="bfloat16")
    tiny.tiny_llama(folder / "tied", tied=True)
    tiny.write_rows(folder / "pool.jsonl", tiny.records())
    return folder


@pytest.fixture(scope="module")
def prune(world):
    """Prune beside all other runs, so that steps are shared; options come after the usual ones."""
    made = []

    def prune(*more, model="base", data=True, out=None, verb=(), usual=FAST):
        made.append(out)
        out = world / "runs" / f"run-{len(made)}" if out is None else out
        given = ("--data", world / "pool.jsonl", *usual) if data else CHEAP
        name = world / model if isinstance(model, str) else model
        return call("prune", *verb, name, *given, "--out", out, *more), out

    return prune


def done(made, code=0):
    """The summary of a run that went well, and its folder."""
    result, folder = made
    assert result.exit_code == code, (result.stdout, result.stderr)
    return json.loads((folder / "manifest.json").read_text())["summary"], folder


def tensors(folder):
    from safetensors.torch import load_file

    return {name: tensor for path in sorted(Path(folder).glob("*.safetensors"))
            for name, tensor in load_file(path).items()}  # fmt: skip


def is_cut_of(folder, source, kept):
    """Whether the tensors are those of the source without some layers, to the bit."""
    own, whole = tensors(folder), tensors(source)
    names = {}
    for name in whole:
        parts = name.split(".")
        if parts[1] == "layers":
            if int(parts[2]) not in kept:
                continue
            parts[2] = str(kept.index(int(parts[2])))
        names[".".join(parts)] = name
    return own.keys() == names.keys() and all(own[new].equal(whole[old]) for new, old in names.items())


def loaded(folder):
    """The model as a user loads it, after it has written some text with and without a cache."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder)("add 3 and 4", return_tensors="pt")
    written = [network.generate(**ids, max_new_tokens=6, do_sample=False, temperature=None, top_p=None, use_cache=each)
               for each in (True, False)]  # fmt: skip
    assert written[0].equal(written[1])
    assert written[0].shape[1] > ids["input_ids"].shape[1]
    return network


@pytest.fixture(scope="module")
def finished(prune):
    """The default: auto, and healing of the last three layers."""
    result, folder = prune("--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), folder


class TestTheDefault:
    def test_auto_takes_the_best_of_three(self, finished):
        said, _ = finished
        perplexities = {each["criterion"]: each["perplexity"][0] for each in said["candidates"]}
        assert list(perplexities) == ["reverse", "bi", "angular"]
        assert said["criterion"] == min(perplexities, key=perplexities.get)
        assert said["auto"]
        assert len(said["dropped"]) == 2
        assert (said["kept"], said["layers"], said["undecided"], said["exit_code"]) == (6, 8, 0, 0)

    def test_the_model_is_a_model(self, finished, world):
        said, folder = finished
        network = loaded(folder / "model")
        assert network.config.num_hidden_layers == 6
        assert str(next(iter(tensors(folder / "model").values())).dtype) == "torch.bfloat16"
        assert json.loads((folder / "model" / "config.json").read_text())["dtype"] == "bfloat16"
        assert said["model"] == str(folder / "model")

    def test_files_are_carried_over_as_they_came(self, finished, world):
        for name in AS_THEY_CAME:
            assert (finished[1] / "model" / name).read_bytes() == (world / "base" / name).read_bytes(), name

    def test_healing_changed_the_last_layers_and_no_other(self, finished, world):
        said, folder = finished
        kept = [layer for layer in range(LAYERS) if layer not in said["dropped"]]
        own, whole = tensors(folder / "model"), tensors(world / "base")
        for layer, old in enumerate(kept[:3]):
            for name in (name for name in own if f".layers.{layer}." in name):
                assert own[name].equal(whole[name.replace(f".layers.{layer}.", f".layers.{old}.")]), name
        assert own["model.embed_tokens.weight"].equal(whole["model.embed_tokens.weight"])

    def test_evidence_of_both_models(self, finished):
        frame = pl.DataFrame(finished[0]["evidence"])
        assert set(frame["group"]) == {"cut", "healed"}
        layers = frame.filter(metric="layers", group="healed").row(0, named=True)
        assert (layers["before"], layers["after"]) == (8, 6)
        assert len(frame.filter(pl.col("metric").str.starts_with("perplexity"))) == 2
        assert frame.equals(pl.read_parquet(finished[1] / "evidence.parquet"), null_equal=True)

    def test_mergekit_names_the_same_layers(self, finished, world):
        said, folder = finished
        recipe = yaml.safe_load((folder / "mergekit.yaml").read_text())
        ranges = [source["layer_range"] for piece in recipe["slices"] for source in piece["sources"]]
        kept = [layer for start, stop in ranges for layer in range(start, stop)]
        assert kept == [layer for layer in range(LAYERS) if layer not in said["dropped"]]
        assert {source["model"] for piece in recipe["slices"] for source in piece["sources"]} == {str(world / "base")}
        assert (recipe["merge_method"], recipe["dtype"]) == ("passthrough", "bfloat16")

    def test_scores_and_selection_say_the_same(self, finished):
        said, folder = finished
        csv = pl.read_csv(folder / "scores.csv")
        assert csv.filter(~pl.col("kept"))["layer"].to_list() == said["dropped"]
        assert csv.sort("rank")["layer"].to_list()[:2] == sorted(said["dropped"], key=csv["rank"].to_list().__getitem__)
        selection = pl.read_parquet(folder / "selection.parquet")
        dropped = selection.filter(decision="drop")["unit_id"].sort().to_list()
        assert dropped == [f"layer-{layer:03d}" for layer in said["dropped"]]
        assert json.loads((folder / "scores.json").read_text())["criterion"] == said["criterion"]

    def test_why(self, finished):
        said, folder = finished
        first = said["dropped"][0]
        told = call("why", folder, first)
        assert told.exit_code == 0, told.stderr
        assert told.stdout.startswith(f"layer {first}: drop\n")
        for criterion in ("reverse", "bi", "angular"):
            assert f"  {criterion}: " in told.stdout
        assert call("why", folder, f"layer-{first:03d}").stdout == told.stdout
        assert json.loads(call("why", folder, first, "--json").stdout)["layer"] == first

    def test_why_of_no_layer(self, finished, refused):
        refused(call("why", finished[1], 8))

    def test_card_and_report(self, finished):
        card = (finished[1] / "model" / "README.md").read_text()
        assert "base without 2 of its 8 layers" in card
        assert "arXiv 2602.01997" in card
        assert "| perplexity of held-out text, held-out records | healed |" in card
        assert (finished[1] / "report.html").stat().st_size > 1000

    def test_said_to_people(self, finished, world):
        told = call("resume", finished[1]).stdout
        assert "base: 2 of 8 layers go" in told
        for word in ("perplexity", "healed   last3, ", "model    ", "mergekit "):
            assert word in told

    def test_a_name_of_its_own(self, world, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        made = call("prune", world / "base", "--criterion", "reverse", *CHEAP)
        assert made.exit_code == 0, made.stderr
        (run,) = (tmp_path / "runs").iterdir()
        assert run.name.startswith("prune-base-")


class TestWhichLayers:
    @pytest.mark.parametrize(
        ("options", "dropped"),
        [(("--drop", "1,3-4"), [1, 3, 4]), (("--keep", "0-5"), [6, 7]), (("--layers", 5), [5, 6, 7]),
         (("--drop-layers", 1), [7]), (("--ratio", 0.5), [4, 5, 6, 7]), (("--protect-last", 2), [4, 5]),
         (("--protect", "5,7"), [4, 6]), (("--fidelity", "paper"), [6, 7])],
        ids=lambda each: str(each[0]) if isinstance(each, tuple) else "",
    )  # fmt: skip
    def test_without_data_nothing_is_read_or_healed(self, prune, world, options, dropped, monkeypatch):
        from tamis.train import tuned_model

        monkeypatch.setattr(tuned_model, "load_own", None)  # weights stay on disk
        own = () if options[0] in ("--drop", "--keep", "--fidelity") else ("--criterion", "reverse")
        said, folder = done(prune(*options, *own, data=False))
        assert said["dropped"] == dropped
        assert is_cut_of(folder / "model", world / "base", [i for i in range(LAYERS) if i not in dropped])
        assert said["healing"] is None
        assert "what the cut costs was not measured" in said["warnings"][-1]
        for name in AS_THEY_CAME:
            assert (folder / "model" / name).read_bytes() == (world / "base" / name).read_bytes(), name

    def test_what_was_streamed_writes_text(self, prune):
        _, folder = done(prune("--drop", "2,5", data=False))
        loaded(folder / "model")

    @pytest.mark.parametrize("criterion", ["random", "magnitude", "taylor", "ppl", "sleb", "bi-flat"])
    def test_every_criterion_and_its_scores_again(self, prune, criterion):
        said, folder = done(prune("--criterion", criterion, "--drop-layers", 2, verb=("scores",), usual=SCORING))
        assert said["model"] is None
        assert not (folder / "model").exists()
        assert len(said["dropped"]) == 2
        again, _ = done(prune("--scores", folder / "scores.csv", "--drop-layers", 2, data=False))
        assert again["dropped"] == said["dropped"]
        assert again["criterion"] == f"{criterion}, file"

    def test_auto_scores_again(self, prune, finished):
        said, folder = done(prune(verb=("scores",), usual=SCORING))
        assert said["dropped"] == finished[0]["dropped"]
        for name in ("scores.csv", "scores.json"):
            again, _ = done(prune("--scores", folder / name, data=False))
            assert again["dropped"] == said["dropped"]

    def test_a_given_list_is_measured(self, prune):
        said, _ = done(prune("--drop", "2-3", "--heal", "none"))
        assert said["criterion"] == "given"
        assert {row["group"] for row in said["evidence"]} == {"cut"}
        assert any(row["metric"].startswith("perplexity") for row in said["evidence"])
        assert not [each for each in said["warnings"] if "not measured" in each]


class TestHealing:
    @pytest.mark.parametrize("options", [("--heal", "lora", "--lora-rank", 2), ("--heal", "head"),
                                         ("--distill", 0.5, "--temperature", 2), ("--heal", "last6")])  # fmt: skip
    def test_ways_to_heal(self, prune, options):
        said, folder = done(prune("--criterion", "reverse", "--learning-rate", 0.01, *options))
        cut = tensors(next(folder.glob("steps/*-cut/model")))
        own = tensors(folder / "model")
        assert any(not own[name].equal(cut[name]) for name in cut)
        assert "2 steps of 8 records" in said["healing"]
        loaded(folder / "model")

    def test_none_with_data(self, prune, world):
        said, folder = done(prune("--criterion", "reverse", "--heal", "none"))
        assert is_cut_of(folder / "model", world / "base", list(range(6)))
        assert {row["group"] for row in said["evidence"]} == {"cut"}

    def test_a_tied_head_is_copied(self, prune, world):
        said, folder = done(prune("--tied", "untie", "--criterion", "reverse", "--learning-rate", 0.01, model="tied"))
        assert any("adds 8,288 weights" in each for each in said["warnings"])
        network = loaded(folder / "model")
        own = tensors(folder / "model")
        assert network.lm_head.weight.equal(own["lm_head.weight"])
        assert own["model.embed_tokens.weight"].equal(tensors(world / "tied")["model.embed_tokens.weight"])
        assert not own["lm_head.weight"].equal(own["model.embed_tokens.weight"])
        assert "it is a copy now" in (folder / "model" / "README.md").read_text()

    def test_a_tied_head_learns_with_the_embeddings(self, prune, world):
        said, folder = done(prune("--criterion", "reverse", "--learning-rate", 0.01, model="tied"))
        assert any("input embeddings learn too" in each for each in said["warnings"])
        assert "lm_head.weight" not in tensors(folder / "model")
        assert loaded(folder / "model").config.tie_word_embeddings

    def test_a_tied_head_is_refused(self, prune, refused):
        refused(prune("--criterion", "reverse", "--tied", "refuse", model="tied")[0], "--tied refuse", "--heal lora")

    def test_weights_without_a_word_on_their_dtype_keep_it(self, prune, world, tmp_path):
        shutil.copytree(world / "base", tmp_path / "silent")
        path = tmp_path / "silent" / "config.json"
        config = json.loads(path.read_text())
        del config["dtype"]
        path.write_text(json.dumps(config))
        _, folder = done(prune("--criterion", "reverse", model=tmp_path / "silent"))
        assert {str(each.dtype) for each in tensors(folder / "model").values()} == {"torch.bfloat16"}

    def test_both_models_are_timed_in_the_same_dtype(self, prune, monkeypatch):
        seen = {}

        def time_models(networks, *, seed):
            seen.update({name: str(network.dtype) for name, network in networks.items()})
            return []

        monkeypatch.setattr(job, "time_models", time_models)
        usual = tuple(each for each in FAST if each != "--no-speed")
        done(prune("--criterion", "reverse", "--dtype", "bfloat16", usual=usual))
        assert seen == {"dense": "torch.bfloat16", "healed": "torch.bfloat16"}

    def test_questions_and_speed(self, prune):
        usual = ("--questions", 1, *FAST[3:])
        said, _ = done(prune("--criterion", "reverse", "--heal", "none", usual=usual))
        metrics = {(row["metric"], row["split"]) for row in said["evidence"]}
        assert ("share solved", "brackets probe") in metrics
        assert ("share solved", "sums probe") in metrics
        assert any(metric.startswith("tokens written a second") for metric, _ in metrics)


class TestPlan:
    @pytest.mark.parametrize("options", [(), ("--criterion", "reverse"), ("--drop", "1-2")])
    def test_a_plan_makes_no_folder(self, prune, world, options):
        result, folder = prune("--dry-run", *options)
        assert result.exit_code == 0, result.stderr
        assert not folder.exists()
        assert "2 of 8 layers go" in result.stdout
        which = {"--criterion": "(6-7)", "--drop": "(1-2)"}.get(options[0] if options else "", "(to be chosen)")
        assert which in result.stdout

    def test_it_knows_the_size(self, prune, finished):
        plan = json.loads(prune("--dry-run", "--json")[0].stdout)
        assert plan["parameters_after"] == finished[0]["sizes"]["healed"]["parameters"]
        assert plan["bytes_after"] == finished[0]["sizes"]["healed"]["bytes"]
        assert (plan["heal"], plan["steps"], plan["dropped"]) == ("last3", 2, None)

    def test_it_spares_what_the_run_spares(self, prune, tmp_path):
        lines = [f"{layer},{layer}" for layer in range(LAYERS)]
        path = tmp_path / "ppl.csv"
        path.write_text("\n".join(["layer,score", *lines]) + "\n")
        plan = json.loads(prune("--scores", path, "--drop-layers", 2, "--dry-run", "--json", data=False)[0].stdout)
        said, _ = done(prune("--scores", path, "--drop-layers", 2, data=False))
        assert plan["dropped"] == said["dropped"] == [4, 5]

    def test_it_refuses_what_the_run_refuses(self, prune, refused, tmp_path):
        refused(prune("--criterion", "ppl", "--drop-layers", 3, "--dry-run")[0], "6 are protected")
        refused(prune("--drop", "8", "--dry-run")[0], "names layer 8")
        (tmp_path / "s.csv").write_text("layer,score\n0,1\n1,2\n")
        refused(prune("--scores", tmp_path / "s.csv", "--dry-run", data=False)[0], "2 layers", "the model has 8")


class TestMissingScores:
    @pytest.fixture
    def holed(self, tmp_path):
        path = tmp_path / "scores.csv"
        rows = [f"{layer},{'' if layer == 3 else layer}" for layer in range(LAYERS)]
        path.write_text("\n".join(["layer,score", *rows]) + "\n")
        return path

    def test_a_layer_without_a_score_is_not_decided_about(self, prune, holed):
        result, folder = prune("--scores", holed, data=False)
        said, _ = done((result, folder), code=3)
        assert "layer 3" in result.stdout
        assert (said["undecided"], said["model"], said["sizes"], said["exit_code"]) == (1, None, None, 3)
        assert not (folder / "model").exists()
        assert not (folder / "mergekit.yaml").exists()
        assert Run.open(folder).status == "incomplete"
        assert call("why", folder, 3).stdout.startswith("layer 3: undecided\n")
        assert pl.read_parquet(folder / "selection.parquet")["decision"].null_count() == 1

    def test_with_data_too(self, prune, holed):
        _, folder = done(prune("--scores", holed), code=3)
        assert not (folder / "model").exists()

    def test_a_row_that_is_not_there(self, prune, holed, refused):
        holed.write_text("".join(line for line in holed.read_text().splitlines(True) if not line.startswith("3,")))
        result, folder = prune("--scores", holed, data=False)
        refused(result, "7 rows", "none of layer 3")
        assert not (folder / "model").exists()

    def test_damaged_weights(self, prune, world, tmp_path, refused):
        from safetensors.torch import save_file

        shutil.copytree(world / "base", tmp_path / "damaged")
        broken = tensors(world / "base")
        broken["model.layers.5.mlp.up_proj.weight"][0, 0] = float("nan")
        save_file(broken, tmp_path / "damaged" / WEIGHTS, {"format": "pt"})
        model = tmp_path / "damaged"
        said, _ = done(prune("--criterion", "magnitude", "--protect-first", 0, model=model), code=3)
        assert (said["undecided"], said["model"]) == (1, None)
        refused(
            prune("--candidates", "reverse,magnitude", "--drop-layers", 1, "--quiet", model=model)[0], "no finite loss"
        )
        refused(prune("--criterion", "reverse", "--quiet", model=model)[0], "no finite loss")
        assert said["warnings"][0].startswith("1 layers have no finite score")


class Stop:
    """Progress that raises KeyboardInterrupt at every report that was not there before."""

    def __init__(self):
        self.seen = set()

    def __call__(self, step, done, total):
        if (step, done) not in self.seen:
            self.seen.add((step, done))
            raise KeyboardInterrupt


ENDS = ("evidence.parquet", "selection.parquet", "scores.csv", "scores.json", "mergekit.yaml",
        f"model/{WEIGHTS}", "model/config.json", "model/README.md", "model/tokenizer.json")  # fmt: skip


@pytest.fixture(scope="module")
def go(tiny, world, tmp_path_factory):
    model = tiny.tiny_llama(world / "small", layers=4, tied=True)
    params = {"model": str(model), "n_drop": 1, "heal": "last1", "tied": "untie", "steps": 3, "batch_rows": 8,
              "n_windows": 4, "seq_len": 16, "held_records": 12, "questions": 0, "speed": False, "curve": 0,
              "candidates": ["reverse", "bi"], "learning_rate": 0.01, "distill": 0.5}  # fmt: skip
    recipe = Recipe(method="prune", inputs={"data": str(world / "pool.jsonl")}, params=params)

    def go(folder, progress=None):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with Run.start(folder, recipe, command="") as run:
            return job.prune(run, engine=get_engine("inline"), progress=progress)

    return go


@pytest.fixture(scope="module")
def straight(go, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    go(folder)
    return {name: (folder / name).read_bytes() for name in ENDS}


class TestInterrupted:
    def test_stopped_at_every_report_it_ends_in_the_same_bytes(self, go, straight, tmp_path, monkeypatch):
        monkeypatch.setattr(train_step, "CHECKPOINT_STEPS", 2)
        folder, stop, stops = tmp_path / "alone" / "run", Stop(), 0
        while True:
            try:
                go(folder, stop)
            except KeyboardInterrupt:
                stops += 1
                assert not (folder / "model").exists()
                assert not (folder / "selection.parquet").exists()
                assert not [path for path in folder.rglob("*-cut/model") if not (path / WEIGHTS).exists()]
                continue
            break
        assert stops == len(stop.seen) > 30
        assert {name: (folder / name).read_bytes() for name in ENDS} == straight
        assert not list(folder.rglob(".tmp-*"))

    def test_stopped_while_files_are_carried_over(self, go, straight, tmp_path, monkeypatch):
        folder = tmp_path / "alone" / "run"

        copyfile = shutil.copyfile

        def full(source, target):
            if "steps" in Path(target).parts:
                return copyfile(source, target)
            Path(target).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "copyfile", full)
            with pytest.raises(OSError):
                go(folder)
        assert all(path.read_bytes() != b"half" for path in folder.rglob("*") if path.is_file())
        go(folder)
        assert {name: (folder / name).read_bytes() for name in ENDS} == straight


class TestFullDisk:
    @pytest.mark.parametrize("name", ["write", "copy_file_range"])
    @pytest.mark.parametrize("after", [0, 1, 20])
    def test_nothing_is_left_that_looks_whole(self, prune, refused, monkeypatch, world, name, after, tmp_path):
        own, left = getattr(os, name), [after]

        def full(target, *given, **named):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return own(target, *given, **named)

        if name == "write" and after:
            monkeypatch.delattr(os, "copy_file_range")  # so that it writes more than the header
        out = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            result, _ = prune("--criterion", "reverse", "--quiet", data=False, out=out)
        refused(result, "full", "free some space")
        assert not (out / "model").exists()
        assert not list(out.rglob("*.safetensors"))
        done(prune("--criterion", "reverse", data=False, out=out))
        assert is_cut_of(out / "model", world / "base", list(range(6)))


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "words"),
        [(("--drop", "8"), "8 layers, 0 to 7"), (("--drop", "0-7"), "at least one to stay"), (("--drop", "x"), "22-28"),
         (("--keep", "0-9"), "names layer 9"), (("--keep", "0-7"), "at least one has to go"),
         (("--layers", 8), "the model has 8"), (("--drop-layers", 8), "would drop 8"), (("--ratio", 1), "(0, 1)"),
         (("--ratio", 0.01), "would drop 0"), (("--protect", "9"), "names layer 9"),
         (("--criterion", "ppl", "--drop-layers", 3), "6 are protected"),
         (("--criterion", "bi", "--protect-first", 7), "7 are protected"),
         (("--protect", "0-6"), "7 are protected"), (("--criterion", "angulr"), "Did you mean 'angular'?"),
         (("--candidates", "bi,bi"), "each once"), (("--candidates", ""), "at least one criterion"),
         (("--drop", "1", "--keep", "0"), "not both"), (("--drop", "1", "--ratio", 0.3), "'ratio' or 'drop'"),
         (("--keep", "0-5", "--protect", "2"), "'protect' protects nothing"),
         (("--drop", "1", "--criterion", "bi"), "not both"),
         (("--heal", "last9"), "6 stay"), (("--heal", "all"), "'lora'"), (("--tied", "x"), "'untie'"),
         (("--seq-len", 4000), "4000 tokens"), (("--windows", 1000), "1000 documents"),
         (("--held-records", 200), "224 are held out"), (("--limit", 3), "3 records"),
         (("--max-length", 3), "--max-length"), (("--config", "x"), "KEY=JSON"),
         (("--dtype", "int8"), "'bfloat16'"), (("--device", "tpu"), "tpu"),
         (("--engine", "x"), "engine")],
        ids=lambda each: "".join(map(str, each[:2])) if isinstance(each, tuple) else "",
    )  # fmt: skip
    def test_options(self, prune, refused, options, words, tmp_path):
        result, folder = prune(*options, out=tmp_path / "run")
        refused(result, words)
        assert not (folder / "model").exists()

    def test_no_data(self, prune, refused, world, tmp_path):
        refused(prune("--heal", "last3", "--criterion", "reverse", data=False)[0], "--data FILE")
        refused(prune(data=False)[0], "--data FILE")
        refused(prune("--data", tmp_path / "absent.jsonl", data=False)[0], "absent.jsonl")
        refused(prune("--scores", tmp_path / "absent.csv", data=False)[0], "absent.csv")

    def test_too_few_records(self, prune, refused, tiny, tmp_path):
        few = tiny.write_rows(tmp_path / "few.jsonl", tiny.records(20))
        refused(prune("--data", few, data=False)[0], "20 records", "--held-records")

    def test_a_folder_that_holds_something_else(self, prune, refused, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("")
        refused(prune("--criterion", "reverse", data=False, out=tmp_path / "mine")[0], "choose another --out")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]

    def test_a_run_of_another_recipe(self, prune, refused, finished):
        refused(prune("--criterion", "reverse", out=finished[1])[0], "another recipe")

    def test_no_such_model(self, prune, refused, tmp_path):
        refused(prune("--criterion", "reverse", model=tmp_path / "absent", data=False)[0], "There is no model")


class TestBadModels:
    """Each is refused, and the folder of the run holds no model."""

    @pytest.fixture
    def copy(self, world, tmp_path):
        shutil.copytree(world / "base", tmp_path / "model")
        return tmp_path / "model"

    @pytest.fixture
    def refuse(self, prune, refused, tmp_path):
        def refuse(model, *words, options=("--criterion", "reverse")):
            result, out = prune(*options, model=model, data=False, out=tmp_path / "run")
            refused(result, *words)
            assert not (out / "model").exists()

        return refuse

    def config(self, model, **changes):
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    @pytest.fixture
    def sharded(self, world, copy):
        from transformers import AutoModelForCausalLM

        (copy / WEIGHTS).unlink()
        AutoModelForCausalLM.from_pretrained(world / "base", dtype="auto").save_pretrained(copy, max_shard_size="40KB")
        assert len(list(copy.glob("*.safetensors"))) > 2
        return copy

    def test_shards_are_fine(self, prune, sharded, world):
        _, folder = done(prune("--criterion", "reverse", model=sharded, data=False))
        assert is_cut_of(folder / "model", world / "base", list(range(6)))

    def test_a_shard_is_missing(self, sharded, refuse):
        gone = sorted(sharded.glob("*.safetensors"))[1]
        gone.unlink()
        refuse(sharded, gone.name, "is missing")

    def test_an_index_that_lies(self, sharded, refuse):
        path = sharded / f"{WEIGHTS}.index.json"
        index = json.loads(path.read_text())
        names = sorted(index["weight_map"])
        index["weight_map"][names[0]] = index["weight_map"][names[-1]]
        path.write_text(json.dumps(index))
        refuse(sharded, "does not fit", names[0])

    @pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:4], lambda b: b"", lambda b: b"\xff" * 64 + b,
                                        lambda b: b[:8] + b"{" * 50 + b[58:], lambda b: b + b"more"])  # fmt: skip
    def test_damaged_weights(self, copy, refuse, damage):
        (copy / WEIGHTS).write_bytes(damage((copy / WEIGHTS).read_bytes()))
        refuse(copy, WEIGHTS)

    def test_a_damaged_configuration(self, copy, refuse):
        (copy / "config.json").write_text("{")
        refuse(copy, "config.json")

    def test_more_layers_said_than_there_are(self, copy, refuse):
        self.config(copy, num_hidden_layers=9)
        refuse(copy, "9 layers")

    def test_an_encoder_and_a_decoder(self, copy, refuse):
        self.config(copy, model_type="t5", is_encoder_decoder=True, architectures=["T5ForConditionalGeneration"])
        refuse(copy, "encoder-decoder")

    def test_an_entry_for_each_layer_that_nobody_knows(self, copy, refuse, prune):
        self.config(copy, gains=[1, 2, 3, 4, 5, 6, 7, 8])
        refuse(copy, "'gains'", "--config gains=JSON")
        _, folder = done(prune("--criterion", "reverse", "--config", "gains=[1,2,3,4,5,6]", model=copy, data=False))
        assert json.loads((folder / "model" / "config.json").read_text())["gains"] == [1, 2, 3, 4, 5, 6]

    def test_a_norm_behind_the_layers(self, world, tiny, tmp_path, refuse, prune):
        import torch
        from transformers import Olmo2Config, Olmo2ForCausalLM

        model = tmp_path / "olmo"
        shutil.copytree(world / "base", model)
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
        with torch.random.fork_rng():
            Olmo2ForCausalLM(Olmo2Config(vocab_size=259, **sizes)).save_pretrained(model)
        refuse(model, "norm", "--allow-post-norm")
        done(prune("--criterion", "reverse", "--allow-post-norm", model=model, data=False))


def test_help_names_the_options():
    assert "--distill" in call("prune", "cut", "--help").stdout
    shown = call("prune", "--help").stdout
    assert "scores" in shown
    assert "cut" in shown
    assert call("prune").exit_code in (0, 2)


def test_seeds_change_what_is_random(prune):
    cuts = {tuple(done(prune("--criterion", "random", "--seed", seed, data=False))[0]["dropped"]) for seed in range(4)}
    assert len(cuts) > 1
    assert np.all([len(cut) == 2 for cut in cuts])
