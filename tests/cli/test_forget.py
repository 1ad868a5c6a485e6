"""``tamis forget`` on real digits: what a run leaves, what its certificate notices, and what it says of bad input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from tamis.cli.app import app
from tamis.engine import get_engine
from tamis.errors import RecipeError
from tamis.forget import job
from tamis.forget.comparison import Comparison
from tamis.forget.rerun import run_again
from tamis.recipe import Recipe
from tamis.runs import Run
from tamis.runs.digests import digest_file
from tamis.select import Selection
from tamis.toy.digits import digits_world

ANEW = ("--retrain", "--retrain-epochs", 2)


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return {"folder": folder, **digits_world(folder, seed=0)}


@pytest.fixture(scope="module")
def forget(world):
    made = []

    def forget(*more, model=None, data=None, out=None):
        made.append(out)
        out = world["folder"] / "runs" / f"run-{len(made)}" if out is None else out
        given = ("--data", data or world["data"], "--epochs", 1, "--out", out)
        return call("forget", model or world["model"], *given, *more), out

    return forget


def done(made):
    result, folder = made
    assert result.exit_code == 0, (result.stdout, result.stderr)
    return json.loads((folder / "manifest.json").read_text())["summary"], folder


@pytest.fixture(scope="module")
def finished(world, forget):
    """Two seeds, compared with training anew, stopped by held-out digits."""
    return done(forget("--share", 0.1, "--seed", 2, "--test", world["test"], "--held-out", world["held_out"],
                       "--seeds", 2, "--group", "label", *ANEW))  # fmt: skip


class TestRun:
    def test_what_it_leaves(self, finished):
        said, folder = finished
        for name in ("model/model.safetensors", "model/classifier.json", "selection.parquet", "evidence.parquet",
                     "report.html", "certificate/certificate.json"):  # fmt: skip
            assert (folder / name).is_file(), name
        assert (said["forget"], said["retain"], said["kind"]) == (130, 1170, "sample")
        assert said["metrics"].keys() == {"original", "edited", "retrained"}
        assert all(len(values) == 2 for values in said["metrics"]["edited"].values())

    def test_the_edited_model_is_another_one_that_works(self, world, finished):
        from tamis.models.classifier import find_classifier, load_classifier

        before, after = (find_classifier(str(each)) for each in (world["model"], finished[1] / "model"))
        assert before.fingerprint != after.fingerprint
        assert load_classifier(after)[0].in_features == 64

    def test_the_selection_says_what_was_to_be_forgotten(self, finished):
        frame = Selection.read(finished[1]).frame
        assert frame["decision"].value_counts().sort("decision").rows() == [("forget", 130), ("keep", 1170)]
        assert frame["reason"].null_count() == 0

    def test_the_evidence_has_intervals_around_its_values(self, finished):
        rows = pl.read_parquet(finished[1] / "evidence.parquet")
        assert {"UA", "RA", "TA", "MIA", "AUC"} <= set(rows["metric"])
        assert (rows["low"] <= rows["after"] + 1e-9).all()
        assert (rows["high"] >= rows["after"] - 1e-9).all()
        average = rows.filter(pl.col("metric").str.starts_with("average gap"))
        assert average["after"].item() == pytest.approx(finished[0]["gap"]["average"])
        assert len(rows.filter(pl.col("group").str.starts_with("class "))) == 10
        assert len(rows.filter(pl.col("group").str.starts_with("group "))) == 10

    def test_the_summary_names_what_cannot_be_said(self, forget, world):
        result, _ = forget("--class", 3)
        assert result.exit_code == 0
        assert "cannot say: how close the edited model is to a model trained anew" in result.stdout
        assert "cannot say: whether membership attacks succeed" in result.stdout
        for word in ("erased", "deleted", "removed"):
            assert word not in result.stdout

    def test_without_test_examples_three_metrics_are_not_measured(self, forget):
        said, _ = done(forget("--class", 3, *ANEW))
        assert said["metrics"]["edited"].keys() == {"UA", "RA"}
        assert said["gap"] is None

    def test_whole_classes(self, forget, world):
        said, folder = done(forget("--class", "3,5", "--test", world["test"]))
        rows = {row["metric"]: row for row in said["evidence"] if row["group"] == "edited"}
        assert rows["TA"]["n"] == int((~pl.read_csv(world["test"])["label"].is_in([3, 5])).sum())
        assert rows["AUC"]["low"] < rows["AUC"]["after"] < rows["AUC"]["high"]
        assert said["kind"] == "class"
        labels = pl.read_csv(world["data"])["label"]
        assert said["forget"] == int(labels.is_in([3, 5]).sum())
        assert json.loads((folder / "certificate" / "request.json").read_text())["gone"] == [3, 5]

    @pytest.mark.parametrize("way", ["column", "ids", "csv", "selection", "run"])
    def test_other_ways_to_name_what_goes(self, way, world, forget, tmp_path):
        data = pl.read_csv(world["data"])
        wanted = data.filter(pl.col("label") == 7)["id"].to_list()[:40]
        if way == "column":
            marked = data.with_columns(
                source=pl.when(pl.col("id").is_in(wanted)).then(pl.lit("bad")).otherwise(pl.lit("ok"))
            )
            marked.write_csv(tmp_path / "data.csv")
            said, folder = done(forget("--where", "source=bad", data=tmp_path / "data.csv"))
        elif way == "ids":
            (tmp_path / "ids.txt").write_text("\n".join(wanted) + "\n")
            said, folder = done(forget("--ids", tmp_path / "ids.txt"))
        elif way == "csv":
            pl.DataFrame({"id": wanted}).write_csv(tmp_path / "ids.csv")
            said, folder = done(forget("--ids", tmp_path / "ids.csv"))
        else:
            decision = pl.when(pl.col("id").is_in(wanted)).then(pl.lit("flag")).otherwise(pl.lit("keep"))
            target = tmp_path / "selection.parquet"
            Selection(data.select(unit_id="id", decision=decision)).write(target)
            said, folder = done(forget("--selection", target if way == "selection" else tmp_path))
        assert said["forget"] == 40
        chosen = Selection.read(folder).frame.filter(pl.col("decision") == "forget")["unit_id"].to_list()
        assert sorted(chosen) == sorted(wanted)

    def test_arrays(self, world, forget, tmp_path):
        data = pl.read_csv(world["data"])
        x = data.drop("id", "label").to_numpy().astype(np.float32)
        np.savez(tmp_path / "data.npz", x=x, y=data["label"].to_numpy(), id=data["id"].to_numpy().astype(str))
        said, _ = done(forget("--class", 3, data=tmp_path / "data.npz"))
        assert said["metrics"]["original"]["RA"][0] > 99

    @pytest.mark.parametrize("method", ["ugradsl", "fine-tune", "scrub"])
    def test_other_methods(self, forget, method):
        said, _ = done(forget("--share", 0.05, "--method", method))
        assert said["method"] == method

    def test_a_sweep_chooses_by_held_out_examples(self, world, forget):
        said, folder = done(forget("--class", 3, "--held-out", world["held_out"], "--sweep", "--p", 0.97))
        found = json.loads(next(folder.glob("steps/*-decide/findings.json")).read_text())
        rows = found["sweep"]
        assert len(rows) == 6
        assert sum(row["chosen"] for row in rows) == 1
        best = next(row for row in rows if row["chosen"])
        assert best["distance"] == min(row["distance"] for row in rows if row["distance"] is not None)
        assert all(found["method"]["params"][name] == best[name] for name in ("alpha", "p", "learning_rate"))
        assert said["metrics"]["edited"]["UA"][0] == pytest.approx(best["UA"])
        assert "The sweep" in (folder / "report.html").read_text()

    def test_an_identical_call_answers_from_what_is_there(self, finished, world):
        before = {path: path.stat().st_mtime_ns for path in (finished[1] / "steps").glob("*/model/*")}
        recipe = Recipe.from_yaml(finished[1] / "recipe.yaml")
        with Run.start(finished[1], recipe, command="") as run:
            assert job.forget(run, engine=get_engine("inline")) == finished[0]
        assert {path: path.stat().st_mtime_ns for path in before} == before

    def test_a_comparison_asked_for_later_finds_the_edit_done(self, world, forget):
        folders = [world["folder"] / "later" / name for name in ("edit", "compared")]
        done(forget("--share", 0.1, out=folders[0]))
        said, _ = done(forget("--share", 0.1, "--test", world["test"], "--compare", "ascent", *ANEW, out=folders[1]))
        events = [json.loads(line) for line in (folders[1] / "ledger.jsonl").read_text().splitlines()]
        assert any(event.get("event") == "reused" and "edited" in event["step"] for event in events), events
        rows = [row for row in said["evidence"] if row["group"] == "ascent"]
        assert {"UA", "RA", "TA", "MIA", "average gap to retraining (points)"} <= {row["metric"] for row in rows}
        assert call("forget", "verify", folders[1]).exit_code == 0

    def test_wrong_labels_are_aimed_at_by_hand(self, world, forget, tmp_path):
        """The network got none of them right to begin with, so that held-out examples are no measure for them."""
        data = pl.read_csv(world["data"], infer_schema=False)
        wrong = pl.int_range(pl.len()) % 10 == 3
        turned = ((pl.col("label").cast(pl.Int64) + 1) % 10).cast(pl.String)
        data.with_columns(label=pl.when(wrong).then(turned).otherwise("label")).write_csv(tmp_path / "data.csv")
        (tmp_path / "ids.txt").write_text("\n".join(data.filter(wrong)["id"]))
        given = ("--ids", tmp_path / "ids.txt", "--held-out", world["held_out"])
        said, _ = done(forget(*given, data=tmp_path / "data.csv"))
        assert any("the usual aim does not fit" in warning for warning in said["warnings"])
        said, _ = done(forget(*given, "--aim", 0, data=tmp_path / "data.csv"))
        assert not any("the usual aim" in warning for warning in said["warnings"])

    def test_a_way_that_cannot_run_is_said_and_the_others_go_on(self, world, forget, monkeypatch):
        def refuse(self, *args, **more):
            raise RecipeError("It cannot run here.")

        monkeypatch.setattr("tamis.forget.baselines.SalUn.apply", refuse)
        said, folder = done(forget("--share", 0.1, "--test", world["test"], "--compare", "salun,ascent", *ANEW))
        assert "salun was not run beside it: It cannot run here" in said["warnings"]
        assert {row["group"] for row in said["evidence"]} >= {"edited", "ascent"}
        assert "was not run beside it: It cannot run here" in (folder / "report.html").read_text()

    def test_more_seeds_and_other_ways_asked_for_later_repeat_nothing(self, world, forget, tmp_path):
        first, second = (("--share", 0.1, "--test", world["test"], *ANEW, *more)
                         for more in ((), ("--seeds", 2, "--compare", "ascent")))  # fmt: skip
        done(forget(*first, out=tmp_path / "first"))
        done(forget(*second, out=tmp_path / "second"))
        events = [json.loads(line) for line in (tmp_path / "second" / "ledger.jsonl").read_text().splitlines()]
        reused = [event["step"].partition("-")[2] for event in events if event["event"] == "reused"]
        assert reused == ["edited-0", "retrained-0"]

    def test_another_network_in_the_same_folder_gives_another_edit(self, world, forget, tmp_path):
        model, out = shutil.copytree(world["model"], tmp_path / "model"), tmp_path / "run"
        done(forget("--class", 3, model=model, out=out))
        first = (out / "model" / "model.safetensors").read_bytes()
        shutil.copy(out / "model" / "model.safetensors", model / "model.safetensors")
        done(forget("--class", 3, model=model, out=out))
        assert (out / "model" / "model.safetensors").read_bytes() != first
        assert call("forget", "verify", out).exit_code == 0

    def test_examples_that_were_trained_on_are_no_held_out_ones(self, world, forget, refused, tmp_path):
        refused(forget("--class", 3, "--held-out", world["data"], out=tmp_path / "run")[0], "training examples too")
        data, test = (pl.read_csv(world[role]) for role in ("data", "test"))
        pl.concat([test, data[:2].with_columns(id=pl.lit("x") + pl.col("id"))]).write_csv(tmp_path / "test.csv")
        said, _ = done(forget("--class", 3, "--test", tmp_path / "test.csv"))
        assert any("2 of 302 test examples are training examples too" in warning for warning in said["warnings"])

    def test_a_plan_computes_nothing(self, forget, world, tmp_path):
        result, folder = forget("--share", 0.1, "--dry-run", *ANEW, out=tmp_path / "run")
        assert result.exit_code == 0
        assert "forget 130 of 1,300 examples" in result.stdout
        assert "trained anew, 2 epochs" in result.stdout
        assert "no test examples" in result.stdout
        assert not folder.exists()


class TestWhy:
    @pytest.mark.parametrize("decision", ["forget", "keep"])
    def test_it_tells_what_each_model_says_of_an_example(self, finished, decision):
        folder = finished[1]
        unit = Selection.read(folder).frame.filter(pl.col("decision") == decision)["unit_id"][3]
        found = json.loads(call("why", folder, unit, "--json").stdout)
        assert (found["unit_id"], found["decision"]) == (unit, decision)
        assert found["split"] == {"forget": "forget", "keep": "retain"}[decision]
        assert found["request"] == {"by": "share", "value": 0.1}
        stored = pl.read_parquet(folder / "certificate" / "predictions.parquet").filter(pl.col("id") == unit)
        assert found["label"] == str(stored["label"][0])
        for model, said in found["predictions"].items():
            rows = stored.filter(pl.col("model") == model)
            assert said["confidence"] == pytest.approx(rows["confidence"].mean())
            assert said["predicted"] == dict(rows["predicted"].cast(pl.String).value_counts().iter_rows())
        assert found["predictions"].keys() == {"original", "edited", "retrained"}
        shown = call("why", folder, unit).stdout
        assert shown.startswith(f"{unit}: {decision}\n")
        assert "request: share 0.1" in shown
        assert "of 2 seeds" in shown

    def test_an_unknown_example(self, finished, refused):
        refused(call("why", finished[1], "digit-9999"), "no unit 'digit-9999'", "Did you mean")
        refused(call("why", finished[1], "digit-"), "begins several ids")


def sealed(folder):
    """What a forger does last: the digest of the certificate fits again."""
    target = folder / "certificate"
    (target / "certificate.digest").write_text(digest_file(target / "certificate.json"))


class TestVerify:
    def test_it_holds(self, finished):
        result = call("forget", "verify", finished[1])
        assert result.exit_code == 0, result.stderr
        assert "holds" in result.stdout
        said = json.loads(call("forget", "verify", finished[1], "--json").stdout)
        assert (said["holds"], said["not_checked"]) == (True, [])
        again = [check["what"] for check in said["checks"] if check["what"].startswith("predictions of")]
        assert len(again) == 10  # the original, two edited, two trained anew; two files

    @pytest.mark.parametrize("name", ["model/model.safetensors", "model/classifier.json", "certificate/request.json",
                                      "certificate/predictions.parquet", "certificate/evidence.parquet",
                                      "selection.parquet", "evidence.parquet"])  # fmt: skip
    def test_one_byte_is_noticed(self, finished, name, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(bytes(data))
        result = call("forget", "verify", copy)
        assert result.exit_code == 2
        assert f"differs: {name}" in result.stderr
        assert json.loads(call("forget", "verify", copy, "--json").stdout)["holds"] is False

    @pytest.mark.parametrize("name", ["certificate.json", "certificate.digest"])
    def test_a_byte_of_the_certificate_itself_is_noticed(self, finished, name, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        path = copy / "certificate" / name
        data = path.read_text()
        path.write_text(data.replace("This", "Thus", 1) if name == "certificate.json" else f"~{data[1:]}")
        result = call("forget", "verify", copy)
        assert result.exit_code == 2
        assert "differs: certificate/certificate.json" in result.stderr

    def test_a_model_of_another_seed_that_changed_is_noticed(self, finished, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        path = next(copy.glob("steps/*-retrained-1/model/model.safetensors"))
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        result = call("forget", "verify", copy)
        assert result.exit_code == 2
        assert "differs: the retrained model of seed 1: expected" in result.stderr

    @pytest.mark.parametrize(("change", "words"), [("gap", "the gaps"), ("evidence", "rows of the evidence"),
                                                   ("request", "ids of the request")])  # fmt: skip
    def test_results_that_were_forged_with_all_digests_are_noticed(self, finished, change, words, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        target = copy / "certificate"
        said = json.loads((target / "certificate.json").read_text())
        if change == "gap":
            said["gap"]["average"] /= 2
        elif change == "evidence":
            frame = pl.read_parquet(target / "evidence.parquet").with_columns(pl.col("after") / 2)
            frame.write_parquet(target / "evidence.parquet")
        else:
            asked = json.loads((target / "request.json").read_text())
            (target / "request.json").write_text(json.dumps({**asked, "ids": asked["ids"][1:]}))
        said["files"] = {name: digest_file(target / name) for name in said["files"]}
        (target / "certificate.json").write_text(json.dumps(said))
        sealed(copy)
        result = call("forget", "verify", copy, "--files-only")
        assert result.exit_code == 2
        assert f"differs: {words}" in result.stderr

    def test_a_metric_that_was_written_by_hand_is_noticed(self, finished, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        path = copy / "certificate" / "certificate.json"
        said = json.loads(path.read_text())
        said["metrics"]["edited"]["UA"][0] += 1
        path.write_text(json.dumps(said))
        sealed(copy)
        result = call("forget", "verify", copy)
        assert result.exit_code == 2
        assert "UA of the edited model" in result.stderr

    def test_predictions_that_were_forged_with_all_digests_are_noticed(self, finished, tmp_path):
        """The forger says that the edited model gets what was to be forgotten wrong."""
        copy = shutil.copytree(finished[1], tmp_path / "run")
        path, target = copy / "certificate" / "certificate.json", copy / "certificate" / "predictions.parquet"
        forged = (pl.col("model") == "edited") & (pl.col("split") == "forget")
        changed = {"predicted": (pl.col("label") + 1) % 10, "confidence": 0.01, "margin": -4.6}
        frame = pl.read_parquet(target).with_columns(
            pl.when(forged).then(value).otherwise(name).alias(name) for name, value in changed.items()
        )
        frame.write_parquet(target)
        said = json.loads(path.read_text())
        gone = json.loads((copy / "certificate" / "request.json").read_text())["gone"]
        forged = Comparison(frame, forgotten_classes=gone, seconds=said["seconds"], seed=0)
        forged.evidence().frame.write_parquet(copy / "certificate" / "evidence.parquet")
        said |= {"metrics": forged.metrics, "gap": forged.gap()}
        said["files"] = {name: digest_file(copy / "certificate" / name) for name in said["files"]}
        path.write_text(json.dumps(said))
        sealed(copy)
        assert call("forget", "verify", copy, "--files-only").exit_code == 0
        result = call("forget", "verify", copy)
        assert result.exit_code == 2
        assert result.stderr.count("expected all 1300 as stored, got 130 that differ") == 2, result.stderr

    def test_rows_that_stand_in_for_others_are_noticed(self, finished, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        said = json.loads((copy / "certificate" / "certificate.json").read_text())
        frame = pl.read_parquet(copy / "certificate" / "predictions.parquet")
        found, skipped = run_again(copy, said, pl.concat([frame[:-1], frame[-2:-1]]), network=None)
        assert [n for _, n, _ in found if n] == [2]
        assert skipped == []

    def test_what_is_gone_or_another_is_not_checked(self, world, finished, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        recipe = Recipe.from_yaml(copy / "recipe.yaml")
        (tmp_path / "data.csv").write_text("id,label\n")
        inputs = {**recipe.inputs, "data": str(tmp_path / "data.csv"), "test": str(tmp_path / "none.csv")}
        (copy / "recipe.yaml").write_text(recipe.model_copy(update={"inputs": inputs}).to_yaml())
        shutil.rmtree(next(copy.glob("steps/*-retrained-1")))
        result = call("forget", "verify", copy)
        assert result.exit_code == 0, result.stderr
        assert "not checked: predictions on the data file" in result.stdout
        assert "not checked: predictions on the test file: There is no file" in result.stdout
        assert "not checked: predictions of the retrained model of seed 1: There is no folder" in result.stdout
        said = json.loads(call("forget", "verify", copy, "--json").stdout)
        assert (said["holds"], len(said["not_checked"])) == (True, 3)
        assert not any("predictions of" in check["what"] for check in said["checks"])

    def test_code_is_run_only_if_the_reader_names_it(self, finished):
        result = call("forget", "verify", finished[1], "--network", "os:getcwd")
        assert result.exit_code == 0
        assert "not checked: all predictions: the network was made by none" in result.stdout

    def test_files_that_are_lost_or_new_are_noticed(self, finished, tmp_path):
        copy = shutil.copytree(finished[1], tmp_path / "run")
        (copy / "model" / "classifier.json").unlink()
        (copy / "model" / "extra.json").write_text("{}")
        said = call("forget", "verify", copy).stderr
        assert "no such file" in said
        assert "extra.json" in said

    def test_no_certificate(self, refused, tmp_path):
        refused(call("forget", "verify", tmp_path), "holds no certificate")


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "words"),
        [((), "Got nothing"), (("--class", 3, "--share", 0.1), "classes and share"), (("--share", 1), "(0, 1)"),
         (("--class", 11), "No example has the class 11"), (("--class", "x"), "no class 'x'"),
         (("--where", "nope=1"), "COLUMN=VALUE"), (("--where", "label=77"), "nothing to forget"),
         (("--class", 3, "--alpha", 0.5), "the sign is wrong"), (("--class", 3, "--alpha", "best"), "'deniability'"),
         (("--class", 3, "--method", "ugrad"), "Did you mean"), (("--class", 3, "--compare", "ascend"), "'ascent'"),
         (("--class", 3, "--seeds", 0), "seeds"),
         (("--class", 3, "--aim", 0), "--held-out"), (("--class", 3, "--compare", "ugradsl+"), "others than itself"),
         (("--class", 3, "--label", "lable"), "Did you mean 'label'"),
         (("--class", 3, "--method", "scrub", "--p", 0.5), "'p'"), (("--class", 3, "--sweep"), "--held-out"),
         (("--class", 3, "--sweep", "--method", "scrub"), "parameters of UGradSL"),
         (("--class", 3, "--network", "x"), "MODULE:FUNCTION"), (("--class", "0,1,2,3,4,5,6,7,8,9"), "nothing is left"),
         (("--class", 3, "--batch-rows", 0), "batch_rows"), (("--class", 3, "--repair", -1), "repair"),
         (("--class", 3, "--id-column", "none"), "none")],
        ids=lambda each: " ".join(map(str, each)) if isinstance(each, tuple) else "",
    )  # fmt: skip
    def test_options(self, forget, refused, options, words, tmp_path):
        result, folder = forget(*options, out=tmp_path / "run")
        refused(result, words)
        assert not (folder / "selection.parquet").exists()

    def test_ids_that_are_not_there(self, forget, refused, tmp_path):
        (tmp_path / "ids.txt").write_text("digit-9999\n")
        refused(forget("--ids", tmp_path / "ids.txt")[0], "1 of 1 ids", "digit-9999")
        (tmp_path / "none.txt").write_text("\n")
        refused(forget("--ids", tmp_path / "none.txt")[0], "has no lines")
        pl.DataFrame({"name": ["x"]}).write_csv(tmp_path / "names.csv")
        refused(forget("--ids", tmp_path / "names.csv")[0], "no column 'id'")
        refused(forget("--ids", tmp_path / "none.txt", "--selection", tmp_path)[0], "not both")

    @pytest.mark.parametrize(
        ("change", "words"),
        [(pl.col("pixel_3").cast(pl.String) + "x", "are no numbers"),
         (pl.when(pl.col("id").str.ends_with("7")).then(None).otherwise("pixel_3").alias("pixel_3"), "missing values"),
         ((pl.col("label") + 1).alias("label"), "label at position"), (pl.lit("a").alias("label"), "no number from 0"),
         (pl.lit(-1).alias("label"), "Got -1")],
    )  # fmt: skip
    def test_data_that_do_not_fit(self, world, forget, refused, change, words, tmp_path):
        pl.read_csv(world["data"]).with_columns(change).write_csv(tmp_path / "data.csv")
        refused(forget("--share", 0.1, data=tmp_path / "data.csv")[0], words)

    def test_columns_that_are_missing(self, world, forget, refused, tmp_path):
        pl.read_csv(world["data"]).drop("pixel_3").write_csv(tmp_path / "data.csv")
        refused(forget("--share", 0.1, data=tmp_path / "data.csv")[0], "lacks the features", "pixel_3")

    def test_training_anew_needs_to_know_how(self, world, forget, refused, tmp_path):
        model = shutil.copytree(world["model"], tmp_path / "model")
        said = json.loads((model / "classifier.json").read_text())
        del said["training"]
        (model / "classifier.json").write_text(json.dumps(said))
        refused(forget("--share", 0.1, "--retrain", model=model)[0], "--retrain-epochs")

    def test_a_training_that_does_not_exist(self, world, forget, refused, tmp_path):
        model = shutil.copytree(world["model"], tmp_path / "model")
        said = json.loads((model / "classifier.json").read_text())
        said["training"]["epoch"] = 3
        (model / "classifier.json").write_text(json.dumps(said))
        refused(forget("--share", 0.1, "--retrain", model=model)[0], "no 'epoch'", "Did you mean 'epochs'")

    def test_no_model(self, forget, refused, tmp_path):
        refused(forget("--share", 0.1, model=tmp_path / "none")[0], "There is no folder")

    def test_damaged_arrays(self, forget, refused, tmp_path):
        (tmp_path / "data.npz").write_bytes(b"PK no")
        refused(forget("--share", 0.1, data=tmp_path / "data.npz")[0], "cannot be read")
        np.savez(tmp_path / "few.npz", x=np.zeros((3, 64)), y=np.zeros(2))
        refused(forget("--share", 0.1, data=tmp_path / "few.npz")[0], "3 inputs and 2 labels")
        for ids, words in (("ab", "2 ids and 3 labels"), ("aba", "must be unique, but 'a'")):
            np.savez(tmp_path / "ids.npz", x=np.zeros((3, 64)), y=np.zeros(3), id=np.array(list(ids)))
            refused(forget("--share", 0.1, data=tmp_path / "ids.npz")[0], words)
        np.savez(tmp_path / "none.npz", x=np.zeros((3, 64)))
        refused(forget("--share", 0.1, data=tmp_path / "none.npz")[0], "no array 'y'")


def test_the_demo(tmp_path):
    result = call("forget", "demo", "--out", tmp_path / "demo", "--seeds", 1, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["forget"] == 130
    assert said["metrics"].keys() == {"original", "edited", "retrained"}
    assert said["gap"]["average"] < said["gap"]["original"]
    assert call("forget", "verify", tmp_path / "demo").exit_code == 0
