"""``kill -9`` on ``tamis rate``: no reply that was kept is asked for again, no row is lost, same bytes at the end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from tamis.curate.rating.assignment import read_assignment
from tamis.models.calls import Policy
from tamis.models.response_cache import reply_key
from tamis.recipe import Recipe
from tamis.toy import Endpoint, prompt_digest

pytestmark = pytest.mark.e2e
ROWS, CONCURRENCY = 600, 16
RESULTS = ("signal.parquet", "replies.parquet")


@pytest.fixture
def endpoint():
    with Endpoint(latency=0.02) as served:
        yield served


@pytest.fixture
def start(tmp_path, endpoint):
    """Start the run in a folder, or go on with it; each folder has a cache of its own."""
    pool = tmp_path / "pool.jsonl"
    rows = ({"id": f"r{i}", "prompt": f"question {i}", "response": f"[[quality {i % 10 + 1}]]"} for i in range(ROWS))
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "tamis", "rate", pool, "--rater", f"openai:toy@{endpoint.url}"]
    command += ["--concurrency", CONCURRENCY, "--embedder", "none", "--quiet", "--out"]

    def started(folder):
        return subprocess.Popen(
            list(map(str, [*command, folder / "run"])), env={**os.environ, "TAMIS_CACHE": str(folder / "cache")},
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return started


def finish(process):
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def kill(process):
    assert process.poll() is None, "the run had ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kept_keys(folder):
    """Keys of the replies in the cache; it need not be there yet."""
    path = folder / "cache" / "replies.sqlite"
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'replies'").fetchone() is None:
            return []
        return [key for (key,) in connection.execute("SELECT key FROM replies")]
    finally:
        connection.close()


def wait_until(process, reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, "the run had ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_killed_five_times_nothing_is_paid_twice_and_nothing_is_lost(tmp_path, endpoint, start):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(start(straight))
    assert len(endpoint.log) == ROWS
    endpoint.log.clear()

    task = read_assignment(Recipe.from_yaml(straight / "run" / "recipe.yaml"))
    judge = task.raters[0].judge
    digest_of = {reply_key(judge.fingerprint, p, 0): prompt_digest(p.messages()) for p in task.prompts}
    assert len(set(digest_of.values())) == ROWS

    kept = []  # after each kill: calls served so far, prompts whose replies were in the cache

    def look():
        kept.append((len(endpoint.log), {digest_of[key] for key in kept_keys(killed)}))

    draw = np.random.default_rng(0)
    process = start(killed)  # a first kill while it starts
    time.sleep(draw.uniform(0.2, 0.8))
    kill(process)
    look()
    for share in (0.25, 0.5, 0.75):  # while calls are in flight
        already, goal = len(endpoint.log), share * ROWS
        process = start(killed)
        wait_until(
            process,
            lambda a=already, g=goal: len(endpoint.log) > a and len({e["prompt"] for e in endpoint.log}) >= g,
        )
        time.sleep(draw.uniform(0, 0.1))
        kill(process)
        look()
    process = start(killed)  # after the last reply was kept, before the run has ended
    wait_until(process, lambda: len(kept_keys(killed)) == ROWS)
    kill(process)
    look()
    finish(start(killed))

    in_cache = [len(held) for _, held in kept]
    assert in_cache[0] < in_cache[1] < in_cache[2] < in_cache[3] < in_cache[4] == ROWS, in_cache
    for served, held in kept:
        asked_again = [event for event in endpoint.log[served:] if event["prompt"] in held]
        assert not asked_again, f"{len(asked_again)} of {len(held)} replies in the cache were asked for again"
    # what was on its way at a kill among calls is asked for twice: in flight, or waiting to be committed
    assert len(endpoint.log) - ROWS <= 3 * (CONCURRENCY + Policy.commit_every)
    overall = pl.read_parquet(killed / "run" / "signal.parquet").filter(pl.col("criterion") == "overall")
    assert overall["unit_id"].to_list() == [f"r{i}" for i in range(ROWS)]
    assert overall["value"].to_list() == [i % 10 + 1.0 for i in range(ROWS)]
    assert overall["status"].unique().to_list() == ["ok"]
    for name in RESULTS:
        assert (killed / "run" / name).read_bytes() == (straight / "run" / name).read_bytes(), name
