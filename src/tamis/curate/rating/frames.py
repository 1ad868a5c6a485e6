"""Replies as frames: what was said, what it is worth, and the signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from tamis.curate.rating.collecting import Gathered
from tamis.curate.rating.parse import reply_ratings
from tamis.curate.rating.prompt import Prepared
from tamis.curate.rating.raters import Rater
from tamis.curate.rating.rubric import Rubric
from tamis.data import Signal, Table
from tamis.models.judging import Reply
from tamis.models.pricing import PriceTable

RATINGS = {
    "unit_id": pl.String,
    "rater": pl.String,
    "criterion": pl.String,
    "sample": pl.Int64,
    "value": pl.Float64,
    "status": pl.String,
}
REPLIES = {
    "key": pl.String,
    "unit_id": pl.String,
    "rater": pl.String,
    "sample": pl.Int64,
    "status": pl.String,
    "raw": pl.String,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "attempts": pl.Int64,
    "cost": pl.Float64,
    "error": pl.String,
}
_WORST = ("missing", "refused", "unparsed")
_NO_REPLY = Reply("failed", attempts=0, error="not asked")
_EMPTY = Reply("failed", attempts=0, error="the row has no text")


def reply_frames(
    rater: Rater, ids: Sequence[str], gathered: Gathered, rubric: Rubric, prices: PriceTable
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the ratings and the raw replies of a rater that was asked.

    Returns
    -------
    ratings : pl.DataFrame
        One row a unit, criterion and sample: :data:`RATINGS`.
    replies : pl.DataFrame
        One row a unit and sample: :data:`REPLIES`.
    """
    criteria = [criterion.name for criterion in rubric.criteria]
    price_key = rater.judge.price_key if rater.judge is not None else None
    rated, said = [], []
    paid: set[str | None] = set()
    for unit, keys in zip(ids, gathered.keys, strict=True):
        for sample in range(rater.samples):
            key = keys[sample] if keys else None
            reply = _EMPTY if key is None else gathered.replies.get(key, _NO_REPLY)
            ratings = reply_ratings(reply, criteria, rubric.low, rubric.high)
            for name, (status, value) in ratings.items():
                rated.append((unit, rater.name, name, sample, value, status))
            error = reply.error if key is None else gathered.errors.get(key, reply.error)
            shared, calls = key in paid, reply.attempts  # rows with one text share a reply, which was paid for once
            paid.add(key)
            if shared or not calls:
                reply = replace(reply, input_tokens=0, output_tokens=0, attempts=0)
            cost = prices.cost(price_key, reply.input_tokens, reply.output_tokens, batch=reply.batch)
            said.append(
                {
                    "key": key,
                    "unit_id": unit,
                    "rater": rater.name,
                    "sample": sample,
                    "status": ratings[rubric.overall][0],
                    "raw": reply.text,
                    "input_tokens": reply.input_tokens,
                    "output_tokens": reply.output_tokens,
                    "attempts": reply.attempts,
                    "cost": cost,
                    "error": error,
                }
            )
    return (
        pl.DataFrame(rated, schema=RATINGS, orient="row"),
        pl.DataFrame(said, schema=REPLIES),
    )


def recorded_ratings(rater: Rater, table: Table, rubric: Rubric) -> pl.DataFrame:
    """Return ratings that the pool holds, each column a sample. A value outside the rubric's scale is unparsed.

    Raises
    ------
    RecipeError
        If a column does not exist.
    """
    parts = []
    for sample, column in enumerate(rater.columns):
        signal = Signal.from_column(table, column, rater=rater.name, criterion=rubric.overall)
        inside = pl.col("value").is_between(rubric.low, rubric.high)
        parts.append(
            signal.frame.select(
                "unit_id",
                "rater",
                "criterion",
                sample=pl.lit(sample, dtype=pl.Int64),
                value=pl.when(inside).then("value"),
                status=pl.when(pl.col("value").is_null() | inside)
                .then(pl.col("status").cast(pl.String))
                .otherwise(pl.lit("unparsed")),
            )
        )
    return pl.concat(parts).sort("unit_id", "sample", maintain_order=True)


def signal_of(ratings: pl.DataFrame, replies: pl.DataFrame, rubric: Rubric) -> Signal:
    """Return the signal: the mean over the samples that were measured.

    A unit without any measured sample takes the state that most of its samples are in; on a tie, the one that comes
    first in missing, refused, unparsed. The cost of a reply stands with the overall criterion, which was paid for
    together with the others; it is null if it is unknown.
    """
    keys = ["unit_id", "rater", "criterion"]
    counts = {state: (pl.col("status") == state).sum().alias(state) for state in _WORST}
    units = ratings.group_by(keys, maintain_order=True).agg(
        value=pl.col("value").mean(), ok=(pl.col("status") == "ok").sum(), **counts
    )
    most = pl.max_horizontal(*_WORST)
    status = pl.lit(_WORST[-1])
    for state in reversed(_WORST):
        status = pl.when(pl.col(state) == most).then(pl.lit(state)).otherwise(status)
    status = pl.when(pl.col("ok") > 0).then(pl.lit("ok")).otherwise(status)
    paid = replies.group_by("unit_id", "rater").agg(
        # a sum over an unknown amount is unknown
        cost=pl.when(pl.col("cost").is_null().any()).then(None).otherwise(pl.col("cost").sum()),
        raw_ref=pl.lit("replies.parquet#") + pl.col("key").first(),
    )
    frame = units.with_columns(status=status).join(paid, on=["unit_id", "rater"], how="left", maintain_order="left")
    overall = pl.col("criterion") == rubric.overall
    frame = frame.with_columns(cost=pl.when(overall).then("cost").otherwise(pl.lit(0.0)))
    return Signal.from_frame(frame.select(*keys, "value", "status", "cost", "raw_ref"))


def flags_frame(ids: Sequence[str], prepared: Sequence[Prepared]) -> pl.DataFrame:
    """Return what is known about the rows as the judge reads them: length, cut in the middle, talks to the judge."""
    return pl.DataFrame(
        {
            "unit_id": list(ids),
            "characters": [p.characters for p in prepared],
            "truncated": [p.truncated for p in prepared],
            "suspect": [p.suspect for p in prepared],
        },
        schema={"unit_id": pl.String, "characters": pl.Int64, "truncated": pl.Boolean, "suspect": pl.String},
    )
