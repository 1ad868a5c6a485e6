"""What the crowd's data looks like as the workers with the lowest scores are taken out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.data import AnswerCodes
from tamis.evidence import Evidence, krippendorff_alpha, krippendorff_interval, mean_interval
from tamis.evidence.resampling import Estimate, share_interval
from tamis.people.peer import PeerPrediction
from tamis.runs.digests import derive_seed

POINTS = 60
FEW = 2
"""Answers below which a task cannot show a disagreement."""


def coverage_curve(codes: AnswerCodes, rank: NDArray[np.int64]) -> dict[str, list[float]]:
    """Share of tasks with at least one and at least two answers left, as workers are removed from the lowest score up.

    Parameters
    ----------
    codes : AnswerCodes
    rank : ndarray of int, shape (n_workers,)
        0 = removed last; -1 for workers without a score, who are never removed.

    Returns
    -------
    dict
        ``removed`` (number of workers), ``one`` and ``two`` (shares of tasks), lists of the same length.

    Examples
    --------
    >>> codes = AnswerCodes.of([0, 0, 1], [0, 1, 1], [0, 0, 1])
    >>> coverage_curve(codes, np.array([0, 1]))
    {'removed': [0, 1, 2], 'one': [1.0, 0.5, 0.0], 'two': [0.5, 0.0, 0.0]}
    """
    n_ranked = int((rank >= 0).sum())
    # the worker of rank r goes when n_ranked - r workers are removed
    leaves = np.where(rank >= 0, n_ranked - rank, n_ranked + 1)[codes.worker]
    order = np.lexsort((leaves, codes.task))
    ends = np.cumsum(codes.per_task)
    answered = codes.per_task > 0
    last = np.where(answered, leaves[order][np.maximum(ends - 1, 0)], 0)
    second = np.where(codes.per_task >= FEW, leaves[order][np.maximum(ends - FEW, 0)], 0)
    removed = np.unique(np.linspace(0, n_ranked, min(POINTS, n_ranked) + 1).round().astype(int))
    n_tasks = max(1, int(answered.sum()))
    return {
        "removed": removed.tolist(),
        "one": [float((last > r).sum() / n_tasks) for r in removed],
        "two": [float((second > r).sum() / n_tasks) for r in removed],
    }


def audit_evidence(method: PeerPrediction, codes: AnswerCodes) -> Evidence:
    """Compare the crowd before and after flagged workers are taken out.

    Higher confidence and agreement describe what is left; they do not prove that labels are right.

    Parameters
    ----------
    method : PeerPrediction
        Fitted.
    codes : AnswerCodes
        The answers it was fitted on.
    """
    flagged = method.workers_["action"].is_in(["review", "re-collect"]).fill_null(False).to_numpy()
    kept = codes.only(~flagged[codes.worker])
    tasks = int((codes.per_task > 0).sum())
    changed = int(method.consensus_["changed"].sum())
    both = int(((method.before_.n_answers > 0) & (method.after_.n_answers > 0)).sum())

    def rng(name: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(method.seed, "evidence", name))

    def share(metric: str, before: int | None, after: int, n: int, better: str) -> dict[str, Any]:
        return _row(metric, None if before is None else before / max(1, n), share_interval(after, n), n, better)

    level: Literal["nominal", "ordinal"] = "ordinal" if method.ordinal else "nominal"
    confidence = method.after_.confidence[method.after_.n_answers > 0]
    alpha = krippendorff_interval(kept, rng("alpha"), level=level) if len(kept) else (np.nan,) * 3
    rows = [
        share(
            "share of measured workers flagged", None, int(flagged.sum()), int(method.scores_.measured.sum()), "neither"
        ),
        share("share of answers by workers not flagged", None, len(kept), len(codes), "higher"),
        share(
            "share of tasks without an answer", 0, int((kept.per_task[codes.per_task > 0] == 0).sum()), tasks, "lower"
        ),
        share(
            "share of tasks with fewer than two answers",
            int((codes.per_task[codes.per_task > 0] < FEW).sum()),
            int((kept.per_task[codes.per_task > 0] < FEW).sum()),
            tasks,
            "lower",
        ),
        share("share of tasks whose consensus label changed", None, changed, both, "neither"),
        _row(
            "mean confidence of the consensus",
            float(np.nanmean(method.before_.confidence)),
            (float(confidence.mean()), *mean_interval(confidence, rng=rng("confidence"))) if len(confidence) else None,
            len(confidence),
            "higher",
        ),
        _row("Krippendorff's alpha", krippendorff_alpha(codes, level=level), alpha, tasks, "higher"),
    ]
    return Evidence([row for row in rows if row is not None])


def _row(metric: str, before: float | None, after: Estimate | None, n: int, better: str) -> dict[str, Any]:
    known = after is not None and not np.isnan(after).any()
    value, low, high = after if known and after is not None else (None, None, None)
    absent = before is None or np.isnan(before)
    return {
        "metric": metric, "split": "without flagged workers", "group": "", "before": None if absent else before,
        "after": value, "low": low, "high": high, "n": n, "better": better,
    }  # fmt: skip
