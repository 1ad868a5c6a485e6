"""One task of ``bench_scale`` in a process of its own, so that its peak memory is its own.

``python bench/scale_child.py TASK FOLDER`` prints one JSON object. The parent must stay small: on Linux a child
inherits the peak memory of the process that started it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

K = 40
"""Neighbours in the graph, as DS2 asks for by default."""
D = 384
RATERS = ("gpt-4o-mini", "llama-3.1-8b-instruct", "mistral-7b-v0.3-instruct")


def make(folder: Path) -> dict[str, Any]:
    """Write clustered unit vectors, and the real ratings of as many rows."""
    from data import clustered_unit_vectors

    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    with np.load(plan["ratings"], allow_pickle=False) as given:
        rows = np.linspace(0, len(given[RATERS[0]]) - 1, plan["rows"]).round().astype(np.int64)
        np.savez(folder / "ratings.npz", **{rater: given[rater][rows] for rater in RATERS})
    np.save(folder / "vectors.npy", clustered_unit_vectors(plan["rows"], D, plan["centres"], plan["seed"]))
    return {}


class BareFaiss:
    """Progress of DS2's search that runs the same block through bare faiss after every ``every``-th block.

    Taking turns block by block, both meet the same load of the machine. Full time of bare faiss = time of its blocks
    divided by their share of the rows.
    """

    def __init__(self, X: np.ndarray, every: int) -> None:
        self.X, self.every = X, every
        self.seconds, self.rows, self.done, self.blocks = 0.0, 0, 0, 0

    def __call__(self, done: int, total: int) -> None:
        """Search the block that DS2 just finished: 41 neighbours, since faiss counts the row itself."""
        import faiss

        block = slice(self.done, done)
        self.done, self.blocks = done, self.blocks + 1
        if (self.blocks - 1) % self.every and done != total:
            return
        start = time.perf_counter()
        faiss.knn(self.X[block], self.X, K + 1, metric=faiss.METRIC_INNER_PRODUCT)
        self.seconds += time.perf_counter() - start
        self.rows += block.stop - block.start


def pool_of(n: int) -> Any:
    """Table with ids in no order, so that the graph must be built on reordered vectors, as with real ids."""
    import polars as pl

    from tamis.data import Table

    names = np.random.default_rng(0).permutation(n)
    return Table.from_frame(pl.DataFrame({"id": [f"row-{i:07d}" for i in names], "text": [f"text {i}" for i in names]}))


def whole(folder: Path) -> dict[str, Any]:
    """DS2 from vectors to selection for one rater: exact graph, matrix, bootstrap, agreement, rounds, selection."""
    import faiss

    from tamis.curate import DS2

    X = np.load(folder / "vectors.npy")
    with np.load(folder / "ratings.npz") as ratings:
        values = ratings[RATERS[0]].astype(np.float64)
    table = pool_of(len(X))
    # every class may be corrected, so that no work is skipped: synthetic vectors know nothing of the ratings
    ds2 = DS2(max(1, len(X) // 30), scale="0-5", correct="all")
    bare = BareFaiss(X, every=4)
    start = time.perf_counter()
    ds2.fit(table, ratings=values, embeddings=X, progress=bare)
    spent = time.perf_counter() - start - bare.seconds
    graph = ds2.graph_
    np.savez(folder / "graph.npz", idx=graph.idx, dist=graph.dist, group=graph.group, first=graph.first)
    return {
        "seconds": spent,
        "bare faiss seconds": bare.seconds * len(X) / bare.rows,
        "bare faiss share": bare.rows / len(X),
        "threads": faiss.omp_get_max_threads(),
        "kept": ds2.selection_.counts()["keep"],
    }


def curation(folder: Path) -> dict[str, Any]:
    """DS2 with the graph given: three raters one after the other."""
    from tamis.curate import DS2
    from tamis.neighbors import NeighborGraph

    with np.load(folder / "graph.npz") as arrays:
        graph = NeighborGraph(**arrays, method="exact", recall=1.0)
    with np.load(folder / "ratings.npz") as given:
        ratings = {rater: given[rater].astype(np.float64) for rater in RATERS}
    table = pool_of(graph.n_rows)
    seconds = {}
    for rater, values in ratings.items():
        start = time.perf_counter()
        DS2(max(1, graph.n_rows // 30), scale="0-5", correct="all").fit(table, ratings=values, graph=graph)
        seconds[rater] = time.perf_counter() - start
    return {"seconds": sum(seconds.values()), **seconds}


TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "make": make,
    "whole": whole,
    "curation": curation,
}


def peak_gib() -> float:
    """Peak resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    task, folder = sys.argv[1:]
    found = TASKS[task](Path(folder))
    print(json.dumps({**found, "peak GiB": peak_gib()}))


if __name__ == "__main__":
    main()
