"""A million answers: time and memory of the score, beside crowd-kit's Dawid-Skene on the same file; the whole command.

``python bench/bench_peers_scale.py [--workers 20000] [--quick] [--json PATH]``

20,000 workers with 50 answers each, 200,000 tasks, five classes, two LLMs with two samples. Every task runs in a
process of its own; its times leave out imports and reading. The command line is timed whole, with reading and report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crowds import large
from tables import at_least, at_most, begin, not_judged, parser, reported

CHILD = Path(__file__).with_name("peers_child.py")
FULL = 20_000
MAX_SCORE, MAX_GB, MAX_COMMAND, MIN_RATIO = 3.0, 1.0, 30.0, 20.0


def all_cores() -> dict[str, str]:
    """Return this environment without limits on threads."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}


def child(task: str, folder: Path) -> dict[str, Any]:
    """Run one task in a process of its own and return what it printed."""
    command = [sys.executable, "-W", "ignore", str(CHILD), task, str(folder)]
    done = subprocess.run(command, env=all_cores(), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def whole_command(folder: Path) -> float:
    """Seconds of the audit from files to report."""
    command = [sys.executable, "-m", "tamis", "peers", str(folder / "answers.csv"), "--llm", str(folder / "llm.csv"),
               "--out", str(folder / "run"), "--quiet"]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, env=all_cores(), check=True)
    return time.perf_counter() - start


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--workers", type=int, default=FULL)
    options = made.parse_args()
    workers = 500 if options.quick else options.workers
    report = begin("peers scale", options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large(folder, workers=workers, per_worker=50, tasks=10 * workers, classes=5)
        found = {task: child(task, folder) for task in ("score", "aggregate", "crowdkit")}
        command = whole_command(folder)
    ours, peer = found["score"], found["crowdkit"]
    report.table("One process each", [{"what": task, **{k: row.get(k) for k in ("seconds", "peak GiB")}}
                                      for task, row in found.items()])  # fmt: skip
    bars = [
        at_most(f"peers: score {ours['answers']:,} answers, two LLMs", ours["seconds"], MAX_SCORE, unit=" s"),
        at_most("peers: peak memory of scoring", ours["peak GiB"] * 2**30 / 1e9, MAX_GB, unit=" GB"),
        at_most("peers: whole command with reading and report", command, MAX_COMMAND, unit=" s", digits=1),
        at_least(
            "peers: crowd-kit's Dawid-Skene, 100 rounds / score", peer["seconds"] / ours["seconds"], MIN_RATIO, unit="x"
        ),
    ]
    small = f"{workers} workers are fewer than {FULL}"
    report.bars += bars if workers >= FULL else [not_judged(bar, small) for bar in bars]
    ratio = peer["seconds"] / found["aggregate"]["seconds"]
    report.bars += [
        reported("peers: intervals of all workers", f"{ours['intervals']:.2f} s"),
        reported("peers: crowd-kit's Dawid-Skene / ours, 100 rounds each", f"{ratio:.1f}x"),
    ]
    report.finish()


if __name__ == "__main__":
    main()
