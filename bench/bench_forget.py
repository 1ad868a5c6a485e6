"""Forgetting: how close each way comes to training anew, on real data, and what it costs.

``python bench/bench_forget.py [--seeds 5] [--data mnist,adult,digits] [--tasks "random 10,class"] [--json PATH]``

A network is trained, and anew without what is to be forgotten. Each way edits the first; UA, RA, TA, MIA and their gap
to the second follow. All ways but gradient ascent and UGradSL+ "all epochs" stop by held-out examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from forget_worlds import DATA_SETS, DataSet
from tables import SHARED_DATA, at_most, begin, not_judged, parser, reported

from tamis.evidence.forgetting import METRICS, average_gap
from tamis.forget.baselines import (
    BadTeacher,
    FineTune,
    GradientAscent,
    L1Sparse,
    NegGradPlus,
    RandomLabels,
    Retrain,
    SalUn,
    Scrub,
)
from tamis.forget.forgetter import Forgetter
from tamis.forget.ugradsl import UGradSL
from tamis.train.labelled import CrossEntropy
from tamis.train.loop import train

WAYS: dict[str, tuple[Callable[..., Forgetter], dict[str, Any]]] = {
    "FT": (FineTune, {}),
    "GA, rate 0.001": (GradientAscent, {"learning_rate": 0.001}),
    "GA, rate 0.01": (GradientAscent, {"learning_rate": 0.01}),
    "NegGrad+": (NegGradPlus, {}),
    "random labels": (RandomLabels, {}),
    "l1-sparse": (L1Sparse, {}),
    "SalUn": (SalUn, {}),
    "SCRUB": (Scrub, {}),
    "bad teacher": (BadTeacher, {}),
    "UGradSL": (UGradSL, {"plus": False}),
    "UGradSL+": (UGradSL, {}),
    "UGradSL+, all epochs": (UGradSL, {}),
    "UGradSL+, alpha 0": (UGradSL, {"alpha": 0.0}),
    "UGradSL+, alpha +0.5": (UGradSL, {"alpha": 0.5, "force": True}),
    "UGradSL+, paper's rate": (UGradSL, {"alpha": "paper"}),
    "UGradSL+, deniability": (UGradSL, {"alpha": "deniability"}),
}
WITHOUT_RULE = ("GA, rate 0.001", "GA, rate 0.01", "UGradSL+, all epochs")
BARS = {"random 10": 1.5, "class": 2.0}
MAX_SHARE = 0.10
COLLAPSE = 5.0


def one_task(data: DataSet, task: str, seeds: int) -> list[dict[str, Any]]:
    """Metrics of the original, the retrained and every edited network, seed by seed."""
    found = []
    for seed in range(seeds):
        split = data.split(seed, task)
        original = data.fresh(seed)
        settings = type(data.training)(**{**data.training.to_json(), "seed": seed})
        train(original, CrossEntropy(split.examples), settings)
        ways: dict[str, tuple[Forgetter, Any]] = {
            "training anew": (Retrain(training=data.training, fresh=data.fresh, seed=1000 + seed), None)
        }
        for name, (made, params) in WAYS.items():
            ways[name] = made(seed=seed, **params), None if name in WITHOUT_RULE else split.held_out
        found.append({"way": "original", "seed": seed, **split.metrics(original), "seconds": 0.0, "diverged": False})
        for name, (way, held_out) in ways.items():
            done = way.apply(original, split.examples, split.forget, held_out=held_out)
            found.append({"way": name, "seed": seed, **split.metrics(done.network), "seconds": done.seconds,
                          "diverged": done.diverged})  # fmt: skip
    return found


def summarised(found: list[dict[str, Any]], *, n_bootstrap: int = 2000) -> list[dict[str, Any]]:
    """Means over seeds; the gap to training anew with its percentile interval over resampled seeds."""
    by = {way: [row for row in found if row["way"] == way] for way in dict.fromkeys(row["way"] for row in found)}
    anew = by["training anew"]
    n = len(anew)
    draws = np.random.default_rng(0).integers(0, n, (n_bootstrap, n))
    rows = []
    for way, own in by.items():
        values, target = ({name: [row[name] for row in part] for name in METRICS} for part in (own, anew))
        gaps = [average_gap(*({m: [each[m][i] for i in draw] for m in METRICS} for each in (values, target)))
                for draw in draws] if n > 1 else [float("nan")]  # fmt: skip
        low, high = np.quantile(gaps, [0.025, 0.975])
        row = {"way": way, **{name: float(np.mean([each[name] for each in own])) for name in (*METRICS, "AUC")}}
        row |= {"gap": average_gap(values, target), "low": float(low), "high": float(high)}
        row["time"] = float(np.median([a["seconds"] / b["seconds"] for a, b in zip(own, anew, strict=True)]))
        row["diverged"] = sum(each["diverged"] for each in own)
        rows.append(row)
    return rows


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--data", default="mnist,adult,digits")
    made.add_argument("--tasks", default="random 10,class")
    options = made.parse_args()
    report = begin("forget", options)
    if not (SHARED_DATA / "mnist").is_dir():
        report.skip(f"no data in {SHARED_DATA}")
        return
    if options.quick:
        options.seeds, options.data = 1, "digits"
    for name in options.data.split(","):
        data = DATA_SETS[name]()
        for task in options.tasks.split(","):
            rows = summarised(one_task(data, task, options.seeds))
            report.table(
                f"{data.name}, {task}: mean of {options.seeds} seeds, gap in points, time / training anew", rows
            )
            gaps = {row["way"]: row for row in rows}
            ours = gaps["UGradSL+"]
            label = f"forget: {data.name}, {task}: UGradSL+"
            rivals = min(gaps[way]["gap"] for way in gaps if way.startswith(("FT", "GA", "random labels")))
            bars = [
                at_most(f"{label}, average gap", ours["gap"], BARS.get(task, 2.0), unit=" points"),
                at_most(
                    f"{label}, gap less the best of FT, GA, random labels", ours["gap"] - rivals, 0, unit=" points"
                ),
                at_most(f"{label}, time / training anew", ours["time"], MAX_SHARE, unit="x"),
                at_most(f"{label}, points of RA lost", gaps["original"]["RA"] - ours["RA"], COLLAPSE),
            ]
            report.bars += [not_judged(bar, "one seed") for bar in bars] if options.quick else bars
            report.bars.append(reported(f"{label}, 95 % of the gap", f"{ours['low']:.2f} to {ours['high']:.2f}"))
    report.finish()


if __name__ == "__main__":
    main()
