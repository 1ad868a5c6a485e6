"""``kill -9`` at random points of ``tamis rate``: what was paid for is not asked again, nothing is lost, same bytes.

``python bench/bench_rating_kill.py [--rows 2000] [--kills 30] [--quick] [--json PATH]``

The toy endpoint runs in this process, so its log says which prompt was served when. A straight run comes first; it also
tells how long start-up and the work after the last call take. Then the same command is started again and again in
another folder with another cache, and killed: some times while it starts, most times while calls are in flight (a few
random milliseconds after a random number of rows was served), some times between the last call and the end. After each
kill the cache is read: a reply that is in it must never be asked for again. Replies that were on their way when the
kill came are asked for twice; how many is reported. What is killed is the process; power cuts are not tried.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tables import Bar, Report, at_most, begin, parser, reported

from tamis.curate.rating.assignment import Assignment, read_assignment
from tamis.models.calls import Policy
from tamis.models.response_cache import reply_key
from tamis.recipe import Recipe
from tamis.toy import Endpoint, prompt_digest

LATENCY, CONCURRENCY = 0.02, 16
RESULTS = ("signal.parquet", "replies.parquet")
STARTING, CALLING, FINISHING = "starting", "calls in flight", "after the last call"
_POLL = 0.002
_TRIES = 8


@dataclass
class World:
    """The endpoint, the pool, the command, and what a run of it is known to take."""

    endpoint: Endpoint
    pool: Path
    rows: int
    starting: float = 0.0
    calling: float = 0.0
    finishing: float = 0.0
    digest_of: dict[str, str] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    _read: int = 0

    def start(self, out: Path, cache: Path) -> subprocess.Popen[bytes]:
        """Start the run, or go on with it."""
        command = [
            sys.executable, "-m", "tamis", "rate", str(self.pool), "--rater", f"openai:toy@{self.endpoint.url}",
            "--concurrency", str(CONCURRENCY), "--embedder", "none", "--out", str(out), "--quiet",
        ]  # fmt: skip
        environment = {**os.environ, "TAMIS_CACHE": str(cache)}
        return subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)

    def straight(self, out: Path, cache: Path) -> float:
        """Run without a kill; note the seconds of the run before its first call and after its last."""
        began = time.perf_counter()
        process, last, served = self.start(out, cache), began, 0
        while process.poll() is None:
            if len(self.endpoint.log) > served:
                last = time.perf_counter()
                self.starting = self.starting or last - began
                served = len(self.endpoint.log)
            time.sleep(_POLL)
        ended = time.perf_counter()
        if process.returncode or served != self.rows:
            raise SystemExit(f"the straight run ended with {process.returncode} after {served} calls")
        self.finishing, self.calling = ended - last, last - began - self.starting
        self.endpoint.log.clear()
        return ended - began

    def look(self) -> int:
        """Read on in the endpoint's log; return the number of new calls."""
        new = self.endpoint.log[self._read :]
        self._read += len(new)
        self.served.update(event["prompt"] for event in new)
        return len(new)

    def know(self, task: Assignment) -> None:
        """Note which key in the cache stands for which prompt in the endpoint's log."""
        (rater,) = task.raters
        assert rater.judge is not None
        for prompt in task.prompts:
            if prompt is not None:
                key = reply_key(rater.judge.fingerprint, prompt, 0)
                self.digest_of[key] = prompt_digest(prompt.messages())
        if len(set(self.digest_of.values())) != self.rows:
            raise SystemExit("two rows have the same prompt")


@dataclass
class Killed:
    """What the kills found and did."""

    landed: Counter[str] = field(default_factory=Counter)
    committed: list[tuple[int, set[str]]] = field(default_factory=list)
    """After each kill: calls served so far, and the prompts whose replies were in the cache."""

    def repeated(self, log: list[dict[str, Any]]) -> int:
        """Calls that came after a kill although their reply was in the cache."""
        return sum(
            any(event["prompt"] in held for served, held in self.committed if served <= position)
            for position, event in enumerate(log)
        )


def committed(cache: Path, digest_of: dict[str, str]) -> set[str]:
    """Prompts whose replies are in the cache, read as a bystander reads them."""
    path = cache / "replies.sqlite"
    if not path.exists():
        return set()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return {digest_of[key] for (key,) in connection.execute("SELECT key FROM replies")}
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):  # killed before it was made
            raise
        return set()
    finally:
        connection.close()


