"""What cutting and healing did: size, speed, perplexity and what a model can still write, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.evidence import Evidence
from tamis.evidence.ratios import ratio_interval
from tamis.evidence.resampling import Estimate
from tamis.prune.speed import mean_over_rounds

PERPLEXITY = "perplexity of held-out text"
CHANGE = "change of the loss a held-out token (nats)"
SOLVED = "share solved"
SIZES = {
    "layers": "layers",
    "parameters": "parameters",
    "bytes": "bytes of the weights",
    "cache_bytes_per_token": "bytes of the cache a token",
}
SPEEDS = {"prefill": "tokens read a second (prefill)", "decode": "tokens written a second (decode)"}
HELD = "held-out records"
MOST_NATS = 700.0
"""Nats a token beyond which a perplexity is no number any more."""

Measured = Mapping[str, Any]


def perplexity(sums: Sequence[float], counts: Sequence[int]) -> Estimate:
    """``exp`` of the mean loss a token, with the interval over records.

    Examples
    --------
    >>> perplexity([np.log(4.0) * 3, np.log(4.0) * 5], [3, 5])
    (4.0, 4.0, 4.0)
    """
    found = np.minimum(ratio_interval(np.asarray(sums), np.asarray(counts)), MOST_NATS)
    value, low, high = np.exp(found).tolist()
    return value, low, high


def prune_evidence(
    measured: Mapping[str, Measured], sizes: Mapping[str, Measured], speed: Sequence[Mapping[str, Any]]
) -> Evidence:
    """Rows about each model after the uncut one.

    Intervals of losses are over records, those of speeds over rounds; changes are paired. Sizes are counted, not
    estimated: their interval is the value.

    Parameters
    ----------
    measured : mapping
        By model (``dense`` first): ``sums`` and ``counts`` of the held-out records, ``solved`` by probe, ``tasks``.
    sizes : mapping
        By model, as :func:`tamis.prune.sizes.sizes` returns them.
    speed : sequence of dict
        As :func:`tamis.prune.speed.time_models` returns them.
    """
    dense, rows = measured.get("dense"), []
    for model in sizes:
        if model == "dense":
            continue
        for key, name in SIZES.items():
            before, after = sizes["dense"][key], sizes[model][key]
            if after is not None:
                better = "lower"
                rows.append(_row(name, "", model, before, (after, after, after), None, better))
        rows += _speeds(model, speed)
        if dense is not None and model in measured:
            rows += _against(dense, measured[model], model)
    return Evidence(row for row in rows if row is not None)


def _speeds(model: str, speed: Sequence[Mapping[str, Any]]) -> list[Any]:
    found = []
    for key, name in SPEEDS.items():
        own, before = ([each[key] for each in speed if each["model"] == who] for who in (model, "dense"))
        if own:
            found.append(_row(name, "", model, mean_over_rounds(before)[0], mean_over_rounds(own), len(own), "higher"))
    return found


def _against(dense: Measured, own: Measured, model: str) -> list[Any]:
    """Losses and probes of a model beside the uncut one."""
    found = []
    if own["sums"]:
        counts = own["counts"]
        n = sum(counts)
        before, _, _ = perplexity(dense["sums"], counts)
        found.append(_row(PERPLEXITY, HELD, model, before, perplexity(own["sums"], counts), n, "lower"))
        gap = ratio_interval(np.subtract(own["sums"], dense["sums"]), np.asarray(counts))
        found.append(_row(CHANGE, HELD, model, None, gap, n, "lower"))
    for probe, estimate in own["solved"].items():
        found.append(_row(SOLVED, probe, model, dense["solved"][probe][0], estimate, own["questions"], "higher"))
    for before_, after in zip(dense["tasks"], own["tasks"], strict=True):
        name, split = f"share right ({after['metric']})", f"lm-eval {after['task']}"
        found.append(_row(name, split, model, before_["estimate"][0], after["estimate"], after["n"], "higher"))
    return found


def _row(
    metric: str, split: str, group: str, before: float | None, after: Sequence[float], n: int | None, better: str
) -> Any:
    if any(value is None or np.isnan(value) for value in after):
        return None
    value, low, high = after
    return {"metric": metric, "split": split, "group": group, "before": before, "after": value, "low": low,
            "high": high, "n": n, "better": better}  # fmt: skip
