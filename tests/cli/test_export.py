import json
import shutil

import numpy as np
import polars as pl
import pytest
import typer
import yaml
from typer.testing import CliRunner

from tamis.cli import export as verb
from tamis.data.token_rows import TokenRows
from tamis.recipe import Recipe
from tamis.runs import Run
from tamis.runs.atomic import PREFIX

ROWS = TokenRows.from_lists(
    ["a", "b", "c"],
    [[5, 6, 7, 8], [5, 9], [5, 10, 11]],
    [[False, False, True, True], [False, True], [False, True, True]],
)
KEEP = np.array([False, False, True, False, False, False, False, True, True])
SCORE = np.where(ROWS.response, np.float32(0.5), np.float32("nan"))
EXACT = ("trl", "axolotl", "llama-factory", "parquet")


def make_run(folder, *, method="tokens", status="complete", keep=KEEP, base="no-such-model"):
    """A finished run directory, as 'tamis tokens' leaves it."""
    pool = folder.parent / "pool.jsonl"
    pool.write_text('{"prompt": "q", "response": "a"}\n')
    recipe = Recipe(method=method, inputs={"pool": str(pool)}, params={"base": base, "keep": 0.6})
    with Run.start(folder, recipe, command="tamis tokens") as run:
        run.step("score").finish()
        if method == "tokens":
            ROWS.to_frame(keep=keep, score=SCORE).write_parquet(folder / "tokens.parquet")
        if status != "running":
            run.finish(status, {})
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def export():
    """Run the verb in this process; returns the result with exit_code, stdout and stderr."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb.export)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def data_of(folder):
    (path,) = (p for p in folder.glob("tokens-*") if p.suffix != ".yaml")
    return path


@pytest.mark.parametrize("format", EXACT)
def test_each_format_lands_in_the_run(export, run, format):
    result = export(run, "--format", format, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["out"] == str(run / f"export-{format}")
    assert (found["rows"], found["left_out"], found["tokens"], found["kept"]) == (2, 1, 7, 3)
    assert found["files"][0] == str(data_of(run / f"export-{format}"))
    assert len(found["usage"]) == 2
    if format != "llama-factory":
        frame = pl.read_parquet(found["files"][0])
        assert frame["labels"].to_list() == [[-100, -100, 7, -100], [-100, 10, 11]]
        assert ("score" in frame.columns) == (format == "parquet")
    marker = json.loads((run / f"export-{format}" / "export.json").read_text())
    assert marker["whole"] is True
    assert marker["run_id"] == Run.open(run).manifest["run_id"]
    assert marker["base"] == "no-such-model", "only segments need the tokenizer"


def test_what_is_printed_tells_what_to_do(export, run):
    said = export(run, "--format", "trl").stdout
    lines = said.splitlines()
    assert lines[0] == (
        "wrote 2 records with 7 tokens, 3 of them trained on; 1 left out, since none of their tokens is kept"
    )
    assert lines[1] == str(data_of(run / "export-trl"))
    assert lines[2:] == [
        "use it with trl:",
        f'  data = load_dataset("parquet", data_files="{data_of(run / "export-trl").resolve()}", split="train")',
        "  SFTTrainer(model, train_dataset=data, args=SFTConfig(max_length=4, completion_only_loss=True))",
    ]
    said = export(run, "--format", "llama-factory").stdout
    entry = yaml.safe_load(said.split("use it with llama-factory:\n")[1])
    assert entry == {"tokenized_path": str(data_of(run / "export-llama-factory")), "dataset": "tamis"}
    assert "incomplete" not in said


def test_the_usage_of_plain_parquet_runs(export, run):
    lines = json.loads(export(run, "--format", "parquet", "--json").stdout)["usage"]
    scope = {"polars": pl}
    exec("\n".join(lines), scope)
    assert scope["labels"].to_list()[1] == [-100, 10, 11]


def test_empty_records_on_demand_and_a_folder_of_ones_own(export, run, tmp_path):
    result = export(run, "--format", "axolotl", "--out", tmp_path / "deep" / "er", "--keep-empty")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("wrote 3 records with 9 tokens, 3 of them trained on\n")
    entry = yaml.safe_load(next((tmp_path / "deep" / "er").glob("*.yaml")).read_text())
    assert entry["datasets"][0]["path"] == str(data_of(tmp_path / "deep" / "er"))


@pytest.mark.parametrize("format", ["axolotl", "llama-factory"])
def test_another_mask_has_another_name_and_the_old_one_is_gone(export, run, tmp_path, format):
    """Trainers cache what they prepared by the name of the file."""
    out = tmp_path / "out"
    names = []
    other = make_run(tmp_path / "other", keep=ROWS.response)
    for source, more in ((run, []), (run, ["--keep-empty"]), (other, []), (run, [])):
        assert export(source, "--format", format, "--out", out, *more).exit_code == 0
        names.append(data_of(out).name)
        assert len(list(out.iterdir())) == (3 if format == "axolotl" else 2), "data, note, marker"
    assert len(set(names[:3])) == 3
    assert names[3] == names[0]


def test_an_export_is_repeated_byte_for_byte(export, run):
    def content():
        return {p.name: p.read_bytes() for p in (run / "export-trl").rglob("*") if p.is_file()}

    export(run, "--format", "trl")
    first = content()
    export(run, "--format", "trl")
    assert content() == first


def test_a_killed_export_is_taken_over(export, run):
    out = run / "export-trl"
    for left in ([f"{PREFIX}7-export.json"], ["export.json", f"{PREFIX}7-tokens-00000000.parquet"]):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name in left:
            (out / name).write_text('{"whole": false}')
        assert export(run, "--format", "trl").exit_code == 0
        assert sorted(p.name for p in out.iterdir()) == ["export.json", data_of(out).name]


def test_a_failed_export_says_so_in_its_marker(export, run, monkeypatch):
    from tamis.data.writers import token_masks

    def full(*_):
        raise OSError(28, "No space left on device", "disk")

    monkeypatch.setitem(token_masks._WRITERS, ".parquet", full)
    result = export(run, "--format", "trl")
    assert result.exit_code == 2
    assert result.stderr.strip() == "tamis: No space left on device: disk."
    assert json.loads((run / "export-trl" / "export.json").read_text()) == {"whole": False}


def test_an_incomplete_run_is_exported_and_said_to_be(export, tmp_path):
    run = make_run(tmp_path / "run", status="incomplete")
    result = export(run, "--format", "trl")
    assert result.exit_code == 0
    assert "the run is incomplete: tokens that could not be measured are not trained on" in result.stdout


def test_an_export_does_not_hinder_the_run(export, run):
    """The run's own folder is still one: it opens, and starts again."""
    for format in EXACT:
        assert export(run, "--format", format).exit_code == 0
    recipe = Run.open(run).recipe
    Run.start(run, recipe, command="tamis resume").close()


