"""Forgetting: how close each way comes to training anew, on real data, and what it costs.

``python bench/bench_forget.py [--seeds 5] [--data mnist,adult,digits] [--tasks "random 10,class"] [--json PATH]``

A network is trained, and anew without what is to be forgotten. Each way edits the first; UA, RA, TA, MIA and their gap
to the second follow. All ways but gradient ascent and UGradSL+ "all epochs" stop by held-out examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from forget_worlds import DATA_SETS, DataSet, Split
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
        original = trained(data, split, seed)
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


def trained(data: DataSet, split: Split, seed: int) -> Any:
    """A network trained on all examples."""
    network = data.fresh(seed)
    train(network, CrossEntropy(split.examples), replace(data.training, seed=seed))
    return network


def stability(data: DataSet, task: str, seeds: int) -> list[dict[str, Any]]:
    """Points of accuracy on what stays that the defaults cost, and whether a loss was not finite, for many seeds."""
    found = []
    for seed in range(seeds):
        split = data.split(seed, task)
        original = trained(data, split, seed)
        began = split.retained(original)
        for name in ("UGradSL", "UGradSL+"):
            made, params = WAYS[name]
            done = made(seed=seed, **params).apply(original, split.examples, split.forget, held_out=split.held_out)
            lost = began - split.retained(done.network)
            found.append({"data": data.name, "task": task, "way": name, "seed": seed, "lost": lost,
                          "diverged": done.diverged})  # fmt: skip
    return found


def step_seconds(data: DataSet, rounds: int, steps: int) -> dict[str, float]:
    """Least seconds a step of four ways, timed in turn, no stop rule."""
    split = data.split(0, "random 10")
    network = data.fresh(0)
    n, m = len(split.forget), len(split.examples) - len(split.forget)
    ways = {
        "GA": GradientAscent(epochs=64 * steps / n), "UGradSL": UGradSL(plus=False, epochs=64 * steps / n),
        "FT": FineTune(epochs=64 * steps / m), "UGradSL+": UGradSL(epochs=64 * steps / m),
    }  # fmt: skip
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            done = way.apply(network, split.examples, split.forget)
            seconds = sum(line["seconds"] for line in done.steps[1:]) / (len(done.steps) - 1)
            best[name] = min(seconds, best.get(name, float("inf")))
    return best


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
    made.add_argument("--stability-seeds", type=int, default=20, help="0 for none")
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
    seeds = 2 if options.quick else options.stability_seeds
    every = [row for name in options.data.split(",") for task in options.tasks.split(",")
             for row in stability(DATA_SETS[name](), task, seeds)] if seeds else []  # fmt: skip
    if every:
        worst = max(every, key=lambda row: float(row["lost"]))
        report.say(f"{len(every)} runs; the worst lost {worst['lost']:.2f} points of RA: {worst}")
        broken = sum(row["diverged"] or row["lost"] > COLLAPSE for row in every)
        report.bars.append(at_most(f"forget: runs of {len(every)} that diverged or collapsed", broken, 0, digits=0))
    seconds = step_seconds(DATA_SETS["mnist"](), 2 if options.quick else 7, 20)
    report.table("Seconds a step, MNIST", [{"way": name, "seconds": each} for name, each in seconds.items()])
    overhead = [
        at_most("forget: a step of UGradSL / of gradient ascent", seconds["UGradSL"] / seconds["GA"], 1.15, unit="x"),
        at_most("forget: a step of UGradSL+ / of fine-tuning", seconds["UGradSL+"] / seconds["FT"], 2.1, unit="x"),
    ]
    report.bars += [not_judged(bar, "two rounds") for bar in overhead] if options.quick else overhead
    report.finish()


if __name__ == "__main__":
    main()
