"""Speed and recall of ``tamis.neighbors.knn_graph`` beside faiss and scikit-learn, on clustered unit vectors.

``python bench/bench_neighbors.py [--rows 20000 50000] [--json PATH]``

Each comparison runs in pairs, the two sides taking turns to go first, and gives the median of the ratios, so that a
machine which slows down meanwhile slows both. The vectors are synthetic: recall on other data must be measured there
(``knn_graph`` does, on 1,000 rows).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from data import clustered_unit_vectors
from numpy.typing import NDArray

from tamis.neighbors import knn_graph, merge_duplicates

Vectors = NDArray[np.float32]
Row = dict[str, object]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Return the median seconds of both sides and the median ratio ours / theirs, over alternating rounds."""
    times = []
    for turn in range(rounds):
        if turn % 2:
            their_time = seconds(theirs)
            times.append((seconds(ours), their_time))
        else:
            our_time = seconds(ours)
            times.append((our_time, seconds(theirs)))
    our_times, their_times = zip(*times, strict=True)
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(our_times), statistics.median(their_times), ratio


def against_faiss(X: Vectors, k: int, rounds: int) -> Row:
    """knn_graph against bare faiss.knn for the k + 1 nearest (faiss counts the row itself)."""
    ours, theirs, ratio = paired(
        lambda: knn_graph(X, k=k),
        lambda: faiss.knn(X, X, k + 1, metric=faiss.METRIC_INNER_PRODUCT),
        rounds,
    )
    return {"what": "exact / bare faiss.knn", "rows": len(X), "tamis_s": ours, "peer_s": theirs, "ratio": ratio}


def against_sklearn(X: Vectors, k: int, rounds: int) -> Row:
    """knn_graph against scikit-learn's brute-force cosine neighbours."""
    from sklearn.neighbors import NearestNeighbors

    peer = NearestNeighbors(n_neighbors=k + 1, metric="cosine", algorithm="brute").fit(X)
    ours, theirs, ratio = paired(lambda: knn_graph(X, k=k), lambda: peer.kneighbors(X), rounds)
    return {"what": "exact / scikit-learn brute", "rows": len(X), "tamis_s": ours, "peer_s": theirs, "ratio": ratio}


def approximate(X: Vectors, k: int, method: str) -> Row:
    """Build, search and recall measurement of an approximate graph."""
    start = time.perf_counter()
    graph = knn_graph(X, k=k, method=method)
    spent = time.perf_counter() - start
    return {"what": f"{method}, build and search", "rows": len(X), "tamis_s": spent, "recall": graph.recall}


def duplicates(X: Vectors, rounds: int) -> Row:
    """Grouping of exact copies, none of which are there."""
    spent = statistics.median(seconds(lambda: merge_duplicates(X)) for _ in range(rounds))
    return {"what": "merge_duplicates", "rows": len(X), "tamis_s": spent}


def show(row: Row) -> None:
    cells = [f"{row['what']!s:<28}", f"{row['rows']:>8}"]
    cells += [f"{row[name]:>10.2f}" if name in row else " " * 10 for name in ("tamis_s", "peer_s", "ratio")]
    cells.append(f"{row['recall']:>8.4f}" if "recall" in row else "")
    print(" ".join(cells).rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--sklearn-rows", type=int, default=10_000, help="rows for the comparison with scikit-learn")
    parser.add_argument("--methods", nargs="*", default=["ivf", "hnsw"], choices=["ivf", "hnsw"])
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--centres", type=int, default=2_000)
    parser.add_argument("--k", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1, help="pairs of runs per comparison")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the table, with the settings, to this file")
    options = parser.parse_args()

    threads = faiss.omp_get_max_threads()
    print(f"d={options.dimensions} centres={options.centres} k={options.k} threads={threads} cpus={os.cpu_count()}")
    print(f"{'what':<28} {'rows':>8} {'tamis s':>10} {'peer s':>10} {'ratio':>10} {'recall':>8}")
    rows: list[Row] = []

    def record(row: Row) -> None:
        rows.append(row)
        show(row)

    small = clustered_unit_vectors(options.sklearn_rows, options.dimensions, options.centres, options.seed)
    record(against_sklearn(small, options.k, options.rounds))
    for n in options.rows:
        X = clustered_unit_vectors(n, options.dimensions, options.centres, options.seed)
        record(duplicates(X, options.rounds))
        record(against_faiss(X, options.k, options.rounds))
        for method in options.methods:
            record(approximate(X, options.k, method))
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        result = {"settings": {**settings, "threads": threads, "faiss": faiss.__version__}, "rows": rows}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