def test_only_finished_runs_of_the_method(export, tmp_path, refused):
    refused(export(tmp_path / "none", "--format", "trl"), "is not a run directory")
    refused(export(tmp_path, "--format", "trl"), "is not a run directory")
    other = make_run(tmp_path / "ds2", method="ds2")
    refused(export(other, "--format", "trl"), "is a run of 'ds2', which masks no tokens", "'tamis tokens'")
    begun = make_run(tmp_path / "begun", status="running")
    refused(export(begun, "--format", "trl"), "is not finished", f"tamis resume {begun}")
    bare = make_run(tmp_path / "bare")
    (bare / "tokens.parquet").unlink()
    refused(export(bare, "--format", "trl"), "has no tokens.parquet")
    assert not (bare / "export-trl").exists()


def test_bad_options(export, run, tmp_path, refused):
    refused(export(run, "--format", "axolot"), "no trainer format 'axolot'", "Did you mean 'axolotl'?")
    assert export(run).exit_code == 2, "the format must be said"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    refused(export(run, "--format", "trl", "--out", tmp_path / "mine"), "exists and is no export of tamis")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    refused(export(run, "--format", "trl", "--out", run), "exists and is no export of tamis")
    refused(export(run, "--format", "trl", "--out", run / "tokens.parquet"), "is a file")


def test_damaged_data(export, run, refused):
    (run / "tokens.parquet").write_text("no parquet")
    refused(export(run, "--format", "trl"), "is not what 'tamis tokens' writes")
    ROWS.to_frame().write_parquet(run / "tokens.parquet")
    refused(export(run, "--format", "trl"), "is not what 'tamis tokens' writes")
    ROWS.to_frame(keep=np.zeros(9, bool)).write_parquet(run / "tokens.parquet")
    refused(export(run, "--format", "trl"), "of 3 records none keeps a token")


def test_errors_are_json_too(export, run):
    result = export(run, "--format", "nothing", "--json")
    assert json.loads(result.stdout)["kind"] == "RecipeError"


def test_segments_need_the_base_model(export, run, refused):
    refused(export(run, "--format", "axolotl-segments"), "There is no model 'no-such-model'")
    assert not (run / "export-axolotl-segments").exists()
    nameless = make_run(run.parent / "nameless", base=None)
    refused(export(nameless, "--format", "axolotl-segments"), "names no base model")
