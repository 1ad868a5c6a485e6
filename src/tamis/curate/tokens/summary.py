"""What a token run says about itself: settings, pool and warnings in its findings, and the figures of its summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tamis.curate.tokens.cleaner import TokenCleaner
from tamis.curate.tokens.outcome import Outcome
from tamis.curate.tokens.settings import TokenSettings
from tamis.curate.tokens.spans import UNMEASURED
from tamis.data import Table
from tamis.models.causal_lm import LocalModel
from tamis.select import Selection

SMALL = 0.01
"""Nats: a score this near 0 says that the two models hardly differ on a token."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Under what an outcome came about."""

    cleaner: TokenCleaner
    settings: TokenSettings
    encoding: dict[str, Any]
    table: Table
    base: LocalModel
    reference: str
    reference_fingerprint: str
    warmup: dict[str, Any] | None
    flips: list[float | None] | None


def said(under: Setting, outcome: Outcome, records: Selection, found: dict[str, Any]) -> dict[str, Any]:
    """Add settings, models, pool and warnings to the findings."""
    rows, settings, cleaner = outcome.rows, under.settings, under.cleaner
    lost = int((outcome.state == UNMEASURED).sum())
    return {
        "settings": {
            "mode": settings.mode, "scope": cleaner.scope, "rank_by": cleaner.rank_by, "keep": cleaner.keep,
            "with_prompt_tokens": cleaner.with_prompt_tokens, "max_length": under.encoding["max_length"],
            "dtype": settings.dtype, "template": under.encoding["template"], "held_out": settings.hold_out,
            "seed": cleaner.seed,
        },
        "models": {
            "base": {"name": under.base.title, "fingerprint": under.base.fingerprint},
            "reference": {"name": under.reference, "fingerprint": under.reference_fingerprint or None},
        },
        "warmup": under.warmup,
        "pool": {
            "records": len(under.table), "rejected": len(under.table.rejects), "tokens": len(rows.ids),
            "response": int(rows.response.sum()), "ranked": int(outcome.candidate.sum()) - lost,
            "unmeasured_tokens": lost, "truncated": under.encoding["truncated"],
            "no_response": under.encoding["no_response"], "undecided": len(records.undecided),
        },
        "limits": {"same_models": under.base.fingerprint == under.reference_fingerprint},
        **found,
        "kept": {**found["kept"], "flips_bf16": under.flips},
        "warnings": [*outcome.warnings, *_warnings(under, outcome, found)],
    }  # fmt: skip


def _warnings(under: Setting, outcome: Outcome, found: dict[str, Any]) -> list[str]:
    said = []
    lost = outcome.rows.row_of[outcome.state == UNMEASURED]
    if len(lost):
        names = ", ".join(outcome.rows.unit_ids[np.unique(lost)[:3]].to_list())
        said.append(
            f"{len(lost)} tokens of {len(np.unique(lost))} records have no finite loss (first: {names}); they are "
            "neither kept nor masked, look at these records or score in float32"
        )
    n = len(outcome.rows)
    if found["emptied"]["rows"]:
        said.append(f"{found['emptied']['rows']} of {n} records keep no token; they carry no loss at all")
    if under.encoding["truncated"]:
        said.append(f"{under.encoding['truncated']} of {n} records are cut at {under.encoding['max_length']} tokens")
    lost_warm = under.encoding["warmup_lost"]
    if lost_warm:
        said.append(
            f"{lost_warm} warm-up records taught nothing: they cannot be encoded, or have no answer to learn from"
        )
    if under.warmup is not None and not under.settings.hold_out:
        said.append("the warm-up records are in the pool: the reference has seen them, and their scores are inflated")
    score = outcome.score[outcome.ranked]
    near_zero = float((np.abs(score) < SMALL).mean()) if len(score) else 0.0
    if near_zero > 0.5 and under.cleaner.rank_by in ("excess", "reverse") and not outcome.warnings:
        said.append(
            f"{near_zero:.0%} of the scores lie within {SMALL} nats of 0: the reference hardly differs from the base, "
            "and the cut separates near ties; warm up on more records, for more epochs or at a higher learning rate"
        )
    return said


def summary(folder: Path, found: dict[str, Any], records: Selection) -> dict[str, Any]:
    """Figures of a finished run, as ``--json`` prints them."""
    counts, pool, kept = records.counts(), found["pool"], found["kept"]
    selected = folder / "selected.jsonl"
    return {
        "run": str(folder),
        "rows": pool["records"],
        "rejected": pool["rejected"],
        "base": found["models"]["base"]["name"],
        "reference": found["models"]["reference"]["name"],
        "template": found["settings"]["template"],
        "tokens": pool["tokens"],
        "response_tokens": pool["response"],
        "unmeasured_tokens": pool["unmeasured_tokens"],
        "truncated": pool["truncated"],
        "tokens_kept": kept["tokens"],
        "share_kept": kept["share"],
        "cut": kept["cut"],
        "positive": kept["positive"],
        "near_cut": kept["near"],
        "flips_bf16": kept["flips_bf16"],
        "records": {name: counts.get(name, 0) for name in ("keep", "mask", "drop")},
        "undecided": counts["undecided"],
        "warnings": found["warnings"],
        "exit_code": 3 if pool["unmeasured_tokens"] else 0,
        "mask": str(folder / "tokens.parquet"),
        "selected": str(selected) if selected.exists() else None,
        "model": str(folder / "model") if (folder / "model").exists() else None,
        "selection": str(folder / "selection.parquet"),
        "report": str(folder / "report.html"),
    }
