"""The main job on the shipped data with the real embedder, as a newcomer runs it."""

import json
import shutil
import subprocess

import polars as pl
import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def finished(dolly_slice, root, tmp_path_factory):
    """Give the run directory of one curation of 300 real records, and what it printed."""
    import os
    import sys

    folder = tmp_path_factory.mktemp("main")
    out = folder / "run"
    done = subprocess.run(
        [sys.executable, "-m", "tamis", "curate", str(dolly_slice), "--ratings",
         str(root / "examples" / "dolly_ratings.parquet"), "--budget", "30", "--group", "category", "--out", str(out),
         "--json"],
        capture_output=True, text=True, env={**os.environ, "TAMIS_CACHE": str(folder / "cache")}, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_the_summary_says_what_was_done(finished):
    out, summary = finished
    assert (summary["rows"], summary["keep"], summary["drop"], summary["undecided"]) == (300, 30, 270, 0)
    assert summary["raters"]["smollm2-135m"]["measured"] == 300
    assert pl.read_parquet(out / "selection.parquet").height == 300


def test_the_subset_is_in_the_format_that_came_in(finished, dolly_slice):
    out, _ = finished
    came_in = dolly_slice.read_text(encoding="utf-8").splitlines()
    kept = (out / "selected.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(kept) == 30
    rows = [json.loads(line) for line in came_in]
    assert all(json.loads(line) in rows for line in kept)


def test_why_names_the_record_and_its_neighbours(finished, tamis):
    out, _ = finished
    unit = pl.read_parquet(out / "selection.parquet").filter(pl.col("rank") == 0)["unit_id"][0]
    told = tamis("why", out, unit[:10])
    assert told.returncode == 0
    assert told.stdout.startswith(f"{unit}: keep, rank 1\n")
    assert "nearest neighbours" in told.stdout
    found = json.loads(tamis("why", out, unit, "--json").stdout)
    assert found["unit_id"] == unit
    assert len(found["neighbors"]) == 5


def test_a_finished_run_can_be_repeated_without_work(finished, tamis):
    out, _ = finished
    before = (out / "selection.parquet").read_bytes()
    again = tamis("resume", out)
    assert again.returncode == 0
    assert "embed:" not in again.stderr
    assert (out / "selection.parquet").read_bytes() == before
    assert json.loads(tamis("status", out, "--json").stdout)["status"] == "complete"


def test_the_demo(dolly_slice, root, tmp_path, monkeypatch):
    """The demo's own path through the command line, on a slice of its data: all of it takes minutes."""
    from typer.testing import CliRunner

    from tamis.cli import demo
    from tamis.cli.app import app

    assert demo.examples_folder() == root / "examples"
    folder = tmp_path / "examples"
    folder.mkdir()
    lines = dolly_slice.read_text(encoding="utf-8").splitlines(keepends=True)[:80]
    (folder / "dolly.jsonl").write_text("".join(lines), encoding="utf-8")
    shutil.copy(root / "examples" / "dolly_ratings.parquet", folder)
    monkeypatch.setattr(demo, "examples_folder", lambda: folder)
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    shown = CliRunner().invoke(app, ["demo", "--budget", "10", "--out", str(tmp_path / "run")], catch_exceptions=False)
    assert shown.exit_code == 0, shown.stderr
    assert f"report            {tmp_path / 'run' / 'report.html'}" in shown.stdout


@pytest.mark.parametrize("dark", [False, True])
def test_the_report_opens_in_a_browser(finished, opens_in_a_browser, dark):
    opens_in_a_browser(finished[0] / "report.html", dark=dark)
