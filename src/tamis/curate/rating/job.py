"""The ``rate`` job: a rating recipe executed in a run directory, resumable after every single reply."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

import polars as pl

from tamis.curate.rating.assignment import Assignment, read_assignment
from tamis.curate.rating.diagnostics import judge_findings
from tamis.curate.rating.frames import flags_frame, signal_of
from tamis.curate.rating.handover import RUBRIC, SIGNAL
from tamis.curate.rating.matrices import MIN_ROWS, judge_matrices
from tamis.curate.rating.rated_rows import rate_rows
from tamis.curate.rating.spending import Spending
from tamis.curate.scale import RatingScale
from tamis.curate.step_files import write_frame
from tamis.curate.vectors import pool_vectors
from tamis.data import Signal
from tamis.engine import Engine
from tamis.errors import BudgetError, IncompleteError, MissingExtraError
from tamis.models.response_cache import ResponseCache
from tamis.noise import TransitionMatrix
from tamis.runs import Run, Step, atomic_write_text, derive_seed, digest_json
from tamis.runs.steps import Progress

VERSION = 1
N_SUSPECT_SHOWN = 10
REPLIES_FILE, FLAGS = "replies.parquet", "flags.parquet"


def rate_run(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a rating recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; ``recipe.inputs`` names ``pool`` and perhaps ``rubric``, ``prices`` and ``embeddings``,
        ``recipe.params`` holds :class:`RatingSettings`, ``recipe.limits`` :class:`RatingLimits`.
    engine : Engine
        Who computes local judges and embeds.
    progress : callable, optional
        Called with (what, replies there, replies in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; ``exit_code`` is 3 if too much is unmeasured, 4 if a budget was reached.

    Raises
    ------
    BackendError
        If an endpoint cannot be used. Replies until then are in the cache, and a resumed run goes on from there.
    """
    task = read_assignment(run.recipe)
    if len(task.pool.rejects):
        write_frame(run.folder / "rejects.parquet", task.pool.rejects)
    step = run.step(
        "rate",
        version=VERSION,
        settings={**task.settings.to_params(), "raters": None, "embedder": None},
        raters=[[r.name, r.judge.fingerprint if r.judge else list(r.columns), r.samples] for r in task.raters],
        rubric=task.rubric.digest,
        prices={name: list(astuple(price)) for name, price in task.prices.prices.items()},
        rows=digest_json([[i, p.prompt.payload()] for i, p in zip(task.table.ids, task.prepared, strict=True)]),
        recorded=digest_json([task.table.frame[c].cast(pl.String).to_list() for r in task.raters for c in r.columns]),
    )
    account = Spending(task.prices, task.limits.budget_usd, task.limits.budget_tokens)
    if not step.complete:
        with ResponseCache.of_user() as cache:
            rated = rate_rows(
                task,
                cache=cache,
                run_id=run.manifest["run_id"],
                account=account,
                engine=engine,
                folder=step.folder,
                seed=run.recipe.seed,
                note=run.ledger.add,
                progress=progress,
            )
        write_frame(step.folder / "ratings.parquet", rated.ratings)
        write_frame(step.folder / REPLIES_FILE, rated.replies)
        signal_of(rated.ratings, rated.replies, task.rubric).write(step.folder / SIGNAL)
        write_frame(step.folder / FLAGS, flags_frame(task.table.ids.to_list(), task.prepared))
        atomic_write_text(step.folder / "costs.json", json.dumps(rated.costs, ensure_ascii=False) + "\n")
    signal = Signal.read(step.folder / SIGNAL)
    unmeasured = signal.frame.filter((pl.col("criterion") == task.rubric.overall) & (pl.col("status") != "ok")).height
    if not unmeasured and not step.complete:
        step.finish(units=len(task.table))
    costs = json.loads((step.folder / "costs.json").read_text(encoding="utf-8"))
    if any(event["event"] == "reused" and event["step"] == step.name for event in run.ledger.events()):
        costs = [{**row, "from_cache": row["calls"]} for row in costs]  # another run has paid for all of it
    _diagnose(run, step, task, signal, costs, refused=account.refused, engine=engine, progress=progress)
    return _publish(run, step, task, signal, costs, unmeasured=unmeasured, refused=account.refused)


