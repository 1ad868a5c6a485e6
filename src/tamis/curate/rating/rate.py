"""``tamis.rate``: rating a table from Python, without a run directory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from tamis.cache import cache_folder
from tamis.curate.rating.assignment import assign
from tamis.curate.rating.frames import flags_frame, signal_of
from tamis.curate.rating.rated_rows import rate_rows
from tamis.curate.rating.rubric import Rubric
from tamis.curate.rating.settings import RatingLimits, RatingSettings
from tamis.curate.rating.spending import Spending
from tamis.data import Signal, Table
from tamis.engine import get_engine
from tamis.errors import RecipeError, did_you_mean
from tamis.models.pricing import PriceTable
from tamis.models.response_cache import ResponseCache


@dataclass(frozen=True)
class Rating:
    """What the judges said about a table.

    Attributes
    ----------
    signal : Signal
        One measurement a record, rater and criterion: the mean over the samples that were measured.
    ratings : pl.DataFrame
        The same by sample: unit_id, rater, criterion, sample, value, status.
    replies : pl.DataFrame
        Raw replies with tokens, calls and money.
    flags : pl.DataFrame
        Length of each sample, whether it was cut, and why it seems to talk to the judge (null if it does not).
    costs : list of dict
        One a rater.
    budget_reached : bool
        Whether something was left unasked for that reason.
    """

    signal: Signal
    ratings: pl.DataFrame
    replies: pl.DataFrame
    flags: pl.DataFrame
    costs: list[dict[str, Any]]
    budget_reached: bool


def rate(
    table: Table,
    *,
    raters: str | Sequence[str],
    rubric: Rubric | None = None,
    prices: PriceTable | None = None,
    engine: str = "inline",
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Rating:
    """Let LLM judges rate the records of a table.

    Every reply is kept in the user's cache: a call that was interrupted goes on where it stopped, and a reply is not
    asked or paid for twice.

    Parameters
    ----------
    table : Table
        n records.
    raters : str or sequence of str
        ``"openai:MODEL[@BASE_URL]"``, ``"hf:smollm2"``, ``"scripted:diagonal=0.7"``, ``"columns:A,B"``; each perhaps
        behind ``"NAME="``.
    rubric : Rubric, optional
        Default: DS2's rarity, complexity, informativeness and overall rating on 1-10.
    prices : PriceTable, optional
    engine : str
        Who computes local judges.
    seed : int
    progress : callable, optional
        Called with (what, replies there, replies in all).
    **options
        Fields of :class:`RatingSettings` and :class:`RatingLimits`, such as ``samples`` and ``budget_usd``.

    Returns
    -------
    Rating
        Failed measurements have a status and no value.

    Raises
    ------
    RecipeError
        If an option is unknown or out of range.
    BackendError
        If an endpoint cannot be used.

    Examples
    --------
    >>> table = Table.from_records([{"prompt": f"What is {i} + {i}?", "response": str(2 * i)} for i in range(3)])
    >>> rate(table, raters="scripted:diagonal=1").signal
    Signal(12 measurements of 3 units by scripted on rarity, complexity, informativeness, overall: 12 ok)
    """
    settings, limits = _options((raters,) if isinstance(raters, str) else tuple(raters), options)
    task = assign(
        table,
        settings,
        limits,
        rubric=rubric or Rubric.default(),
        prices=prices or PriceTable.default(),
        seed=seed,
    )
    account = Spending(task.prices, limits.budget_usd, limits.budget_tokens)
    batches = cache_folder() / "batches"
    batches.mkdir(parents=True, exist_ok=True)
    with ResponseCache.of_user() as cache:
        rated = rate_rows(
            task,
            cache=cache,
            run_id=secrets.token_hex(8),
            account=account,
            engine=get_engine(engine),
            folder=batches,
            seed=seed,
            note=lambda *_, **__: None,
            progress=progress,
        )
    return Rating(
        signal=signal_of(rated.ratings, rated.replies, task.rubric),
        ratings=rated.ratings,
        replies=rated.replies,
        flags=flags_frame(task.table.ids.to_list(), task.prepared),
        costs=rated.costs,
        budget_reached=rated.stopped,
    )


def _options(raters: tuple[str, ...], options: dict[str, Any]) -> tuple[RatingSettings, RatingLimits]:
    of_limits = {f.name for f in fields(RatingLimits)}
    known = of_limits | {f.name for f in fields(RatingSettings)} - {"raters"}
    for name in options:
        if name not in known:
            raise RecipeError(f"tamis.rate has no option {name!r}.{did_you_mean(name, known)}")
    limits = {name: value for name, value in options.items() if name in of_limits}
    settings = {name: value for name, value in options.items() if name not in of_limits}
    return RatingSettings(raters, **settings), RatingLimits(**limits)
