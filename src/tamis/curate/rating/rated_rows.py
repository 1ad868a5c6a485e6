"""Rating every row of an assignment by every judge: frames of ratings and replies, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tamis.curate.rating.assignment import Assignment
from tamis.curate.rating.collecting import Gathered, Progress, gather, rating_keys
from tamis.curate.rating.frames import REPLIES, recorded_ratings, reply_frames
from tamis.curate.rating.raters import Rater
from tamis.curate.rating.spending import RaterSpending, Spending, require_prices
from tamis.engine import Engine
from tamis.models.response_cache import Habit, ResponseCache
from tamis.runs import derive_seed


@dataclass(frozen=True)
class RatedRows:
    """What the judges said.

    Attributes
    ----------
    ratings : pl.DataFrame
        One row a unit, rater, criterion and sample.
    replies : pl.DataFrame
        One row a unit, rater and sample: the raw reply, tokens, money.
    costs : list of dict
        One a rater: calls, attempts, tokens, money, replies that were in the cache.
    stopped : bool
        Whether something was left unasked because a budget was reached.
    """

    ratings: pl.DataFrame
    replies: pl.DataFrame
    costs: list[dict[str, Any]]
    stopped: bool


def rate_rows(
    task: Assignment,
    *,
    cache: ResponseCache,
    run_id: str,
    account: Spending,
    engine: Engine,
    folder: Path,
    seed: int,
    note: Callable[..., None],
    progress: Progress | None = None,
) -> RatedRows:
    """Get every reply that the judges give and the budget allows.

    Parameters
    ----------
    task : Assignment
    cache : ResponseCache
    run_id : str
        Who asks; what it asked for before it was stopped counts as spent.
    account : Spending
    engine : Engine
    folder : Path
        Where the batch interface notes what it has under way.
    seed : int
    note : callable
        Called with an event and its fields after each rater, for the ledger.
    progress : callable, optional

    Raises
    ------
    BackendError
        If an endpoint cannot be used; replies until then are in the cache.
    """
    ids, prompts = task.table.ids.to_list(), task.prompts
    require_prices(task.raters, task.prices, task.limits.budget_usd)
    for rater in task.raters:
        keys = [key for row in rating_keys(rater, prompts) for key in row or ()]
        for reply in cache.get(sorted(cache.asked_by(keys, run=run_id))).values():
            account.add(_price_key(rater), reply)
    rated, said, costs = [], [pl.DataFrame(schema=REPLIES)], []
    stopped = False
    for rater in task.raters:
        if rater.judge is None:
            rated.append(recorded_ratings(rater, task.table, task.rubric))
            costs.append(_cost_row(rater, pl.DataFrame(schema=REPLIES), task, from_cache=0))
            continue
        started = time.monotonic()
        found = gather(
            rater,
            prompts,
            overall=task.rubric.overall,
            cache=cache,
            run_id=run_id,
            engine=engine,
            limits=task.limits,
            spending=RaterSpending(account, _price_key(rater), _longest_reply(rater, task), batch=task.limits.batch),
            folder=folder,
            seed=derive_seed(seed, "rate", rater.name),
            progress=progress,
        )
        _note_habit(cache, rater, found, time.monotonic() - started, note)
        ratings, replies = reply_frames(rater, ids, found, task.rubric, task.prices)
        stopped = stopped or found.stopped
        rated.append(ratings)
        said.append(replies)
        costs.append(_cost_row(rater, replies, task, from_cache=found.from_cache))
    return RatedRows(pl.concat(rated), pl.concat(said), costs, stopped)


def _longest_reply(rater: Rater, task: Assignment) -> int:
    """Tokens that a reply may have; an expected score is read and not written."""
    return 0 if rater.kind == "scoring" and task.settings.scoring == "expected" else task.settings.max_tokens


def _note_habit(cache: ResponseCache, rater: Rater, found: Gathered, seconds: float, note: Callable[..., None]) -> None:
    written = [reply.output_tokens / reply.attempts for reply in found.fresh if reply.output_tokens is not None]
    if found.fresh and rater.judge is not None:
        mean = sum(written) / len(written) if written else None
        cache.note_habit(rater.judge.fingerprint, Habit(seconds / len(found.fresh), mean))
    note("rated", rater=rater.name, replies=len(found.fresh), from_cache=found.from_cache, seconds=round(seconds, 3))


def _price_key(rater: Rater) -> str | None:
    return None if rater.judge is None else rater.judge.price_key


def _cost_row(rater: Rater, replies: pl.DataFrame, task: Assignment, *, from_cache: int) -> dict[str, Any]:
    key = _price_key(rater)
    distinct = replies.filter(pl.col("attempts") > 0).unique("key", maintain_order=True)
    unknown = distinct["cost"].null_count() > 0

    def total(column: str) -> int | None:
        return None if distinct[column].null_count() else int(distinct[column].sum())

    return {
        "name": rater.name,
        "judge": rater.spec,
        "kind": rater.kind,
        "samples": rater.samples,
        "calls": len(distinct),
        "attempts": int(distinct["attempts"].sum()),
        "input_tokens": total("input_tokens"),
        "output_tokens": total("output_tokens"),
        "cost": None if unknown else float(distinct["cost"].sum()),
        "currency": "USD",
        "price_known": task.prices.known(key),
        "from_cache": from_cache,
        # what the endpoint did not take and was left out; ratings may depend on it
        "conceded": list(getattr(rater.judge, "conceded", ())),
    }