def _diagnose(
    run: Run,
    rated: Step,
    task: Assignment,
    signal: Signal,
    costs: list[dict[str, Any]],
    *,
    refused: bool,
    engine: Engine,
    progress: Progress | None,
) -> None:
    """Measure how far each judge can be trusted, and write the findings that the report shows."""
    rubric, seed = task.rubric, derive_seed(run.recipe.seed, "judges")
    matrices: dict[str, TransitionMatrix] = {}
    scales: dict[str, RatingScale] = {}
    reasons: dict[str, str] = {}
    source: dict[str, str] = {}
    ratings, flags = pl.read_parquet(rated.folder / "ratings.parquet"), pl.read_parquet(rated.folder / FLAGS)
    if task.settings.embedder is not None and len(task.table) < MIN_ROWS:
        few = f"{len(task.table)} records are too few for neighbours; {MIN_ROWS} are needed"
        reasons = dict.fromkeys(signal.raters, few)
    elif task.settings.embedder is not None:
        try:
            vectors, source = _vectors(run, task, engine, progress)
            matrices, scales, reasons = judge_matrices(
                ratings, task.table, vectors, criterion=rubric.overall, low=rubric.low, high=rubric.high, seed=seed
            )
        except MissingExtraError as error:
            reasons = {rater: str(error) for rater in signal.raters}
    step = run.step(
        "judges",
        version=VERSION,
        ratings=digest_json([column.to_list() for column in ratings.get_columns()]),
        vectors=source,
        costs=costs,
        refused=refused,
    )
    if step.complete:
        return
    found = {
        "pool": _pool_findings(task, flags),
        "rubric": rubric.to_dict(),
        "samples": task.settings.samples,
        "raters": costs,
        "judges": judge_findings(
            ratings,
            flags,
            criterion=rubric.overall,
            low=rubric.low,
            high=rubric.high,
            seed=seed,
            matrices=matrices,
            scales=scales,
        ),
        "no_matrix": reasons,
        "limits": {**task.limits.to_limits(), "budget_reached": refused},
    }
    atomic_write_text(step.folder / "findings.json", json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
    step.finish()


def _vectors(run: Run, task: Assignment, engine: Engine, progress: Progress | None) -> tuple[Any, dict[str, str]]:
    """Vectors of the rated rows. Vectors that the user brings run over the whole pool."""
    brought = "embeddings" in run.recipe.inputs
    vectors, source = pool_vectors(
        run,
        task.pool if brought else task.table,
        embedder=str(task.settings.embedder),
        engine=engine,
        progress=progress,
    )
    return vectors[: len(task.table)], source


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


def _publish(
    run: Run,
    step: Step,
    task: Assignment,
    signal: Signal,
    costs: list[dict[str, Any]],
    *,
    unmeasured: int,
    refused: bool,
) -> dict[str, Any]:
    """Put the results at the top of the run directory and finish it."""
    signal.write(run.folder / SIGNAL)
    for name in (REPLIES_FILE, FLAGS):
        write_frame(run.folder / name, pl.read_parquet(step.folder / name))
    atomic_write_text(run.folder / RUBRIC, json.dumps(task.rubric.to_dict(), ensure_ascii=False) + "\n")
    overall = signal.frame.filter(pl.col("criterion") == task.rubric.overall)
    share = unmeasured / max(1, len(overall))
    exit_code = (
        BudgetError.exit_code if refused else IncompleteError.exit_code if share > task.limits.max_missing else 0
    )
    by_status = overall.group_by("rater", "status").len()
    summary = {
        "run": str(run.folder),
        "rows": len(task.pool),
        "asked": len(task.table),
        "rejected": len(task.pool.rejects),
        "unmeasured": unmeasured,
        "unmeasured_share": share,
        "budget_reached": refused,
        "raters": {
            row["name"]: {
                **{k: v for k, v in row.items() if k != "name"},
                "status": dict(by_status.filter(pl.col("rater") == row["name"]).select("status", "len").iter_rows()),
            }
            for row in costs
        },
        "signal": str(run.folder / SIGNAL),
        "report": str(run.folder / "report.html"),
        "exit_code": exit_code,
    }
    run.finish("incomplete" if unmeasured else "complete", summary)
    return summary
