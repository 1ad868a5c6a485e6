"""What a token run found, as JSON values: the report draws it, and draws nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.curate.tokens.outcome import Outcome
from tamis.curate.tokens.spans import UNMEASURED
from tamis.curate.tokens.token_classes import CLASSES, Vocabulary, valued_ngrams
from tamis.data import Table
from tamis.evidence.ratios import ratio_interval
from tamis.evidence.resampling import to_json

NEAR = 0.01
"""Nats: scores this near the cut are near ties."""
N_BINS, N_STRIPS, N_STRIP_TOKENS, N_SOURCES = 60, 12, 120, 20
_TAIL = 0.005
_NGRAM_TOKENS = 5_000_000
PROMPT_CHARACTERS = 300


def findings(outcome: Outcome, table: Table, vocabulary: Vocabulary) -> dict[str, Any]:
    """Describe an outcome: what was kept, where the cut lies, which kinds of tokens are kept, and examples.

    Parameters
    ----------
    outcome : Outcome
    table : Table
        The pool; its ``group`` column names the sources.
    vocabulary : Vocabulary
        Of the pool's tokens.
    """
    decided = outcome.candidate & (outcome.state != UNMEASURED)
    per_row = np.bincount(outcome.rows.row_of[outcome.mask], minlength=len(outcome.rows))
    measured = np.bincount(outcome.rows.row_of[decided], minlength=len(outcome.rows))
    empty = (per_row == 0) & (measured > 0)
    ranked = outcome.ranked
    most, least = _ngrams(outcome, vocabulary)
    return {
        "kept": _kept(outcome, decided),
        "density": _density(outcome.score[ranked]),
        "shares": {
            "source": _by_source(outcome, table, decided),
            "role": _by_group(outcome, decided, np.where(outcome.rows.response, 1, 0), ("prompt", "response")),
            "class": _by_group(outcome, decided, vocabulary.classes(outcome.rows.ids), CLASSES),
            "position": _by_group(
                outcome, decided, _decile(outcome), [f"{10 * i} to {10 * i + 10} %" for i in range(10)]
            ),
        },
        "emptied": {
            "rows": int(empty.sum()),
            "ids": outcome.rows.unit_ids.filter(pl.Series(empty)).head(50).to_list(),
        },
        "ngrams": {"most": most, "least": least},
        "strips": _strips(outcome, table, vocabulary),
        "stages": outcome.stages,
        "warnings": list(outcome.warnings),
    }


def _kept(outcome: Outcome, decided: NDArray[np.bool_]) -> dict[str, Any]:
    score, ranked = outcome.score, outcome.ranked
    near = ranked & (np.abs(score - np.float32(outcome.cut)) <= NEAR)
    known = not np.isnan(outcome.cut)
    return {
        "tokens": int(outcome.mask.sum()),
        "share": int(outcome.mask.sum()) / max(1, int(decided.sum())),
        "cut": outcome.cut if known else None,
        "positive": _share(outcome, ranked & (score > 0), ranked),
        "near": _share(outcome, near, ranked) if known else [None, None, None],
        "slope": float(near.sum() / max(1, ranked.sum()) / (2 * NEAR)) if known else None,
        "ties": int((ranked & (score == np.float32(outcome.cut))).sum()) - 1 if known else 0,
        "flips_bf16": None,
    }


def _share(outcome: Outcome, which: NDArray[np.bool_], among: NDArray[np.bool_]) -> list[float | None]:
    """Share of some tokens among others, with an interval over records."""
    row_of, n = outcome.rows.row_of, len(outcome.rows)
    return to_json(
        ratio_interval(
            np.bincount(row_of[which & among], minlength=n), np.bincount(row_of[among], minlength=n), bounds=(0.0, 1.0)
        )
    )


def _density(score: NDArray[np.float32]) -> dict[str, Any]:
    low, high = np.quantile(score, [_TAIL, 1 - _TAIL]).tolist()
    if not high > low:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(score, bins=N_BINS, range=(low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist(), "below": int((score < low).sum()),
            "above": int((score > high).sum())}  # fmt: skip


def _by_group(outcome: Outcome, decided: NDArray[np.bool_], group: NDArray[Any], names: Any) -> list[dict[str, Any]]:
    found = []
    for index, name in enumerate(names):
        among = decided & (group == index)
        n = int(among.sum())
        if n:
            found.append({"name": name, "tokens": n, "kept": _share(outcome, outcome.mask, among)})
    return found


def _by_source(outcome: Outcome, table: Table, decided: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """By the pool's group column, the most frequent sources first."""
    column = table.roles.get("group")
    if column is None:
        return []
    named = pl.DataFrame({"unit_id": table.ids, "source": table.frame[column].cast(pl.String).fill_null("(none)")})
    own = pl.DataFrame({"unit_id": outcome.rows.unit_ids}).join(named, on="unit_id", how="left", maintain_order="left")
    frequent = own["source"].value_counts(sort=True).sort("count", "source", descending=[True, False])["source"]
    names = frequent.head(N_SOURCES).to_list()
    index = {name: i for i, name in enumerate(names)}
    of_row = np.array([index.get(name, -1) for name in own["source"].to_list()], dtype=np.int64)
    return _by_group(outcome, decided, of_row[outcome.rows.row_of], names)


