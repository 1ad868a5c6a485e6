"""``kill -9`` anywhere, then ``tamis resume``: the same bytes as a run that was left alone."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.e2e
N_KILLS = 14
RESULTS = ("selection.parquet", "selected.jsonl", "evidence.parquet")


def command(pool, out, *more):
    given = ["--ratings", "rating", "--embeddings", pool / "vectors.npy", "--budget", 500, "--bootstrap", 20]
    return [sys.executable, "-m", "tamis", "curate", pool / "pool.jsonl", *given, "--out", out, *more]


def results(folder):
    return {name: (folder / name).read_bytes() for name in RESULTS}


def kill_after(seconds, arguments, environment):
    """Start a command and kill -9 its whole process group; return whether it was still at work."""
    process = subprocess.Popen(
        list(map(str, arguments)), env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.fixture(scope="module")
def straight(pool, tmp_path_factory):
    """Give the results of an undisturbed run, and how long it took."""
    out = tmp_path_factory.mktemp("straight") / "run"
    began = time.monotonic()
    subprocess.run(list(map(str, command(pool, out))), check=True, capture_output=True)
    return results(out), time.monotonic() - began


@pytest.mark.parametrize("number", range(N_KILLS))
def test_a_killed_run_resumes_to_the_same_bytes(number, straight, pool, environment, tamis, tmp_path):
    expected, duration = straight
    # one random point in each of N_KILLS equal stretches of the straight run: all phases are hit
    moment = duration * (number + np.random.default_rng(number).random()) / N_KILLS
    for attempt in range(12):
        out = tmp_path / str(attempt) / "run"
        out.parent.mkdir()
        if kill_after(moment, command(pool, out), environment):
            break
        moment *= 0.85  # the machine is faster now than in the straight run: the process had ended before the kill
    else:
        pytest.fail("the process always ended before it could be killed")
    if (out / "recipe.yaml").exists():
        finished = tamis("resume", out, "--engine", "process" if number % 4 == 3 else "inline")
    else:  # killed before there was anything to resume
        finished = subprocess.run(list(map(str, command(pool, out))), capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert results(out) == expected
    assert (out / "report.html").stat().st_size > 10_000
    assert not list(out.rglob(".tmp-*")), "a killed writer's temporary file is left behind"


def test_the_process_engine_gives_the_same_bytes(straight, pool, environment, tmp_path):
    out = tmp_path / "run"
    arguments = command(pool, out, "--engine", "process", "--workers", 2)
    subprocess.run(list(map(str, arguments)), check=True, capture_output=True, env=environment)
    assert results(out) == straight[0]


def test_killed_while_embedding_and_resumed_on_another_engine(dolly_slice, environment, tamis, tmp_path, root):
    """Two kills while MiniLM embeds real text; every finished shard survives."""
    given = [dolly_slice, "--ratings", root / "examples" / "dolly_ratings.parquet", "--budget", 40]
    whole = tmp_path / "whole" / "run"
    calm = {**environment, "TAMIS_CACHE": str(tmp_path / "other cache")}
    arguments = [sys.executable, "-m", "tamis", "curate", *given, "--out"]
    subprocess.run(list(map(str, [*arguments, whole])), check=True, capture_output=True, env=calm)
    out = tmp_path / "killed" / "run"
    vectors = tmp_path / "cache" / "vectors"
    process = subprocess.Popen(
        list(map(str, [*arguments, out])), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list(vectors.rglob("part-*.parquet")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in vectors.rglob("part-*.parquet")}
    assert kept, "nothing was embedded before the kill"
    finished = tamis("resume", out, "--engine", "process")
    assert finished.returncode == 0, finished.stderr
    assert results(out) == results(whole)
    now = {path.name: path.stat().st_mtime_ns for path in vectors.rglob("part-*.parquet")}
    assert kept.items() <= now.items()
