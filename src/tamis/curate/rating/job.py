"""The ``rate`` job: a rating recipe executed in a run directory, resumable after every single reply."""

from __future__ import annotations

import json
from dataclasses import astuple
from typing import Any

import polars as pl

from tamis.curate.rating.assignment import Assignment, read_assignment
from tamis.curate.rating.diagnosing import FLAGS, RATINGS_FILE, diagnose
from tamis.curate.rating.frames import flags_frame, signal_of
from tamis.curate.rating.handover import RUBRIC, SIGNAL
from tamis.curate.rating.rated_rows import rate_rows
from tamis.curate.rating.spending import Spending
from tamis.data import Signal
from tamis.engine import Engine
from tamis.errors import BudgetError, IncompleteError
from tamis.models.response_cache import ResponseCache
from tamis.runs import Run, Step, atomic_write_text, digest_json
from tamis.runs.step_files import write_frame
from tamis.runs.steps import Progress

VERSION = 1
REPLIES_FILE = "replies.parquet"


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
        rows=digest_json(
            [[i, p.prompt.payload(), p.prompt.truth] for i, p in zip(task.table.ids, task.prepared, strict=True)]
        ),
        recorded=digest_json([task.table.frame[c].cast(pl.String).to_list() for r in task.raters for c in r.columns]),
    )
    account = Spending(task.prices, task.limits.budget_usd, task.limits.budget_tokens)
    refused = False
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
        write_frame(step.folder / RATINGS_FILE, rated.ratings)
        write_frame(step.folder / REPLIES_FILE, rated.replies)
        signal_of(rated.ratings, rated.replies, task.rubric).write(step.folder / SIGNAL)
        write_frame(step.folder / FLAGS, flags_frame(task.table.ids.to_list(), task.prepared))
        refused = rated.stopped
        atomic_write_text(step.folder / "costs.json", json.dumps(rated.costs, ensure_ascii=False) + "\n")
    signal = Signal.read(step.folder / SIGNAL)
    unmeasured = signal.frame.filter((pl.col("criterion") == task.rubric.overall) & (pl.col("status") != "ok")).height
    gaps = _gaps(step, task)
    if not gaps and not step.complete:
        step.finish(units=len(task.table))
    costs = json.loads((step.folder / "costs.json").read_text(encoding="utf-8"))
    if any(event["event"] == "reused" and event["step"] == step.name for event in run.ledger.events()):
        costs = [{**row, "from_cache": row["calls"]} for row in costs]  # another run has paid for all of it
    diagnose(run, step.folder, task, costs, refused=refused, engine=engine, progress=progress)
    return _publish(run, step, task, signal, costs, unmeasured=unmeasured, gaps=gaps, refused=refused)


def _gaps(step: Step, task: Assignment) -> int:
    """Count the samples without an overall rating, also of records that have others: they are asked for again."""
    ratings = pl.scan_parquet(step.folder / RATINGS_FILE)
    open_ = ratings.filter((pl.col("criterion") == task.rubric.overall) & (pl.col("status") != "ok"))
    return int(open_.select(pl.len()).collect().item())


def _publish(
    run: Run,
    step: Step,
    task: Assignment,
    signal: Signal,
    costs: list[dict[str, Any]],
    *,
    unmeasured: int,
    gaps: int,
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
        "samples_without_rating": gaps,
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
    run.finish("incomplete" if gaps else "complete", summary)
    return summary
