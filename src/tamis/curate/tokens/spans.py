"""Runs of tokens with one decision, and the records they make up, as selections."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.select import Selection

STEP = "tokens"
KEEP, MASK, UNMEASURED = 1, 0, 2
"""Codes of what was decided about a token."""
_DECISIONS = {KEEP: "keep", MASK: "mask", UNMEASURED: None}
_REASONS = {
    KEEP: "among the tokens kept",
    MASK: "below the cut",
    UNMEASURED: "no loss could be measured",
}


def span_selection(
    rows: TokenRows, state: NDArray[np.int8], score: NDArray[np.float32], candidate: NDArray[np.bool_]
) -> Selection:
    """Decisions about runs of tokens, as long as they go within a record.

    Parameters
    ----------
    rows : TokenRows
    state : ndarray of int8, shape (T,)
        :data:`KEEP`, :data:`MASK` or :data:`UNMEASURED`.
    score : ndarray of float32, shape (T,)
        The score of a span is the mean of its tokens'.
    candidate : ndarray of bool, shape (T,)
        Tokens that are decided about; others are in no span.

    Returns
    -------
    Selection
        The unit ``ID[3:7]`` is tokens 3 to 6 of record ID.
    """
    places = np.flatnonzero(candidate)
    row, code = rows.row_of[places], state[places]
    fresh = np.ones(len(places), dtype=bool)
    fresh[1:] = (np.diff(places) != 1) | (np.diff(row) != 0) | (np.diff(code) != 0)
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, len(places)))
    total = np.add.reduceat(score[places].astype(np.float64), starts) if len(starts) else np.zeros(0)
    first = places[starts] - rows.offsets[:-1][row[starts]]
    frame = pl.DataFrame(
        {
            "id": rows.unit_ids[row[starts]],
            "start": first,
            "stop": first + sizes,
            "code": code[starts],
            "score": np.where(code[starts] == UNMEASURED, np.nan, total / sizes),
        }
    )
    return Selection(
        frame.select(
            unit_id=pl.format("{}[{}:{}]", "id", "start", "stop"),
            decision=pl.col("code").replace_strict(_DECISIONS, return_dtype=pl.String),
            score=pl.col("score").fill_nan(None),
            reason=pl.col("code").replace_strict(_REASONS, return_dtype=pl.String),
            step=pl.lit(STEP),
        )
    )


def record_selection(
    rows: TokenRows, state: NDArray[np.int8], score: NDArray[np.float32], candidate: NDArray[np.bool_]
) -> Selection:
    """Decisions about records: ``keep`` if no token is masked, ``mask`` if some are, ``drop`` if none is kept.

    Parameters
    ----------
    rows, state, score, candidate
        As for :func:`span_selection`.

    Returns
    -------
    Selection
        The score is the mean over the record's measured tokens; a record without one is undecided.
    """
    n = len(rows)
    own = rows.row_of[candidate]
    counts = {code: np.bincount(own[state[candidate] == code], minlength=n) for code in _DECISIONS}
    candidates = np.bincount(own, minlength=n)
    measured = counts[KEEP] + counts[MASK]
    summed = np.bincount(own, weights=np.nan_to_num(score[candidate], nan=0.0).astype(np.float64), minlength=n)
    frame = pl.DataFrame(
        {"unit_id": rows.unit_ids, "kept": counts[KEEP], "masked": counts[MASK], "lost": counts[UNMEASURED],
         "n": candidates, "score": np.divide(summed, measured, out=np.full(n, np.nan), where=measured > 0)}
    )  # fmt: skip
    lost = pl.when(pl.col("lost") > 0).then(pl.format("; {} without a loss", "lost")).otherwise(pl.lit(""))
    return Selection(
        frame.select(
            "unit_id",
            decision=pl.when(pl.col("kept") + pl.col("masked") == 0)
            .then(None)
            .when(pl.col("kept") == 0)
            .then(pl.lit("drop"))
            .when(pl.col("masked") + pl.col("lost") == 0)
            .then(pl.lit("keep"))
            .otherwise(pl.lit("mask")),
            score=pl.col("score").fill_nan(None),
            reason=pl.when(pl.col("n") == 0)
            .then(pl.lit("no token to train on: it has no answer, or the answer lies behind the maximum length"))
            .when(pl.col("kept") + pl.col("masked") == 0)
            .then(pl.lit("no loss could be measured"))
            .otherwise(pl.concat_str(pl.format("{} of {} tokens kept", "kept", "n"), lost)),
            step=pl.lit(STEP),
        )
    )
