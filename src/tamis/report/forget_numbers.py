"""Numbers of a forget run as the page writes them, and the rows of its evidence by what they are about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.evidence.forgetting import METRICS
from tamis.forget.certificate import FOLDER
from tamis.forget.comparison import ACCURACY, AVERAGE, GAP, RUNTIME
from tamis.report.rendering import decimal, share_with_interval, with_interval
from tamis.report.tokens_strips import plain

Found = Mapping[str, Any]
Row = Mapping[str, Any]
Rows = Sequence[Row]
Interval = tuple[float, float | None, float | None]
"""Value, low, high; without the ends where a single measurement has no interval."""

SHOWN = (*METRICS, "AUC")
"""What is measured of each model, in percent, in the order of the page."""
MODELS = ("original", "edited", "retrained")
WORDS = {"original": "original", "edited": "edited", "retrained": "trained anew"}
NOT_MEASURED = "not measured"
UNCHANGED = "unchanged"
RELEARNING_STEPS = (0, 1, 2, 5, 10)
CLASS, GROUP = "class ", "group "
"""Beginnings of the groups of evidence about accuracy."""


def row_of(evidence: Rows, metric: str, group: str = "edited", split: str | None = None) -> Row | None:
    """Return the row about a metric of a model; None if it was not measured."""
    return next(
        (row for row in evidence if row["metric"] == metric and row["group"] == group
         and (split is None or row["split"] == split)),
        None,
    )  # fmt: skip


def estimate_of(row: Row) -> Interval:
    """Return value and interval of a row, the interval cut off where the quantity ends.

    The Student interval of two or three seeds may reach below 0 or above 100 %, where no share can be.

    Examples
    --------
    >>> estimate_of({"metric": "UA", "after": 99.0, "low": 97.0, "high": 101.0, "n": 40})
    (99.0, 97.0, 100.0)
    >>> estimate_of({"metric": RUNTIME, "after": 0.5, "low": 0.5, "high": 0.5, "n": 1})
    (0.5, None, None)
    """
    value, low, high = row["after"], row["low"], row["high"]
    if low is None or high is None or (row["metric"] == RUNTIME and row["n"] == 1):
        return value, None, None
    most = 100.0 if row["metric"] in (*SHOWN, ACCURACY) else math.inf
    return value, min(max(low, 0.0), value), max(min(high, most), value)


def is_cut_off(evidence: Rows) -> bool:
    """Whether :func:`estimate_of` shortens an interval."""
    return any(None not in estimate_of(row) and estimate_of(row)[1:] != (row["low"], row["high"]) for row in evidence)


def percent(estimate: Sequence[float | None]) -> str:
    """Write a percentage with its interval, without the sign.

    Examples
    --------
    >>> percent((4.1026, 3.0, 5.2)), percent((4.1026, None, None))
    ('4.1 (3.0 to 5.2)', '4.1 (no interval)')
    """
    return with_interval(estimate, 1)


def written(row: Row, *, before: bool = False) -> str:
    """Write the value of a row, before or after, in the digits of its metric.

    Examples
    --------
    >>> row = {"metric": GAP, "before": 3.846, "after": 0.256, "low": 0.0, "high": 2.463, "n": 3}
    >>> written(row), written(row, before=True)
    ('0.26 (0.00 to 2.46)', '3.85')
    """
    digits = 2 if row["metric"] in (GAP, AVERAGE) else 1
    if before:
        return decimal(row["before"], digits)
    if row["metric"] == RUNTIME:
        return share_with_interval(estimate_of(row))
    return with_interval(estimate_of(row), digits)


def average_gap(evidence: Rows) -> Row | None:
    """Return the row about the average gap; None if there is nothing to compare with."""
    return row_of(evidence, AVERAGE)


def kept_step(found: Found) -> int | None:
    """Return the step whose weights the first seed kept for their distance from the aim.

    None if no held-out examples measured one, if training diverged, or if the model is as it came in, so that no step
    came closer.
    """
    if not any(point.get("held_out") is not None for point in found["curve"]) or is_unchanged(found):
        return None
    kept: int | None = found["method"].get("kept", [None])[0]
    return kept


def is_unchanged(found: Found) -> bool:
    """Whether the first seed's model is, or says the same of all examples as, the one that came in."""
    return bool(found.get(UNCHANGED, False)) or found["method"].get("kept", [None])[0] == 0