def _decile(outcome: Outcome) -> NDArray[np.int64]:
    """Tenth of the record's candidates that a token stands in."""
    row_of = outcome.rows.row_of
    before: NDArray[np.int64] = np.cumsum(outcome.candidate) - outcome.candidate
    first: NDArray[np.int64] = before[outcome.rows.offsets[:-1]]
    sizes = np.bincount(row_of[outcome.candidate], minlength=len(outcome.rows))
    return np.asarray(10 * (before - first[row_of]) // np.maximum(sizes[row_of], 1), dtype=np.int64)


def _ngrams(outcome: Outcome, vocabulary: Vocabulary) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    part = slice(0, _NGRAM_TOKENS)
    rows = outcome.rows
    frames = valued_ngrams(rows.ids[part], outcome.score[part], outcome.mask[part], rows.row_of[part])
    most, least = (
        [
            {
                "text": "".join(vocabulary.text(np.array(each["ids"], dtype=np.int32))),
                "n": each["n"],
                "score": [each["score"], each["low"], each["high"]],
                "kept": each["kept"],
            }
            for each in frame.to_dicts()
        ]
        for frame in frames
    )
    return most, least


def _strips(outcome: Outcome, table: Table, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Some records as they stand: evenly spaced by their mean score, so that all kinds are seen."""
    rows = outcome.rows
    ranked = outcome.ranked
    counts = np.bincount(rows.row_of[ranked], minlength=len(rows))
    sums = np.bincount(rows.row_of[ranked], weights=outcome.score[ranked].astype(np.float64), minlength=len(rows))
    usable = np.flatnonzero(counts >= min(8, int(counts.max(initial=0))))
    if not len(usable):
        return []
    order = usable[np.argsort(-sums[usable] / counts[usable], kind="stable")]
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(N_STRIPS, len(order))).astype(int))]
    prompts = dict(zip(table.ids, table.prompts(), strict=True))
    return [_strip(outcome, int(row), prompts, vocabulary) for row in chosen]


def _strip(outcome: Outcome, row: int, prompts: dict[str, str], vocabulary: Vocabulary) -> dict[str, Any]:
    rows = outcome.rows
    places = np.arange(rows.offsets[row], rows.offsets[row + 1])
    places = places[outcome.candidate[places]]
    shown = places[:N_STRIP_TOKENS]
    unit_id = rows.unit_ids[row]
    prompt = prompts[unit_id]
    return {
        "unit_id": unit_id,
        "prompt": prompt if len(prompt) <= PROMPT_CHARACTERS else prompt[:PROMPT_CHARACTERS] + "…",
        "tokens": vocabulary.text(rows.ids[shown]),
        "score": _numbers(outcome.score[shown]),
        "keep": outcome.mask[shown].tolist(),
        "base": _numbers(outcome.base[shown]),
        "reference": _numbers(outcome.reference[shown]),
        "cut_short": len(places) > len(shown),
    }


def _numbers(values: NDArray[np.float32]) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]
