import json
import subprocess
import sys

import polars as pl
import pytest


def test_version_and_help(call):
    assert call("--version").stdout.startswith("tamis 0.")
    shown = call("--help").stdout
    for verb in ("curate", "resume", "status", "why", "report", "methods", "doctor", "demo"):
        assert verb in shown
    assert call().exit_code in (0, 2)
    assert call("nosuchverb").exit_code == 2


def test_methods_and_doctor_speak_json(call):
    assert json.loads(call("methods", "--json").stdout)["ds2"]["verb"] == "curate"
    assert "arXiv 2410.10877" in call("methods").stdout
    found = json.loads(call("doctor", "--json").stdout)
    assert found["packages"]["core"]["numpy"]
    assert call("doctor").exit_code == 0


def test_curate_prints_a_summary(curate, pool):
    result = curate("--group", "kind")
    assert result.exit_code == 0
    assert result.stdout.startswith("kept 10 of 60 records (budget 10), dropped 50\n")
    assert (pool / "run" / "report.html").exists()
    again = json.loads(curate("--group", "kind", "--json").stdout)
    assert again["keep"] == 10


def test_quiet_says_nothing(curate):
    result = curate("--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_missing_ratings_make_the_run_incomplete(curate, pool, call):
    rows = [json.loads(line) for line in (pool / "pool.jsonl").read_text().splitlines()]
    for row in rows[:5]:
        row["rating"] = None
    (pool / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = curate("--json")
    assert result.exit_code == 0, "the budget could be filled"
    assert json.loads(result.stdout)["undecided"] == 5
    assert json.loads(call("status", pool / "run", "--json").stdout)["status"] == "incomplete"
    assert curate(budget=58, out="more").exit_code == 3, "the budget could not be filled"
    kept = pl.read_parquet(pool / "more" / "selection.parquet").filter(pl.col("decision") == "keep")
    assert kept.height == 55


def test_a_rating_file_with_two_raters(curate, pool, call):
    import tamis

    ids = tamis.read(pool / "pool.jsonl").ids.to_list()
    rows = [{"unit_id": u, "rater": r, "value": 1 + 4 * ((i >= 30) ^ (r == "b" and i % 10 == 0))}
            for i, u in enumerate(ids) for r in "ab"]  # fmt: skip
    pl.DataFrame(rows).write_csv(pool / "ratings.csv")
    result = curate("--json", ratings=pool / "ratings.csv")
    assert result.exit_code == 0, result.stderr
    assert set(json.loads(result.stdout)["raters"]) == {"a", "b"}
    told = json.loads(call("why", pool / "run", ids[0], "--json").stdout)
    assert [r["rater"] for r in told["ratings"]] == ["a", "b"]
    text = call("why", pool / "run", ids[0]).stdout
    assert "a: rated" in text
    assert "b: rated" in text


def test_report_is_drawn_again_from_the_run_alone(curate, pool, call):
    curate()
    first = (pool / "run" / "report.html").read_bytes()
    (pool / "run" / "report.html").unlink()
    (pool / "pool.jsonl").unlink()
    found = json.loads(call("report", pool / "run", "--json").stdout)
    assert found["bytes"] == len(first)
    assert (pool / "run" / "report.html").read_bytes() == first


def test_other_formats_come_back_as_they_came(curate, pool, call):
    frame = pl.read_ndjson(pool / "pool.jsonl")
    frame.write_csv(pool / "pool.csv")
    frame.write_parquet(pool / "pool.parquet")
    for name in ("csv", "parquet"):
        assert curate(source=f"pool.{name}", out=name).exit_code == 0
        assert (pool / name / f"selected.{name}").exists()
    kept = pl.read_csv(pool / "csv" / "selected.csv")
    assert kept.columns == frame.columns
    assert kept.sort("prompt").equals(pl.read_parquet(pool / "parquet" / "selected.parquet").sort("prompt"))


def test_the_graph_of_another_pool_is_not_taken_over(curate, pool, call):
    """The same vectors, looked up by id, belong to other records: a run beside must search anew."""
    import numpy as np

    rows = [json.loads(line) for line in (pool / "pool.jsonl").read_text().splitlines()]
    ids = [f"r{i:02d}" for i in range(60)]
    pl.DataFrame({"id": ids, "v": np.load(pool / "vectors.npy")}).write_parquet(pool / "v.parquet")
    for name, order in {"a": ids, "b": ids[::-1][:40]}.items():
        lines = [json.dumps({"id": i, **row}) + "\n" for i, row in zip(order, rows, strict=False)]
        (pool / f"{name}.jsonl").write_text("".join(lines))
    for folder, names in {"together": "ab", "alone": "b"}.items():
        (pool / folder).mkdir()
        for name in names:
            done = curate(source=f"{name}.jsonl", embeddings="v.parquet", out=f"{folder}/{name}")
            assert done.exit_code == 0, done.stderr
    together, alone = ((pool / f / "b" / "selection.parquet").read_bytes() for f in ("together", "alone"))
    assert together == alone


def test_a_matrix_that_is_not_usable_corrects_nothing_but_hides_no_doubt(curate, pool, call):
    import numpy as np

    rows = [json.loads(line) for line in (pool / "pool.jsonl").read_text().splitlines()]
    for row, rating in zip(rows, np.random.default_rng(0).permutation(60) % 2 * 4 + 1, strict=True):
        row["rating"] = int(rating)
    (pool / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = json.loads(curate("--json", "--rule", "vote").stdout)["raters"]["rating"]
    assert (judge["verdict"], judge["corrected"]) == ("not usable", 0)
    part = pl.read_parquet(pool / "run" / "steps" / "02-curate" / "part-00000.parquet")
    assert part["misrated_prob"].max() > 0.5
    assert not part["corrected"].any()


def test_truth_is_scored_and_shown(curate, pool):
    assert curate("--truth", "rating").exit_code == 0
    assert "rule is better here" in (pool / "run" / "report.html").read_text()


def test_without_out_the_folder_is_named_after_the_recipe(pool, call, monkeypatch):
    monkeypatch.chdir(pool)
    arguments = ["pool.jsonl", "--ratings", "rating", "--embeddings", "vectors.npy", "--bootstrap", 0]
    a = json.loads(call("curate", *arguments, "--budget", 5, "--json").stdout)
    b = json.loads(call("curate", *arguments, "--budget", 6, "--json").stdout)
    assert a["run"] != b["run"]
    assert a["run"].startswith("runs/curate-pool-")
    events = [json.loads(line) for line in (pool / b["run"] / "ledger.jsonl").read_text().splitlines()]
    assert "reused" in [e["event"] for e in events], "neighbours were searched again although they were known"


@pytest.mark.parametrize("signal", ["SIGINT"])
def test_interrupted(pool, signal):
    import signal as signals
    import time

    command = [sys.executable, "-m", "tamis", "curate", "pool.jsonl", "--ratings", "rating", "--embeddings",
               "vectors.npy", "--budget", "5", "--bootstrap", "100000"]  # fmt: skip
    process = subprocess.Popen(command, cwd=pool, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(pool.glob("runs/*/steps/02-curate")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(getattr(signals, signal))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished work is kept" in said