def with_unchanged(found: Found, folder: Path) -> Found:
    """Return findings that know, from the predictions of the certificate, whether the model is as it came in.

    Parameters
    ----------
    found : mapping
    folder : Path
        Run directory.
    """
    path = folder / FOLDER / "predictions.parquet"
    if not path.exists():
        return found
    frame = pl.read_parquet(path, columns=["model", "seed", "split", "id", "confidence"]).filter(pl.col("seed") == 0)
    before, after = (
        frame.filter(pl.col("model") == model).sort("split", "id")["confidence"] for model in ("original", "edited")
    )
    return {**found, UNCHANGED: before.equals(after)}


def thinned(curve: Sequence[Mapping[str, Any]], limit: int = 400) -> list[Mapping[str, Any]]:
    """Return every k-th step so that about ``limit`` are left, all with a distance, the first of a repair, the last.

    Examples
    --------
    >>> [point["step"] for point in thinned([{"step": i} for i in range(1, 8)], limit=3)]
    [1, 4, 7]
    """
    every, repair = max(1, -(-len(curve) // limit)), repair_step(curve)
    return [point for i, point in enumerate(curve)
            if not i % every or i == len(curve) - 1 or point.get("held_out") is not None
            or point["step"] == repair]  # fmt: skip


def repair_step(curve: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first step of the repair, or None."""
    return next((int(point["step"]) for point in curve if point.get("repair")), None)


def of_seeds(found: Found) -> list[dict[str, Any]]:
    """Values of each seed's models."""
    return [
        {
            "model": WORDS.get(model, model),
            "seed": number,
            "values": [decimal(values[name][number], 1) if name in values else NOT_MEASURED for name in SHOWN],
            "seconds": found["seconds"][model][number],
        }
        for model, values in found["metrics"].items()
        if model != "original"
        for number in range(len(values["UA"]))
    ]


def relearning(found: Found) -> list[dict[str, Any]]:
    """Rows of the table that says how fast models learn again what they were to forget."""
    return [
        {"model": WORDS[model], "values": [decimal(values[step], 1) for step in RELEARNING_STEPS]}
        for model, values in found["relearning"].items()
    ]


def changes(found: Found, evidence: Rows, beginning: str, marked: Sequence[str]) -> list[dict[str, Any]]:
    """Accuracy by class or by group, before and after.

    Parameters
    ----------
    found : mapping
    evidence : sequence of mapping
    beginning : str
        ``CLASS`` or ``GROUP``.
    marked : sequence of str
        Those to be forgotten. One without a row was not measured, and is shown so.
    """
    rows = {
        row["group"].removeprefix(beginning): row
        for row in evidence
        if row["metric"] == ACCURACY and row["group"].startswith(beginning)
    }
    shown = [
        {
            "name": name_of(found, beginning + value), "marked": value in marked, "n": row["n"],
            "before": written(row, before=True), "after": written(row), "change": row["after"] - row["before"],
        }
        for value, row in rows.items()
    ]  # fmt: skip
    absent = [value for value in marked if value not in rows and rows]
    shown += [{"name": name_of(found, beginning + value), "marked": True, "n": 0, "before": NOT_MEASURED,
               "after": NOT_MEASURED, "change": None} for value in absent]  # fmt: skip
    return shown


def name_of(found: Found, group: str) -> str:
    """Return the name of a class or group of the evidence, on one line.

    Examples
    --------
    >>> found = {"model": {"classes": ["cat", "dog"]}}
    >>> name_of(found, "class 1"), name_of(found, "group class 1"), name_of(found, "edited")
    ('dog', 'class 1', 'edited')
    """
    if group.startswith(CLASS):
        number, names = group.removeprefix(CLASS), found["model"]["classes"]
        return plain(str(names[int(number)] if number.isdigit() and int(number) < len(names) else number))
    return plain(group.removeprefix(GROUP))


def evidence_table(found: Found, evidence: Rows) -> list[dict[str, Any]]:
    """All rows of the evidence as cells."""
    forgotten = {f"{CLASS}{number}" for number in found["request"]["gone"]}
    table = []
    for row in evidence:
        group = str(row["group"])
        kind = next((kind for kind in (CLASS, GROUP) if group.startswith(kind)), "")
        of = f"{kind}{name_of(found, group)}" if kind else WORDS.get(group, group)
        asked = group in forgotten  # its fall is what was asked, so that higher is not better
        table.append({"metric": row["metric"], "split": plain(row["split"] or ""), "of": of, "model": not kind,
                      "before": written(row, before=True), "after": written(row), "n": row["n"],
                      "better": "neither" if asked else row["better"]})  # fmt: skip
    return table


def mean(values: Sequence[float]) -> float:
    """Mean over seeds."""
    return float(np.mean(values))
