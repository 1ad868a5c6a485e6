"""Run every benchmark and print one table of all bars: target, measured, met or MISSED.

``python bench/run.py [--quick] [--only NAME ...] [--show] [--demo]``

Results go to ``bench/results/NAME.json``; with ``--quick`` to a temporary folder: small sizes never replace real
figures. ``--show`` prints the table of the stored results and runs nothing. A missed bar does not fail the run, a
benchmark that crashes does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tables import RESULTS, Bar, bars_text, machine, reported

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Benchmark:
    """A script, and what it is called with when the sizes are small or real."""

    name: str
    quick: tuple[str, ...] = ("--quick",)
    full: tuple[str, ...] = ()

    @property
    def script(self) -> Path:
        """Where it lies."""
        return HERE / f"bench_{self.name}.py"


BENCHMARKS = (
    Benchmark("startup"),
    Benchmark("digits"),
    Benchmark("selection"),
    Benchmark("judges"),
    Benchmark("neighbors", quick=("--rows", "5000", "--sklearn-rows", "2000", "--rounds", "1")),
    Benchmark("scale"),
    Benchmark("rating"),
    Benchmark("rating_kill"),
    Benchmark("local_rating"),
    Benchmark("recorded_judges"),
    Benchmark("ray"),
    Benchmark("peers"),
    Benchmark("peers_scale"),
    Benchmark("peers_product"),
    Benchmark("tokens"),
    Benchmark("tokens_downstream"),
    Benchmark("prune"),
    Benchmark("prune_streaming"),
    Benchmark("forget"),
)


def run(benchmark: Benchmark, folder: Path, *, quick: bool, extra: tuple[str, ...]) -> bool:
    """Run one script as a process; return whether it came to its end."""
    print(f"\n=== {benchmark.name} ===", flush=True)
    result = folder / f"{benchmark.name}.json"
    arguments = [*(benchmark.quick if quick else benchmark.full), *extra]
    done = subprocess.run([sys.executable, str(benchmark.script), *arguments, "--json", str(result)], check=False)
    if done.returncode:
        print(f"{benchmark.name} failed with exit code {done.returncode}", flush=True)
    return done.returncode == 0


def bars_of(name: str, folder: Path) -> list[Bar]:
    """Bars of a stored result; a plain table of rows is reported row by row."""
    path = folder / f"{name}.json"
    if not path.exists():
        return [Bar(name, "-", "no result", None)]
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "skipped" in found:
        return [Bar(name, "-", f"skipped: {found['skipped']}", None)]
    if "bars" in found:
        return [Bar(**bar) for bar in found["bars"]]
    return [reported(f"{name}: {row['what']}, {row['rows']} rows", _in_words(row)) for row in found["rows"]]


def _in_words(row: dict[str, Any]) -> str:
    parts = [f"{row['tamis_s']:.2f} s"]
    if "ratio" in row:
        parts.append(f"{row['ratio']:.2f}x the peer")
    if row.get("recall") is not None:
        parts.append(f"recall {row['recall']:.4f}")
    return ", ".join(parts)


def show(names: list[str], folder: Path) -> None:
    """Print the one table and what it says in sum."""
    bars = [bar for name in names for bar in bars_of(name, folder)]
    counts = {word: sum(bar.outcome == word for bar in bars) for word in ("met", "MISSED", "reported")}
    print(f"\n{bars_text(bars)}\n\n" + ", ".join(f"{count} {word}" for word, count in counts.items()))


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [benchmark.name for benchmark in BENCHMARKS]
    made.add_argument("--quick", action="store_true", help="small sizes; results are not kept")
    made.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    made.add_argument("--show", action="store_true", help="print the stored results and run nothing")
    made.add_argument("--demo", action="store_true", help="also time the demo (minutes)")
    options = made.parse_args()
    if options.show:
        show(options.only, RESULTS)
        return 0
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if options.quick else RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        ended = [
            run(b, folder, quick=options.quick, extra=("--demo",) if b.name == "startup" and options.demo else ())
            for b in BENCHMARKS
            if b.name in options.only
        ]
        show(options.only, folder)
    return 0 if all(ended) else 1


if __name__ == "__main__":
    raise SystemExit(main())
