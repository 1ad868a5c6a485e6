"""Predictions of the original, the edited and the retrained model, and the evidence that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tamis.evidence import Evidence
from tamis.evidence.forgetting import METRICS, Predictions, attack_auc, average_gap, forgetting_metrics
from tamis.evidence.resampling import Estimate, share_interval, student_interval

SPLITS = ("forget", "retain", "test")
BETTER = {"UA": "neither", "RA": "higher", "TA": "higher", "MIA": "neither", "AUC": "neither"}
SPLIT_OF = {"UA": "forget", "RA": "retain", "TA": "test", "MIA": "forget", "AUC": "forget"}
GAP, AVERAGE, RUNTIME = "gap to retraining (points)", "average gap to retraining (points)", "time / time of retraining"
ACCURACY = "accuracy (%)"


class Comparison:
    """What is measured of models that were, or were not, made to forget.

    Parameters
    ----------
    frame : polars.DataFrame
        ``model`` (original, edited, other ways to forget, retrained), ``seed``, ``split``, ``id``, ``label``,
        ``predicted``, ``confidence``, ``margin``, ``group``: one row a model, seed and example.
    forgotten_classes : sequence of int
        Left out of the test set.
    seconds : mapping
        By model, seconds of each seed.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        *,
        forgotten_classes: Sequence[int],
        seconds: Mapping[str, Sequence[float]],
        seed: int,
    ) -> None:
        self.frame, self.gone, self.seconds = frame, list(forgotten_classes), seconds
        self.tested = "test" in frame["split"].unique().to_list()
        self.metrics = {model: self._metrics(model, seed) for model in frame["model"].unique(maintain_order=True)}

    def _metrics(self, model: str, seed: int) -> dict[str, list[float]]:
        own = self.frame.filter(pl.col("model") == model)
        found: list[dict[str, float]] = []
        for number in own["seed"].unique().sort().to_list():
            parts = own.filter(pl.col("seed") == number)
            forget, retain, test = (predictions_of(parts.filter(pl.col("split") == name)) for name in SPLITS)
            if self.tested:
                found.append(forgetting_metrics(forget, retain, test, forgotten_classes=self.gone, seed=seed))
            else:  # what can be said without examples that no model has seen
                found.append({"UA": 100 - 100 * float(forget.right.mean()), "RA": 100 * float(retain.right.mean())})
        return {name: [each[name] for each in found] for name in found[0]}

    @property
    def others(self) -> list[str]:
        """Other ways to forget that were measured too."""
        return [model for model in self.metrics if model not in ("original", "edited", "retrained")]

    @property
    def has_gap(self) -> bool:
        """Whether there is a retrained model, and examples to measure all of the gap with."""
        return "retrained" in self.metrics and self.tested

    def gap(self) -> dict[str, float] | None:
        """Distance of seed means from the retrained model by metric, in points, and ``average``; None without one."""
        if not self.has_gap:
            return None
        edited, anew = self.metrics["edited"], self.metrics["retrained"]
        by = {name: abs(float(np.mean(edited[name]) - np.mean(anew[name]))) for name in METRICS}
        return {**by, "average": average_gap(edited, anew), "original": average_gap(self.metrics["original"], anew)}

    def evidence(self) -> Evidence:
        """Rows about the edited model, about the retrained one, and about other ways to forget."""
        rows = []
        for model in ("edited", "retrained", *self.others):
            if model in self.metrics:
                rows += [self._row(name, model) for name in self.metrics[model]]
        if self.has_gap:
            rows += [self._gap_row(name, "edited") for name in METRICS]
            for model in ("edited", *self.others):
                rows += [self._average_row(model), self._runtime_row(model)]
        return Evidence([*rows, *self.by_column("label"), *self.by_column("group")])

    def _row(self, name: str, model: str) -> dict[str, Any]:
        value, low, high = self.estimate(name, model)
        split = SPLIT_OF[name]
        n = self._rows(model, split).height
        return {"metric": name, "split": split, "group": model, "before": self.metrics["original"][name][0],
                "after": value, "low": low, "high": high, "n": n, "better": BETTER[name]}  # fmt: skip

    def estimate(self, name: str, model: str) -> Estimate:
        """Mean over seeds with a Student interval; of one seed, the interval over examples."""
        values = self.metrics[model][name]
        if len(values) > 1:
            return student_interval(values)
        if name == "AUC":
            return attack_auc(predictions_of(self._rows(model, "forget")), predictions_of(self._rows(model, "test")))
        n = self._rows(model, SPLIT_OF[name]).height
        value, low, high = share_interval(values[0] / 100 * n, n)
        return 100 * value, 100 * low, 100 * high

    def _rows(self, model: str, split: str) -> pl.DataFrame:
        """Examples of the first seed that a metric is about: of the test set, those of classes that stay."""
        own = self.frame.filter((pl.col("model") == model) & (pl.col("split") == split) & (pl.col("seed") == 0))
        return own.filter(~pl.col("label").is_in(self.gone)) if split == "test" else own

    def _gap_row(self, name: str, model: str) -> dict[str, Any]:
        (a, a_low, a_high), (b, b_low, b_high) = (self.estimate(name, each) for each in (model, "retrained"))
        half = float(np.hypot(max(a_high - a, a - a_low), max(b_high - b, b - b_low)))
        gap = abs(a - b)
        return {"metric": GAP, "split": name, "group": model,
                "before": abs(self.metrics["original"][name][0] - b), "after": gap, "low": max(0.0, gap - half),
                "high": gap + half, "n": self._n(model), "better": "lower"}  # fmt: skip

    def _average_row(self, model: str) -> dict[str, Any]:
        rows = [self._gap_row(name, model) for name in METRICS]
        before, value = (float(np.mean([row[when] for row in rows])) for when in ("before", "after"))
        half = float(np.sqrt(sum((row["high"] - row["after"]) ** 2 for row in rows))) / len(rows)
        return {"metric": AVERAGE, "group": model, "before": before, "after": value, "low": max(0.0, value - half),
                "high": value + half, "n": self._n(model), "better": "lower"}  # fmt: skip

    def _runtime_row(self, model: str) -> dict[str, Any]:
        own, anew = (np.asarray(self.seconds[each]) for each in (model, "retrained"))
        ratios = (own / anew).tolist()
        value, low, high = student_interval(ratios) if len(ratios) > 1 else (ratios[0],) * 3
        return {"metric": RUNTIME, "group": model, "after": value, "low": low, "high": high, "n": len(ratios),
                "better": "lower"}  # fmt: skip

    def by_column(self, column: str) -> list[dict[str, Any]]:
        """Accuracy by class or by group before and after, on the test set, or without one on what stays."""
        split = "test" if self.tested else "retain"
        rows = []
        part = self.frame.filter((pl.col("split") == split) & pl.col(column).is_not_null())
        for value in part[column].unique().sort().to_list():
            own = part.filter(pl.col(column) == value)
            right = {model: own.filter(pl.col("model") == model).select((pl.col("label") == pl.col("predicted")).mean())
                     for model in ("original", "edited")}  # fmt: skip
            n = own.filter((pl.col("model") == "edited") & (pl.col("seed") == 0)).height
            share = float(right["edited"].item())
            _, low, high = share_interval(share * n, n)
            kind = "class" if column == "label" else "group"
            rows.append({"metric": ACCURACY, "split": split, "group": f"{kind} {value}",
                         "before": 100 * float(right["original"].item()), "after": 100 * share, "low": 100 * low,
                         "high": 100 * high, "n": n,
                         "better": "neither" if kind == "class" and value in self.gone else "higher"})  # fmt: skip
        return rows

    def _n(self, model: str) -> int:
        return len(self.metrics[model]["UA"])


def prediction_rows(
    predictions: Predictions, ids: Sequence[str], groups: Sequence[Any] | None, *, model: str, seed: int, split: str
) -> pl.DataFrame:
    """Rows of :class:`Comparison`'s frame."""
    n = len(ids)
    return pl.DataFrame(
        {
            "model": [model] * n,
            "seed": [seed] * n,
            "split": [split] * n,
            "id": list(ids),
            "label": predictions.labels,
            "predicted": predictions.predicted,
            "confidence": predictions.confidence,
            "margin": predictions.margin,
            "group": pl.Series([None] * n if groups is None else [str(each) for each in groups], dtype=pl.String),
        }
    )


def predictions_of(frame: pl.DataFrame) -> Predictions:
    """Predictions of some rows of :class:`Comparison`'s frame."""
    return Predictions(*(frame[name].to_numpy() for name in ("label", "predicted", "confidence", "margin")))
