"""The step of a rating run that measures the judges: what the report shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.curate.rating.assignment import Assignment
from tamis.curate.rating.diagnostics import judge_findings
from tamis.curate.rating.matrices import MIN_ROWS, judge_matrices
from tamis.curate.scale import RatingScale
from tamis.curate.vectors import pool_vectors
from tamis.engine import Engine
from tamis.errors import MissingExtraError
from tamis.noise import TransitionMatrix
from tamis.runs import Run, atomic_write_text, derive_seed, digest_json
from tamis.runs.steps import Progress

VERSION = 1
N_SUSPECT_SHOWN = 10
RATINGS_FILE, FLAGS = "ratings.parquet", "flags.parquet"


def diagnose(
    run: Run,
    rated: Path,
    task: Assignment,
    costs: list[dict[str, Any]],
    *,
    refused: bool,
    engine: Engine,
    progress: Progress | None,
) -> None:
    """Measure how far each judge can be trusted, and write the findings that the report shows.

    Parameters
    ----------
    run : Run
    rated : Path
        Folder of the step that rated: its ratings and flags are read.
    task : Assignment
    costs : list of dict
        One a rater.
    refused : bool
        Whether a budget was reached.
    engine : Engine
        Who embeds.
    progress : callable or None
    """
    ratings, flags = pl.read_parquet(rated / RATINGS_FILE), pl.read_parquet(rated / FLAGS)
    vectors, source, reason = _vectors(run, task, engine, progress)
    rubric, seed = task.rubric, derive_seed(run.recipe.seed, "judges")
    told = {
        "pool": _pool_findings(task, flags),
        "rubric": rubric.to_dict(),
        "samples": task.settings.samples,
        "raters": costs,
        "limits": {**task.limits.to_limits(), "budget_reached": refused},
    }
    measured = [[column.to_list() for column in frame.get_columns()] for frame in (ratings, flags)]
    step = run.step(
        "judges", version=VERSION, measured=digest_json(measured), vectors=source, reason=reason, seed=seed, **told
    )
    if step.complete:
        return
    matrices: dict[str, TransitionMatrix] = {}
    scales: dict[str, RatingScale] = {}
    reasons = dict.fromkeys((rater.name for rater in task.raters), reason) if reason else {}
    ends = {"criterion": rubric.overall, "low": rubric.low, "high": rubric.high}
    if vectors is not None:
        matrices, scales, reasons = judge_matrices(ratings, task.table, vectors, seed=seed, **ends)  # type: ignore[arg-type]
    found = {
        **told,
        "judges": judge_findings(ratings, flags, seed=seed, matrices=matrices, scales=scales, **ends),  # type: ignore[arg-type]
        "no_matrix": reasons,
    }
    atomic_write_text(step.folder / "findings.json", json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
    step.finish()


def _vectors(
    run: Run, task: Assignment, engine: Engine, progress: Progress | None
) -> tuple[np.ndarray | None, dict[str, str], str]:
    """Vectors of the rated rows, what they came from, and why there are none.

    Vectors that the user brings run over the whole pool.
    """
    if task.settings.embedder is None:
        return None, {}, ""
    if len(task.table) < MIN_ROWS:
        return None, {}, f"{len(task.table)} records are too few for neighbours; {MIN_ROWS} are needed"
    table = task.pool if "embeddings" in run.recipe.inputs else task.table
    try:
        vectors, source = pool_vectors(run, table, embedder=task.settings.embedder, engine=engine, progress=progress)
    except MissingExtraError as error:
        return None, {}, str(error)
    return vectors[: len(task.table)], source, ""


def _pool_findings(task: Assignment, flags: pl.DataFrame) -> dict[str, Any]:
    suspects = flags.filter(pl.col("suspect").is_not_null())
    lengths = flags["characters"]
    return {
        "rows": len(task.pool),
        "rejected": len(task.pool.rejects),
        "asked": len(task.table),
        "empty": sum(p.empty for p in task.prepared),
        "truncated": int(flags["truncated"].sum()),
        "suspect": len(suspects),
        "suspect_rows": [list(row) for row in suspects.select("unit_id", "suspect").head(N_SUSPECT_SHOWN).iter_rows()],
        "characters": {"median": lengths.median(), "max": lengths.max(), "limit": task.settings.max_chars},
    }
