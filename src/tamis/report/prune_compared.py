"""The cut model beside the uncut one: ratios for the figure, and the evidence as one row a quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.prune.evidence import CHANGE, HELD, PERPLEXITY, SIZES, SPEEDS
from tamis.report import prune_numbers as numbers
from tamis.report.prune_ratios import Ratio
from tamis.report.rendering import ABSENT, count, decimal, share, share_with_interval, with_interval
from tamis.report.tokens_strips import plain

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

MODELS = ("cut", "healed")
SHARES = "share "
"""Beginning of the names of metrics that are shares."""
SHORT = {"layers": "layers", "parameters": "parameters", "bytes": "bytes of weights",
         "cache_bytes_per_token": "cache a token", "prefill": "tokens read / s",
         "decode": "tokens written / s"}  # fmt: skip
"""Names of quantities in the figure."""


def ratios(found: Found, evidence: Rows, last: str) -> list[tuple[str, list[Ratio]]]:
    """Return size, speed and quality of the model ``last`` beside the uncut one; a group may be empty."""
    dense, final = found["sizes"]["dense"], found["sizes"][last]
    size, speed, quality = [], [], []
    for key in SIZES:
        if dense[key] and final[key] is not None:
            ratio = final[key] / dense[key]
            absolute = numbers.short(final[key], "B" if "bytes" in key else "")
            size.append(Ratio(SHORT[key], (ratio, ratio, ratio), f"{share(ratio)}, {absolute}"))
    for key, name in SPEEDS.items():
        row = numbers.row_of(evidence, name, last)
        if row is not None and row["before"]:
            value, low, high = (each / row["before"] for each in numbers.estimate_of(row))
            words = share_with_interval([value, low, high])
            speed.append(Ratio(SHORT[key], (value, low, high), words))
    for group in MODELS:
        grew = numbers.loss_of_quality(evidence, group)
        if grew is not None:
            words = f"× {numbers.times_with_interval(grew).replace(' times', '')}"
            quality.append(Ratio(f"perplexity, {group}", grew, words, quiet=group != last))
    return [("Size: less is better", size), ("Speed: more is better", speed), ("Quality: less is better", quality)]


def table(evidence: Rows) -> list[dict[str, Any]]:
    """Rows of the evidence, one for each quantity, the models side by side."""
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in evidence:
        found.setdefault((row["metric"], row["split"] or ""), {})[row["group"]] = row
    return [
        {
            "metric": plain(metric),
            "split": "" if split == HELD and metric in (PERPLEXITY, CHANGE) else plain(split),
            "before": evidence_cell(next(iter(rows.values())), before=True),
            "after": {model: evidence_cell(rows.get(model)) or "–" for model in MODELS},
            "n": next(iter(rows.values()))["n"],
            "better": next(iter(rows.values()))["better"],
        }
        for (metric, split), rows in found.items()
    ]


def evidence_cell(row: Mapping[str, Any] | None, *, before: bool = False) -> str:
    """Write one cell of the evidence: a count exactly, an estimate with its interval.

    Examples
    --------
    >>> evidence_cell({"metric": "parameters", "before": 9.0, "after": 7.0, "low": 7.0, "high": 7.0})
    '7'
    """
    if row is None:
        return ""
    metric, estimate = row["metric"], numbers.estimate_of(row)
    if before:
        return _plain_number(metric, row["before"])
    if metric in SIZES.values():
        return count(row["after"])
    if metric == PERPLEXITY:
        return numbers.perplexity_with_interval(estimate)
    if metric.startswith(SHARES):
        return share_with_interval(estimate)
    if metric in SPEEDS.values():
        value, low, high = (_speed(each) for each in estimate)
        return f"{value} ({low} to {high})"
    return with_interval(estimate, 3)


def _plain_number(metric: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    if metric in SIZES.values():
        return count(value)
    if metric == PERPLEXITY:
        return numbers.perplexity(value)
    if metric.startswith(SHARES):
        return share(value, 0)
    return _speed(value) if metric in SPEEDS.values() else decimal(value, 3)


def _speed(value: float) -> str:
    return count(value) if value >= 100 else decimal(value, 1)
