"""How long ``tamis --help`` takes, what it imports, and (with ``--demo``) how long the demo takes.

``python bench/bench_startup.py [--runs 10] [--demo] [--quick] [--json PATH]``

Every run is a new process; files are in the operating system's cache after the first. The figures mean something on an
idle core only: the load printed at the start should be well below the number of cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import Bar, Report, at_most, begin, parser, reported

MAX_SECONDS = 0.6
FORBIDDEN = ("torch", "sklearn", "polars", "ray")
ALSO = ("transformers", "numpy", "faiss", "scipy", "altair", "pydantic")
LOADED = """
import sys
sys.argv = ["tamis", "--help"]
from tamis.cli import main
try:
    main()
except SystemExit:
    pass
print("LOADED " + " ".join(name for name in {names!r} if name in sys.modules))
"""


def tamis_command() -> list[str]:
    """The installed console script, or the module where there is none."""
    script = Path(sys.executable).with_name("tamis")
    return [str(script)] if script.exists() else [sys.executable, "-m", "tamis"]


def seconds(command: list[str], **environment: str) -> float:
    """Wall time of one run that must succeed."""
    start = time.perf_counter()
    env = {**os.environ, **environment}
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def help_time(report: Report, runs: int) -> None:
    """Time ``tamis --help`` and, for comparison, an empty Python."""
    ours = [seconds([*tamis_command(), "--help"]) for _ in range(runs)]
    empty = [seconds([sys.executable, "-c", "pass"]) for _ in range(runs)]
    note = f"of {runs} runs; an empty Python takes {min(empty):.2f} s (median {statistics.median(empty):.2f} s)"
    report.bars += [
        at_most("startup: tamis --help, best", min(ours), MAX_SECONDS, unit=" s", note=note),
        at_most("startup: tamis --help, median", statistics.median(ours), MAX_SECONDS, unit=" s"),
    ]


def imports(report: Report) -> None:
    """Look at ``sys.modules`` after ``tamis --help``."""
    code = LOADED.format(names=(*FORBIDDEN, *ALSO))
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()[1:]
    bad = [name for name in FORBIDDEN if name in loaded]
    report.bars.append(
        Bar(
            "startup: tamis --help imports none of " + ", ".join(FORBIDDEN),
            "none",
            ", ".join(bad) or "none",
            not bad,
            "of " + ", ".join(ALSO) + " it imports " + (", ".join(n for n in loaded if n not in bad) or "none"),
        )
    )


def demo_time(report: Report) -> None:
    """Time ``tamis demo`` with an empty vector cache, and again with the cache it left."""
    with tempfile.TemporaryDirectory() as name:
        cache = str(Path(name) / "cache")
        cold = seconds([*tamis_command(), "demo", "--quiet", "--out", str(Path(name) / "one")], TAMIS_CACHE=cache)
        warm = seconds([*tamis_command(), "demo", "--quiet", "--out", str(Path(name) / "two")], TAMIS_CACHE=cache)
    report.bars += [
        reported("startup: tamis demo, empty cache", f"{cold:.1f} s", "2,996 records, embedding included"),
        reported("startup: tamis demo, vectors cached", f"{warm:.1f} s"),
    ]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--runs", type=int, default=10)
    made.add_argument("--demo", action="store_true", help="also time the demo (minutes)")
    options = made.parse_args()
    report = begin("startup", options)
    help_time(report, 3 if options.quick else options.runs)
    imports(report)
    if options.demo:
        demo_time(report)
    report.finish()


if __name__ == "__main__":
    main()
