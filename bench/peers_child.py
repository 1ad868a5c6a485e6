"""One task of ``bench_peers_scale`` in a process of its own, so that its peak memory is its own.

``python bench/peers_child.py TASK FOLDER`` prints one JSON object. The parent must stay small: on Linux a child
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


def codes_of(folder: Path) -> tuple[Any, Any]:
    """Answers and conditions as codes, without the reader."""
    import polars as pl

    from tamis.data.answer_codes import AnswerCodes
    from tamis.people.crowd_scores import Condition

    answers = pl.read_csv(folder / "answers.csv").with_columns(pl.col("task", "worker").str.slice(1).cast(pl.Int32))
    codes = AnswerCodes.of(*(answers[name].to_numpy() for name in ("task", "worker", "label")))
    labels = pl.read_csv(folder / "llm.csv").with_columns(pl.col("task").str.slice(1).cast(pl.Int32)).sort("task")
    conditions = []
    for model in ("a", "b"):
        samples = [
            labels.filter(pl.col("model") == model, pl.col("sample") == s)["label"].to_numpy().astype(np.int32)
            for s in range(2)
        ]
        conditions.append(Condition(model, samples[0], np.stack(samples[1:])))
    return codes, conditions


def score(folder: Path) -> dict[str, Any]:
    """CA and both conditioned scores of all workers and virtual workers, with standard errors and thresholds."""
    from tamis.people import PeerPrediction
    from tamis.people.crowd_scores import score_condition
    from tamis.people.intervals import lowest_intervals
    from tamis.people.virtual import reference, strictest

    codes, conditions = codes_of(folder)
    method = PeerPrediction()
    start = time.perf_counter()
    terms = [score_condition(codes, conditions, i, estimator=method.estimator, seed=0) for i in (-1, 0, 1)]
    scores = method.crowd_scores(terms, conditions)
    references = [
        reference(c.model, v, rng=np.random.default_rng(0)) for c, v in zip(conditions, scores.virtual, strict=True)
    ]
    threshold = strictest(references)
    scored = time.perf_counter() - start
    start = time.perf_counter()
    score, se = (
        np.column_stack([getattr(found, name)[:, 0] for found in scores.conditioned]) for name in ("score", "se")
    )
    lowest_intervals(score, se, scores.used)
    return {
        "seconds": scored,
        "intervals": time.perf_counter() - start,
        "answers": len(codes),
        "flagged": int((scores.score <= threshold.threshold[0]).sum()) if threshold else None,
    }


def aggregate(folder: Path) -> dict[str, Any]:
    """Our Dawid-Skene, 100 rounds."""
    from tamis.noise import dawid_skene

    codes, _ = codes_of(folder)
    start = time.perf_counter()
    found = dawid_skene(codes, tolerance=0.0)
    return {"seconds": time.perf_counter() - start, "rounds": found.n_rounds}


def crowdkit(folder: Path) -> dict[str, Any]:
    """crowd-kit's Dawid-Skene, 100 rounds."""
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    frame = pd.read_csv(folder / "answers.csv")
    start = time.perf_counter()
    DawidSkene(n_iter=100, tol=0).fit(frame)
    return {"seconds": time.perf_counter() - start}


TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {"score": score, "aggregate": aggregate, "crowdkit": crowdkit}


def main() -> None:
    task, folder = sys.argv[1:]
    found = TASKS[task](Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**found, "peak GiB": peak}))


if __name__ == "__main__":
    main()
