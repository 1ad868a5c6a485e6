"""What a rating recipe asks for, checked and read before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from tamis.curate.rating.matrices import MIN_ROWS
from tamis.curate.rating.prompt import Prepared, judge_prompt
from tamis.curate.rating.raters import Rater, parse_raters
from tamis.curate.rating.rubric import Rubric
from tamis.curate.rating.settings import RatingLimits, RatingSettings
from tamis.data import Signal, Table
from tamis.errors import MissingExtraError, RecipeError, did_you_mean
from tamis.models import get_embedder, read_vectors
from tamis.models.judging import JudgePrompt
from tamis.models.pricing import PriceTable
from tamis.recipe import Recipe
from tamis.recipe.pool import read_pool


@dataclass(frozen=True)
class Assignment:
    """What a recipe asks for, checked and read.

    Attributes
    ----------
    settings, limits : RatingSettings, RatingLimits
    rubric : Rubric
    prices : PriceTable
    raters : list of Rater
    pool : Table
        All records.
    table : Table
        The n records to be rated.
    prepared : list of Prepared, length n
    """

    settings: RatingSettings
    limits: RatingLimits
    rubric: Rubric
    prices: PriceTable
    raters: list[Rater]
    pool: Table
    table: Table
    prepared: list[Prepared]

    @property
    def prompts(self) -> list[JudgePrompt | None]:
        """Prompt of each row, None for one without text."""
        return [None if p.empty else p.prompt for p in self.prepared]


def read_assignment(recipe: Recipe) -> Assignment:
    """Check a rating recipe and read what it names.

    Raises
    ------
    RecipeError, DataError, MissingExtraError
        If a setting, the rubric, the price table, a rater, the pool, or the embedder or vectors that the judges'
        matrices need cannot be used.
    BackendError
        If the embedder has to be fetched and cannot be.
    """
    settings, limits = RatingSettings.from_params(recipe.params), RatingLimits.from_limits(recipe.limits)
    rubric = Rubric.from_yaml(recipe.inputs["rubric"]) if "rubric" in recipe.inputs else Rubric.default()
    prices = PriceTable.read(recipe.inputs["prices"]) if "prices" in recipe.inputs else PriceTable.default()
    task = assign(read_pool(recipe), settings, limits, rubric=rubric, prices=prices, seed=recipe.seed)
    _require_vectors(recipe, task)
    return task


def _require_vectors(recipe: Recipe, task: Assignment) -> None:
    """Raise if the judges' matrices could not be estimated for a reason that can be mended before money is spent."""
    if task.settings.embedder is None or len(task.table) < MIN_ROWS:
        return
    if "embeddings" in recipe.inputs:
        read_vectors(recipe.inputs["embeddings"], n_rows=len(task.pool), ids=task.pool.ids.to_list())
        return
    with suppress(MissingExtraError):  # a rating without matrices is worth having; the report says why there are none
        get_embedder(task.settings.embedder)


def assign(
    pool: Table,
    settings: RatingSettings,
    limits: RatingLimits,
    *,
    rubric: Rubric,
    prices: PriceTable,
    seed: int,
) -> Assignment:
    """Put every row to be rated before the judges, on paper.

    Raises
    ------
    RecipeError, DataError, MissingExtraError
        If a rater or the rows cannot be used.
    """
    raters = parse_raters(settings.raters, settings, timeout=limits.timeout, seed=seed)
    for column in (column for rater in raters for column in rater.columns):
        if column not in pool.frame.columns:
            hint = did_you_mean(column, pool.frame.columns)
            raise RecipeError(f"The pool has no column {column!r} of recorded ratings.{hint}")
    table = pool if settings.limit is None else pool.take(range(min(settings.limit, len(pool))))
    truths = _truths(table, settings)
    chats = table.chats()
    prepared = [
        judge_prompt(rubric, chat, max_chars=settings.max_chars, truth=truth)
        for chat, truth in zip(chats, truths, strict=True)
    ]
    return Assignment(settings, limits, rubric, prices, raters, pool, table, prepared)


def _truths(table: Table, settings: RatingSettings) -> Sequence[float | None]:
    if settings.truth is None:
        return [None] * len(table)
    values, _ = Signal.from_column(table, settings.truth).aligned(table)
    if len(values) and np.isnan(values).all():
        raise RecipeError(f"The column of true ratings {settings.truth!r} holds no number; name another with --truth.")
    return [None if value != value else float(value) for value in values]
