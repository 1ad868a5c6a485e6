"""The audit of the shipped crowd as a user runs it, killed and resumed, and the scripts that made its files."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

pytestmark = pytest.mark.e2e
RESULTS = ("selection.parquet", "answer_selection.parquet", "consensus.parquet", "evidence.parquet", "workers.csv",
           "recollect.csv", "selected.csv")  # fmt: skip


def results(folder):
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def crowd(root):
    return root / "examples" / "crowd"


def command(crowd, out, *more):
    given = [sys.executable, "-m", "tamis", "peers", crowd / "answers.csv", "--llm", crowd / "llm.csv", "--out", out]
    return list(map(str, [*given, *more]))


@pytest.fixture(scope="module")
def straight(crowd, tmp_path_factory):
    out = tmp_path_factory.mktemp("straight") / "p"
    began = time.monotonic()
    done = subprocess.run(command(crowd, out), capture_output=True, text=True, check=True)
    return out, done.stdout, time.monotonic() - began


def test_the_ladder_names_those_who_were_planted(straight, crowd):
    out, said, _ = straight
    with (crowd / "planted.csv").open(encoding="utf-8") as stream:
        kinds = {row["worker"]: row["kind"] for row in csv.DictReader(stream)}
    workers = pl.read_csv(out / "workers.csv")
    by_kind = {}
    for worker, action in workers.select("worker", "action").iter_rows():
        by_kind.setdefault(kinds[worker], []).append(action)
    assert set(by_kind["few answers"]) == {None}, "nothing is decided about who answered little"
    assert "keep" not in by_kind["random"] + by_kind["one label"]
    pasted = [a for kind, actions in by_kind.items() if kind.startswith("pasted") for a in actions]
    assert pasted.count("keep") <= 2
    assert by_kind["independent"].count("keep") >= 44
    assert "●" in said
    assert "never proof about a person" in said


def test_every_answer_has_a_decision_and_kept_ones_come_back_as_they_came(straight, crowd):
    out = straight[0]
    lines = (crowd / "answers.csv").read_text(encoding="utf-8").splitlines()
    decided = pl.read_parquet(out / "answer_selection.parquet")
    assert len(decided) == len(lines) - 1
    kept = (out / "selected.csv").read_text(encoding="utf-8").splitlines()
    assert kept[0] == lines[0]
    assert len(kept) - 1 == decided.filter(decision="keep").height
    assert set(kept) < set(lines)


@pytest.mark.parametrize("number", range(4))
def test_a_killed_audit_resumes_to_the_same_bytes(number, straight, crowd, environment, tamis, tmp_path):
    expected, _, duration = straight
    moment = duration * (0.35 + 0.6 * (number + np.random.default_rng(number).random()) / 4)
    for attempt in range(12):
        out = tmp_path / str(attempt) / "p"
        out.parent.mkdir()
        process = subprocess.Popen(
            command(crowd, out), env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(timeout=moment)
            moment *= 0.85  # it had ended before the kill
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            break
    else:
        pytest.fail("the process always ended before it could be killed")
    if (out / "recipe.yaml").exists():
        finished = tamis("resume", out, "--engine", "process" if number % 2 else "inline")
    else:
        finished = subprocess.run(command(crowd, out), capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert results(out) == results(expected)
    assert not list(out.rglob(".tmp-*"))
    assert not list(out.rglob("crowd.npz")), "what shards share is left behind"


def test_the_shipped_crowd_is_what_its_script_makes(crowd, tmp_path):
    for name in ("make.py",):
        (tmp_path / name).write_bytes((crowd / name).read_bytes())
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True)
    for name in ("answers.csv", "llm.csv", "planted.csv"):
        assert (tmp_path / name).read_bytes() == (crowd / name).read_bytes(), name


def test_how_good_would_it_be_here(crowd, tamis):
    found = tamis("peers", "simulate", crowd / "answers.csv", "--llm", crowd / "llm.csv", "--runs", 8, "--json")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["ca_z"]["low"] <= told["ca_z"]["mean"] <= told["ca_z"]["high"]
    assert told["ca_z"]["mean"] > told["ca"]["mean"]
    assert told["flagged:random"]["mean"] > 0.9