def plan(kills: int, rng: np.random.Generator, world: World) -> list[tuple[str, float]]:
    """Moments of the kills: seconds for those at either end, else rows served; spread over the run from first to last.

    A sixth comes while the run starts, another sixth after its last call.
    """
    edge = max(1, kills // 6)
    rows = np.sort(rng.uniform(0, 0.97 * world.rows, kills - 2 * edge)).tolist()
    made = [(CALLING, row) for row in rows]
    for _ in range(edge):
        made.insert(int(rng.integers(len(made) + 1)), (STARTING, float(rng.uniform(0.05, world.starting))))
    return made + [(FINISHING, float(rng.uniform(0, world.finishing))) for _ in range(edge)]


def kill_once(world: World, moment: tuple[str, float], out: Path, cache: Path, *, pause: float, pace: float) -> bool:
    """Start the run and kill it at its moment; return whether it was still at work then.

    All seconds but ``pause`` are multiplied by ``pace``.
    """
    phase, when = moment
    if phase != CALLING:
        when *= pace
    world.look()
    process, began, calls = world.start(out, cache), time.perf_counter(), 0
    all_served = began + pace * world.starting  # if they were before this session
    while process.poll() is None:
        had = len(world.served)
        calls += world.look()
        now = time.perf_counter()
        if had < len(world.served) == world.rows:
            all_served = now
        if phase == STARTING and now >= began + when:
            break
        if phase == CALLING and calls and len(world.served) >= when:
            time.sleep(pause)
            break
        if phase == FINISHING and len(world.served) == world.rows and now >= all_served + when:
            break
        time.sleep(_POLL)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def kill_all(
    world: World, moments: list[tuple[str, float]], out: Path, cache: Path, rng: np.random.Generator
) -> Killed:
    """Kill the run at every moment, one session each, and look into the cache after each."""
    found = Killed()
    for phase, when in moments:
        for attempt in range(_TRIES):
            pause = float(rng.uniform(0, world.calling / len(moments)))
            # a session that ended before the kill was quicker than the straight run
            if kill_once(world, (phase, when), out, cache, pause=pause, pace=0.8**attempt):
                found.landed[phase] += 1
                break
        held = committed(cache, world.digest_of)
        found.committed.append((len(world.endpoint.log), held))
    return found


def measure(report: Report, options: argparse.Namespace, folder: Path) -> None:
    rng = np.random.default_rng(options.seed)
    pool = folder / "pool.jsonl"
    with pool.open("w", encoding="utf-8") as out:
        for i in range(options.rows):
            row = {"id": f"r{i}", "prompt": f"question {i}", "response": f"answer {i} [[quality {i % 10 + 1}]]"}
            out.write(json.dumps(row) + "\n")
    with Endpoint(latency=LATENCY) as endpoint:
        world = World(endpoint, pool, options.rows)
        straight, killed = folder / "straight" / "run", folder / "killed" / "run"
        seconds = world.straight(straight, folder / "cache one")
        world.know(read_assignment(Recipe.from_yaml(straight / "recipe.yaml")))
        report.say(
            f"straight run of {options.rows} rows: {seconds:.1f} s, of which {world.starting:.1f} s before the first "
            f"call and {world.finishing:.1f} s after the last"
        )
        moments = plan(options.kills, rng, world)
        began = time.perf_counter()
        found = kill_all(world, moments, killed, folder / "cache two", rng)
        ended = world.start(killed, folder / "cache two").wait()
        took = time.perf_counter() - began
        if ended:
            raise SystemExit(f"the last session ended with exit code {ended}")
        judge(report, found, list(endpoint.log), world, straight, killed)
    report.say(f"{sum(found.landed.values())} kills and the last session took {took:.0f} s")


def judge(report: Report, found: Killed, log: list[dict[str, Any]], world: World, straight: Path, killed: Path) -> None:
    """Hold the log of the endpoint and the files of both runs against the promises."""
    landed = ", ".join(f"{found.landed[phase]} {phase}" for phase in (STARTING, CALLING, FINISHING))
    overall = pl.read_parquet(killed / "signal.parquet").filter(pl.col("criterion") == "overall")
    lost = world.rows - overall.filter(pl.col("status") == "ok")["unit_id"].n_unique()
    same = {name: (straight / name).read_bytes() == (killed / name).read_bytes() for name in RESULTS}
    at_kill = [len(held) for _, held in found.committed]
    report.table(
        "Kills in their order: replies in the cache, calls served",
        [
            {"kill": i + 1, "in the cache": n, "served": s}
            for i, (n, (s, _)) in enumerate(zip(at_kill, found.committed, strict=True))
        ],
    )
    again = len(log) - world.rows
    each = again / max(1, found.landed[CALLING])
    report.bars += [
        Bar(
            "rating kill: kills that met a run at work", f"{report.options.kills}", f"{sum(found.landed.values())}",
            sum(found.landed.values()) == report.options.kills, landed,
        ),
        at_most("rating kill: calls repeated whose reply was in the cache", found.repeated(log), 0, digits=0),
        at_most("rating kill: rows lost", lost, 0, digits=0),
        Bar(
            f"rating kill: {' and '.join(RESULTS)} as in a straight run", "same bytes",
            "same bytes" if all(same.values()) else "differ: " + ", ".join(n for n, equal in same.items() if not equal),
            all(same.values()),
        ),
        reported(
            "rating kill: calls repeated whose reply was on its way", f"{again}, {each:.0f} a kill among calls",
            f"at most {CONCURRENCY} in flight and {Policy.commit_every} on their way into the cache",
        ),
    ]  # fmt: skip


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=2000)
    made.add_argument("--kills", type=int, default=30)
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    if options.quick:
        options.rows, options.kills = min(options.rows, 400), min(options.kills, 6)
    report = begin("rating kill", options)
    with tempfile.TemporaryDirectory() as folder:
        measure(report, options, Path(folder))
    report.finish()


if __name__ == "__main__":
    main()
