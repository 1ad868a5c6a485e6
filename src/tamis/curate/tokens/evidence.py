"""What the two models and the mask did to the loss, with intervals over records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.curate.tokens.outcome import Outcome
from tamis.evidence import Evidence
from tamis.evidence.ratios import ratio_interval

LOSS = "loss a token, by the base and by the reference (nats)"
SHARE = "share of candidate tokens that carry the loss"


def token_evidence(outcome: Outcome) -> Evidence:
    """Losses by base and reference on all, kept and masked tokens, and the share that is kept.

    The records are those that were cleaned: by default the reference has not seen them.
    """
    measured = np.isfinite(outcome.base) & np.isfinite(outcome.reference) & outcome.candidate
    kept = outcome.mask
    splits = {"ranked tokens": measured, "kept tokens": measured & kept, "masked tokens": measured & ~kept}
    found = []
    for split, which in splits.items():
        before, _, _ = _per_token(outcome, outcome.base, which)
        after = _per_token(outcome, outcome.reference, which)
        found.append(_row(LOSS, split, before, after, int(which.sum()), "lower"))
    share = _per_token(outcome, kept.astype(np.float32), outcome.candidate, bounds=(0.0, 1.0))
    found.append(_row(SHARE, "cleaned records", 1.0, share, int(outcome.candidate.sum()), "neither"))
    return Evidence(each for each in found if each is not None)


def _row(
    metric: str, split: str, before: float, after: tuple[float, float, float], n: int, better: str
) -> dict[str, Any] | None:
    value, low, high = after
    if np.isnan([value, low, high]).any():
        return None
    return {"metric": metric, "split": split, "before": before, "after": value, "low": low, "high": high, "n": n,
            "better": better}  # fmt: skip


def _per_token(
    outcome: Outcome,
    values: NDArray[np.float32],
    which: NDArray[np.bool_],
    bounds: tuple[float, float] | None = None,
) -> tuple[float, float, float]:
    row_of, n = outcome.rows.row_of[which], len(outcome.rows)
    sums = np.bincount(row_of, weights=values[which].astype(np.float64), minlength=n)
    return ratio_interval(sums, np.bincount(row_of, minlength=n), bounds=bounds)
