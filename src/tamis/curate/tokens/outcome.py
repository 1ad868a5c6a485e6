"""What was decided about the tokens of a pool, in either mode."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.curate.tokens.cleaner import TokenCleaner
from tamis.curate.tokens.spans import KEEP, STEP, UNMEASURED, record_selection, span_selection
from tamis.data.token_rows import TokenRows
from tamis.select import Selection

FIRST_SLICE = "in the first slice: the first stage trains on all of its tokens"

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Losses, scores and decisions, token by token.

    Attributes
    ----------
    rows : TokenRows
    base, reference : ndarray of float32, shape (T,)
        Losses; in the self-evolving mode the reference is that of the record's stage, nan in the first slice.
    score : ndarray of float32, shape (T,)
        nan where a token was not ranked.
    state : ndarray of int8, shape (T,)
    mask, candidate : ndarray of bool, shape (T,)
    cut : float
        Of the global ranking; nan for others.
    warnings : tuple of str
    stage_of : ndarray of int64, shape (n,), or None
        Slice of each record in the self-evolving mode.
    stages : list of dict
        Records, tokens, kept tokens and cut of each slice.
    """

    rows: TokenRows
    base: Floats
    reference: Floats
    score: Floats
    state: NDArray[np.int8]
    mask: NDArray[np.bool_]
    candidate: NDArray[np.bool_]
    cut: float
    warnings: tuple[str, ...]
    stage_of: NDArray[np.int64] | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def fixed(cls, cleaner: TokenCleaner, rows: TokenRows, base: Floats, reference: Floats) -> Outcome:
        """Rank the whole pool by one reference."""
        cleaner.fit(rows, base=base, reference=reference)
        return cls(rows, base, reference, cleaner.score_, cleaner.state_, cleaner.mask_, cleaner.candidate_,
                   cleaner.cut_, tuple(cleaner.warnings_))  # fmt: skip

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """Tokens that have a score."""
        return np.isfinite(self.score)

    def selections(self, lost: pl.DataFrame) -> tuple[Selection, Selection]:
        """Decisions about records and about runs of tokens.

        Parameters
        ----------
        lost : polars.DataFrame
            Columns ``unit_id`` and ``reason``: records that could not be encoded, hence are undecided.
        """
        records = record_selection(self.rows, self.state, self.score, self.candidate)
        if self.stage_of is not None:
            first = pl.Series(self.stage_of == 0)
            whole = records.frame.with_columns(
                reason=pl.when(first & (pl.col("decision") == "keep")).then(pl.lit(FIRST_SLICE)).otherwise("reason"),
                score=pl.when(~first).then("score"),
            )
            records = Selection(whole)
        rest = lost.select(
            "unit_id", decision=pl.lit(None, pl.String), reason=pl.format("the row {}", "reason"), step=pl.lit(STEP)
        )
        frame = pl.concat([records.frame, rest], how="diagonal_relaxed")
        return Selection(frame), span_selection(self.rows, self.state, self.score, self.candidate)


def merged_stages(
    rows: TokenRows, base: Floats, pieces: list[tuple[NDArray[np.int64], TokenCleaner | None, Floats]]
) -> Outcome:
    """Put the stages of the self-evolving mode together.

    Parameters
    ----------
    rows, base
        All records and the base model's losses.
    pieces : list of (positions, cleaner or None, reference losses)
        Records of each slice, who ranked them (None for the first slice, and where nothing could be ranked), and the
        losses that the ranking used.
    """
    n = len(rows.ids)
    reference, score = np.full(n, np.nan, dtype=np.float32), np.full(n, np.nan, dtype=np.float32)
    state, mask, candidate = np.zeros(n, np.int8), np.zeros(n, bool), np.zeros(n, bool)
    stage_of = np.zeros(len(rows), dtype=np.int64)
    warnings: list[str] = []
    stages = []
    for stage, (positions, cleaner, losses) in enumerate(pieces):
        places = rows.places(positions)
        stage_of[positions] = stage
        if cleaner is None:
            own = rows.response[places]
            candidate[places] = own
            if stage == 0:
                mask[places] = own
            state[places] = np.where(own, KEEP if stage == 0 else UNMEASURED, 0)
        else:
            reference[places], score[places], state[places] = losses, cleaner.score_, cleaner.state_
            mask[places], candidate[places] = cleaner.mask_, cleaner.candidate_
            warnings += [f"slice {stage}: {each}" for each in cleaner.warnings_]
        stages.append(
            {
                "stage": stage,
                "records": len(positions),
                "tokens": int(candidate[places].sum()),
                "kept": int(mask[places].sum()),
                "cut": None if cleaner is None or np.isnan(cleaner.cut_) else cleaner.cut_,
            }
        )
    return Outcome(
        rows, base, reference, score, state, mask, candidate, float("nan"), tuple(warnings), stage_of, stages
    )
