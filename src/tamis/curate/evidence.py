"""What curation changed in the pool, as evidence rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tamis.curate.ds2 import DS2
from tamis.data import Table
from tamis.evidence import Evidence, mean_interval
from tamis.runs.digests import derive_seed


def curation_evidence(ds2: DS2, table: Table) -> Evidence:
    """Compare the kept records with all measured ones.

    The mean score of what was kept is higher because high scores were kept: that describes the subset and does not
    prove that a model trained on it is better.

    Parameters
    ----------
    ds2 : DS2
        Fitted.
    table : Table
        The pool it was fitted on.
    """
    kept = (ds2.selection_.frame["decision"] == "keep").fill_null(False).to_numpy()
    metrics: list[tuple[str, str, np.ndarray, str]] = [
        ("curated score", "", ds2.score_, "higher"),
        ("rarity", "", ds2.longtail_, "neither"),
    ]
    if table.roles.keys() & {"prompt", "response", "messages"}:
        words = np.array([len(text.split()) for text in table.responses()], dtype=np.float64)
        metrics.append(("words in the response", "", words, "neither"))
    for name, found in ds2.raters_.items():
        metrics.append(("rating", name, found.labels.values, "higher"))
        # a rating that was replaced no longer stands, however doubtful it was
        standing = np.where(found.corrected, np.nan, found.correction.misrated_prob)
        metrics.append(("share of rounds that flag a rating left standing", name, standing, "lower"))
    rows = []
    for metric, group, values, better in metrics:
        rng = np.random.default_rng(derive_seed(ds2.seed, "evidence", metric, group))
        rows.append(_row(metric, group, values, kept, better, rng))
    return Evidence([row for row in rows if row is not None])


def _row(
    metric: str, group: str, values: np.ndarray, kept: np.ndarray, better: str, rng: np.random.Generator
) -> dict[str, Any] | None:
    chosen = values[kept & ~np.isnan(values)]
    if len(chosen) == 0:
        return None
    low, high = mean_interval(chosen, rng=rng)
    return {
        "metric": f"mean {metric}",
        "split": "kept against all measured",
        "group": group,
        "before": float(np.nanmean(values)),
        "after": float(chosen.mean()),
        "low": low,
        "high": high,
        "n": len(chosen),
        "better": better,
    }
