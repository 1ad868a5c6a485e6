"""Embedding on two Ray workers beside inline: the same bytes? what does it gain, and what does Ray cost?

``python bench/bench_ray.py [--rows 20000] [--workers 2] [--quick] [--json PATH]``

Distinct short texts (Alpaca, Dolly, TOFU; cut at 200 characters) are embedded by MiniLM into two stores of their own:
inline with all cores for each matrix product, and on Ray with one core a worker. Ray is started here and stopped again.
A machine has the same cores for both, so no more than the waste of splitting small products can be gained; Ray is for
many machines. The last bits of a vector can depend on the number of threads; some shards are embedded inline with each
number, to see whether they do.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pools import json_rows
from tables import SHARED_DATA, Bar, Report, begin, parser, reported

from tamis.engine import Engine, get_engine
from tamis.models import embed_texts, get_embedder
from tamis.models.embedding import SHARD_SIZE
from tamis.models.vector_store import VectorStore

SOURCES = {
    "alpaca_judged/alpaca_judged.jsonl.gz": ("instruction", "input", "output"),
    "dolly_3k/dolly_3k.jsonl.gz": ("instruction", "input", "output"),
    "tofu/full.jsonl.gz": ("question", "answer"),
}
MOST_CHARACTERS = 200
PROBED_SHARDS = 6


def short_texts(rows: int) -> list[str]:
    """Distinct texts of the shared data, a seeded draw."""
    found: dict[str, None] = {}
    for name, columns in SOURCES.items():
        for row in json_rows(SHARED_DATA / name):
            found["\n".join(str(row[c]) for c in columns if row.get(c))[:MOST_CHARACTERS]] = None
    texts = list(found)
    chosen = np.random.default_rng(0).permutation(len(texts))[:rows]
    return [texts[i] for i in chosen]


@contextmanager
def watched(peak: dict[str, float]) -> Iterator[None]:
    """Note the largest number of processes below this one, and the memory that they held together."""
    here, over = psutil.Process(), threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            alive = here.children(recursive=True)
            memory = 0
            for process in alive:
                try:
                    memory += process.memory_info().rss
                except psutil.Error:
                    continue
            peak["processes"] = max(peak.get("processes", 0), len(alive))
            peak["GiB"] = max(peak.get("GiB", 0.0), memory / 2**30)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def embed(texts: list[str], engine: Engine, folder: Path) -> tuple[float, float, NDArray[np.float32]]:
    """Embed into a store of its own; return seconds to the first finished shard, seconds in all, and the vectors."""
    began, first = time.perf_counter(), 0.0

    def progress(_: str, done: int, total: int) -> None:
        nonlocal first
        if done and not first:
            first = time.perf_counter() - began

    spent, vectors = timed(
        lambda: embed_texts(
            texts, embedder=get_embedder("minilm"), engine=engine, store=VectorStore(folder), progress=progress
        )
    )
    return first, spent, vectors


def digest(vectors: NDArray[np.float32]) -> str:
    return hashlib.sha256(vectors.tobytes()).hexdigest()[:16]


def threads_matter(report: Report, texts: list[str]) -> None:
    """Embed some shards inline with one thread and with all, and count those whose bytes differ."""
    import torch

    ordered = sorted(texts, key=len, reverse=True)
    shards = [ordered[i : i + SHARD_SIZE] for i in range(0, len(ordered), SHARD_SIZE)]
    probed = [shards[i] for i in np.unique(np.linspace(0, len(shards) - 1, PROBED_SHARDS).astype(int))]
    embedder, rates, vectors = get_embedder("minilm"), {}, {}
    for threads in (1, os.cpu_count() or 1):
        torch.set_num_threads(threads)
        spent, vectors[threads] = timed(lambda: [embedder.encode(shard) for shard in probed])
        rates[threads] = sum(map(len, probed)) / spent
    pairs = list(zip(*vectors.values(), strict=True))
    differing = [i for i, pair in enumerate(pairs) if len({part.tobytes() for part in pair}) > 1]
    largest = max((float(np.abs(pairs[i][0] - pairs[i][-1]).max()) for i in differing), default=0.0)
    measured = f"{len(differing)} of {len(probed)}" + (f", by {largest:.1e} at most" if differing else "")
    each = ", ".join(f"{rate:.0f} texts/s with {threads}" for threads, rate in rates.items())
    report.bars.append(reported("ray: shards whose bytes depend on the number of threads (inline)", measured, each))


def measure(report: Report, options: argparse.Namespace, folder: Path) -> None:
    import torch

    texts = short_texts(options.rows)
    report.say(f"{len(texts)} distinct texts, {sum(map(len, texts)) / len(texts):.0f} characters in the mean")
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    get_embedder("minilm").encode(texts[:64])  # the model is loaded; each Ray worker loads it within its time
    inline_first, inline, ours = embed(texts, get_engine("inline"), folder / "inline")
    empty, _ = timed(lambda: list(get_engine("ray", workers=options.workers).map(abs, list(range(options.workers)))))
    peak: dict[str, float] = {}
    with watched(peak):
        ray_first, ray, theirs = embed(texts, get_engine("ray", workers=options.workers), folder / "ray")
    report.table(
        "Embedding",
        [
            {"engine": f"inline, {cores} threads", "seconds": inline, "first shard after": inline_first,
             "texts/s": round(len(texts) / inline, 1), "sha256": digest(ours)},
            {"engine": f"ray, {options.workers} workers", "seconds": ray, "first shard after": ray_first,
             "texts/s": round(len(texts) / ray, 1), "sha256": digest(theirs)},
        ],
    )  # fmt: skip
    same = digest(ours) == digest(theirs)
    distance = float(np.abs(ours - theirs).max())
    rows = int((ours != theirs).any(axis=1).sum())
    report.bars += [
        Bar(
            f"ray: vectors of {len(texts)} texts, inline and {options.workers} workers", "same bytes",
            "same bytes" if same else "differ", same,
            "" if same else f"{rows} rows differ, by {distance:.1e} at most",
        ),
        reported("ray: speed-up over inline with all cores", f"{inline / ray:.2f}x", f"{inline:.1f} and {ray:.1f} s"),
        reported("ray: a map of nothing (start, workers, stop)", f"{empty:.1f} s"),
        reported(
            "ray: processes beside this one, at most", f"{peak['processes']:.0f}",
            f"{peak['GiB']:.1f} GiB of resident memory in all, shared pages counted in each",
        ),
    ]  # fmt: skip
    threads_matter(report, texts)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=20_000)
    made.add_argument("--workers", type=int, default=2)
    options = made.parse_args()
    if options.quick:
        options.rows = min(options.rows, 1_536)
    report = begin("ray", options)
    if importlib.util.find_spec("ray") is None:
        report.skip("Ray is not installed: pip install 'tamis[ray]'")
        return
    if not all((SHARED_DATA / name).exists() for name in SOURCES):
        report.skip("no shared data: alpaca_judged, dolly_3k or tofu not found under ../shared/data beside the project")
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(report, options, Path(folder))
    report.finish()


if __name__ == "__main__":
    main()
