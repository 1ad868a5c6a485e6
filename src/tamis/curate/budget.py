"""Filling a budget from the best-rated records down; rarity decides inside the last, partly used score."""

from __future__ import annotations

import numpy as np
import polars as pl

from tamis.data import Table
from tamis.select import Selection


def canonical_order(table: Table) -> np.ndarray:
    """Rows by ascending id, so that neither ties nor the last bits of a distance depend on the order of the rows."""
    return table.ids.arg_sort().to_numpy().astype(np.int64)


def rank_records(score: np.ndarray, longtail: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Order records best first: by score, then by rarity, then by ``tie`` ascending.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Curated score; NaN where a record has none. Those are left out.
    longtail : ndarray of shape (n,), float64
    tie : ndarray of shape (n,), int64
        Position that breaks ties.

    Returns
    -------
    ndarray of shape (number of scored records,), int64
        Row numbers. Taking the first ``budget`` of them fills whole score buckets from the top and picks the rarest
        of the last, partly used bucket, as in the paper; records inside whole buckets are also ordered by rarity,
        which changes the order and not the set.
    """
    order = np.lexsort((tie, -longtail, -score))
    scored: np.ndarray = order[~np.isnan(score[order])]
    return scored


def fill_budget(
    table: Table,
    *,
    score: np.ndarray,
    longtail: np.ndarray,
    origin: np.ndarray,
    score_names: tuple[str, ...] | None = None,
    budget: int,
    ties: str,
) -> Selection:
    """Keep the ``budget`` best records and say of each record why it was kept or dropped.

    Parameters
    ----------
    table : Table
        n rows.
    score : ndarray of shape (n,), float64
        Curated score, NaN without one; such records stay undecided.
    longtail : ndarray of shape (n,), float64
    origin : ndarray of shape (n,), str
        Where the score comes from, e.g. ``"rated"`` or ``"corrected"``: the first word of the reason.
    score_names : tuple of str or None
        What each class is called, where a score is a class; None where it combines several raters.
    budget : int
    ties : {"id", "row"}
        What breaks ties of score and rarity.

    Returns
    -------
    Selection
    """
    n = len(table)
    tie = np.argsort(canonical_order(table)) if ties == "id" else np.arange(n)
    order = rank_records(score, longtail, tie)
    rank = np.full(n, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    known = np.nan_to_num(score)
    called = [f"{s:.2f}" for s in known] if score_names is None else [score_names[int(s)] for s in known]
    cut = score[order[min(budget, len(order)) - 1]]
    frame = pl.DataFrame(
        {
            "unit_id": table.ids,
            "decision": np.where(rank < budget, "keep", "drop"),
            "score": score,
            "rank": rank,
            "step": ["curate/ds2"] * n,
            "origin": origin,
            "called": called,
            "longtail": longtail,
        }
    )
    where = (
        pl.when(pl.col("score") > cut)
        .then(pl.lit("above the cut"))
        .when(pl.col("score") < cut)
        .then(pl.lit("below the cut"))
        .when(pl.col("decision") == "keep")
        .then(pl.lit("at the cut, among its rarest"))
        .otherwise(pl.lit("at the cut, less rare than those kept"))
    )
    reason = pl.format(
        "{} score {}, {} (rarity {})", pl.col("origin"), pl.col("called"), where, pl.col("longtail").round(4)
    )
    scored = pl.col("rank") >= 0
    return Selection(
        frame.with_columns(
            decision=pl.when(scored).then("decision"),
            score=pl.when(scored).then("score"),
            rank=pl.when(scored).then("rank"),
            reason=pl.when(scored).then(reason).otherwise(pl.lit("no rating: not measured, so not decided")),
        )
    )
