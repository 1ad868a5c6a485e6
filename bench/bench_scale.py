"""DS2 on 300,932 real ratings: time and memory beside bare faiss, and the same bytes from both engines.

``python bench/bench_scale.py [--rows 300932] [--quick] [--json PATH]``

Ratings of gpt-4o-mini, llama-3.1-8b and mistral-7b as published with DS2; their texts were not, so the vectors are
synthetic: 384 dimensions, clustered, seeded, knowing nothing of the ratings. Every task runs in a process of its own
with all cores; times leave out imports and loading. The ratio and the memory are judged at full size only: at small
sizes the fit of the matrix, which does not grow with the rows, outweighs the search.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scale_child import RATERS
from tables import SHARED_DATA, Bar, Report, at_most, begin, not_judged, parser

RATINGS = SHARED_DATA / "ds2_scores" / "ds2_scores.npz"
FULL = 300_932
CHILD = Path(__file__).with_name("scale_child.py")
ENGINE_ROWS = 20_000
MAX_RATIO, MAX_GB, MAX_CURATION = 1.15, 3.0, 10.0


def all_cores() -> dict[str, str]:
    """Return this environment without limits on threads."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}


def child(task: str, folder: Path) -> dict[str, Any]:
    """Run one task in a process of its own and return what it printed."""
    command = [sys.executable, str(CHILD), task, str(folder)]
    done = subprocess.run(command, env=all_cores(), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def speed(report: Report, folder: Path, rows: int) -> None:
    """Time and memory of DS2 beside bare faiss, block by block in one process, and of the curation alone."""
    whole = child("whole", folder)
    alone = child("curation", folder)
    report.table("DS2 beside bare faiss", [{"rows": rows, **whole}])
    report.table("Curation alone, graph given", [{"rows": rows, **alone}])
    bare = whole["bare faiss seconds"]
    taken = (
        f"{whole['seconds']:.1f} s / {bare:.1f} s, measured on {whole['bare faiss share']:.0%} of the blocks in turn"
    )
    each = ", ".join(f"{rater} {alone[rater]:.2f} s" for rater in RATERS)
    name = "scale: curation alone, graph given"
    found = [
        at_most(f"scale: DS2 / bare faiss.knn, {rows} rows", whole["seconds"] / bare, MAX_RATIO, unit="x", note=taken),
        at_most("scale: peak memory of DS2", whole["peak GiB"] * 2**30 / 1e9, MAX_GB, unit=" GB"),
        at_most(f"{name}, one rater ({RATERS[0]})", alone[RATERS[0]], MAX_CURATION, unit=" s"),
        at_most(f"{name}, three raters in turn", alone["seconds"], MAX_CURATION, unit=" s", note=each),
    ]
    small = f"{rows} rows are fewer than {FULL}"
    report.bars += found if rows >= FULL else [not_judged(bar, small) for bar in found]


def write_pool(folder: Path, rows: int) -> None:
    """Write the first rows as a pool with ratings and vectors, as a user of the command line has them."""
    ratings = np.load(folder / "ratings.npz")[RATERS[0]][:rows]
    with (folder / "pool.jsonl").open("w", encoding="utf-8") as out:
        for i, rating in enumerate(ratings.tolist()):
            record = {"id": f"{i * 7919 % 1_000_003:07d}", "instruction": f"question {i}", "output": f"answer {i}"}
            out.write(json.dumps({**record, "rating": rating}) + "\n")
    np.save(folder / "some.npy", np.load(folder / "vectors.npy", mmap_mode="r")[:rows])


def engines(report: Report, folder: Path, rows: int) -> None:
    """Curate one pool on both engines through the command line and compare the bytes of the selection."""
    write_pool(folder, rows)
    digests = {}
    for engine in ("inline", "process"):
        out = folder / engine
        command = [
            sys.executable, "-m", "tamis", "curate", str(folder / "pool.jsonl"), "--ratings", "rating",
            "--budget", str(rows // 10), "--scale", "0-5", "--correct", "all",
            "--embeddings", str(folder / "some.npy"), "--engine", engine, "--workers", "2",
            "--out", str(out), "--quiet",
        ]  # fmt: skip
        subprocess.run(command, env=all_cores(), check=True)
        digests[engine] = hashlib.sha256((out / "selection.parquet").read_bytes()).hexdigest()
    same = digests["inline"] == digests["process"]
    report.bars.append(
        Bar(
            f"scale: selection.parquet, inline and process, {rows} rows",
            "same bytes",
            "same bytes" if same else "differ",
            same,
            f"sha256 {digests['inline'][:12]}, {digests['process'][:12]}",
        )
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=FULL)
    made.add_argument("--centres", type=int, default=5_000)
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    rows = min(options.rows, 9_000 if options.quick else FULL)
    report = begin("scale", options)
    if not RATINGS.exists():
        report.skip("no shared data: ds2_scores not found under ../shared/data beside the project")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = {"rows": rows, "ratings": str(RATINGS), "centres": options.centres, "seed": options.seed}
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        child("make", folder)
        speed(report, folder, rows)
        engines(report, folder, min(rows, ENGINE_ROWS))
    report.finish()


if __name__ == "__main__":
    main()
