"""What is recommended about each worker, and what follows for each answer."""

from __future__ import annotations

import polars as pl

from tamis.data import Answers
from tamis.select import Selection

STEP = "peers"
ACTIONS = {"keep": "keep", "review": "flag", "re-collect": "query"}
"""Recommended action, and the decision that a selection carries for it."""
PAIRED_Z = 1.645
"""One-sided 5 % point of the normal distribution."""


def decide_workers(workers: pl.DataFrame, *, rule: str, threshold: float | None, min_answers: int) -> pl.DataFrame:
    """Add ``action``, ``decision``, ``rank`` and ``reason`` to the table of workers.

    A worker is flagged whose score is within what pasted LLM answers reach in the same places: no higher than
    ``threshold`` (``rule="quantile"``), or less than 1.645 standard errors above the virtual worker in the same place
    (``rule="paired"``). A flag asks for a look at the answers (``review``); where the upper end of the interval lies
    below the threshold too, collecting them again does not need to wait for it (``re-collect``). Nothing is decided
    about workers with too few answers, or without a second sample of an LLM.

    Parameters
    ----------
    workers : polars.DataFrame
        With ``worker, score, low, high, n_scored, n_answers, model, paired_z``; a score that was not measured is null.
    rule : {"quantile", "paired"}
    threshold : float or None
        None if no model has a second sample.
    min_answers : int
    """
    measured = pl.col("score").is_not_null()
    comparable = measured if threshold is not None else pl.lit(False)
    limit = pl.lit(threshold, dtype=pl.Float64)
    if rule == "paired":
        comparable &= pl.col("paired_z").is_not_null()
        flagged = pl.col("paired_z") < PAIRED_Z
    else:
        flagged = pl.col("score") <= limit
    clear = (pl.col("high") <= limit).fill_null(False)
    action = (
        pl.when(comparable & flagged & clear)
        .then(pl.lit("re-collect"))
        .when(comparable & flagged)
        .then(pl.lit("review"))
        .when(comparable)
        .then(pl.lit("keep"))
    )
    frame = workers.with_columns(action=action)
    return frame.with_columns(
        decision=pl.col("action").replace_strict(ACTIONS, default=None, return_dtype=pl.String),
        rank=pl.col("score").rank("ordinal", descending=True).cast(pl.Int64) - 1,  # ties in order of the workers
        reason=_reason(rule, threshold, min_answers),
    )


def _reason(rule: str, threshold: float | None, min_answers: int) -> pl.Expr:
    number = {name: pl.col(name).round(3).cast(pl.String) for name in ("score", "low", "high", "paired_z")}
    score = pl.format("score {} ({} to {})", number["score"], number["low"], number["high"])
    few = pl.format(
        f"not enough answers: {{}} of {{}} could be scored, {min_answers} are needed", "n_scored", "n_answers"
    )
    if threshold is None:
        scored = pl.format("{}, not decided: there is no second sample of an LLM to compare with", score)
    elif rule == "paired":
        apart = pl.format("{}, {} standard errors above pasted answers in the same places", score, number["paired_z"])
        flagged, kept = (
            pl.concat_str(apart, pl.lit(side)) for side in (f" (less than {PAIRED_Z})", f" (at least {PAIRED_Z})")
        )
        alone = pl.format("{}, not decided: no virtual worker in the same places", score)
        scored = (
            pl.when(pl.col("action").is_null())
            .then(alone)
            .when(pl.col("action") == "keep")
            .then(kept)
            .otherwise(flagged)
        )
    else:
        kept = pl.format(f"{{}}, above what most pasted answers would reach ({threshold:.3f})", score)
        flagged = pl.format(f"{{}}, within what pasted answers would reach ({threshold:.3f})", score)
        scored = pl.when(pl.col("action") == "keep").then(kept).otherwise(flagged)
    return pl.when(pl.col("score").is_null()).then(few).otherwise(scored)


def worker_selection(decided: pl.DataFrame) -> Selection:
    """Selection over workers: ``keep``, ``flag`` (review), ``query`` (collect again), null where nothing is decided."""
    return Selection(
        decided.select(
            pl.col("worker").alias("unit_id"), "decision", "score", "rank", "reason", pl.lit(STEP).alias("step")
        )
    )


def answer_selection(answers: Answers, decided: pl.DataFrame) -> Selection:
    """Selection over answers: each takes the decision and the score of its worker.

    Parameters
    ----------
    answers : Answers
    decided : polars.DataFrame
        As :func:`decide_workers` returns it.
    """
    codes = answers.codes
    frame = pl.DataFrame(
        {"unit_id": answers.table.ids.gather(answers.rows), "worker": answers.workers.gather(codes.worker)}
    ).join(decided.select("worker", "decision", "score", "action"), on="worker", how="left", maintain_order="left")
    reason = (
        pl.when(pl.col("action").is_null())
        .then(pl.format("worker {} could not be decided about", "worker"))
        .otherwise(pl.format("worker {}: {}", "worker", "action"))
    )
    return Selection(frame.select("unit_id", "decision", "score", reason=reason, step=pl.lit(STEP)))
