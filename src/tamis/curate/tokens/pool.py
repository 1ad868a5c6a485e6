"""The records of a token run as tokens: read, split from the warm-up records, encoded once, kept in parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.curate.tokens.settings import TokenSettings
from tamis.data import Table, read, text_digests
from tamis.data.readers import parse
from tamis.data.token_rows import TokenRows
from tamis.errors import DataError
from tamis.models.causal_lm import LocalModel, context_length, load_tokenizer
from tamis.models.chat_tokens import EncodedChats, encode_chats
from tamis.recipe import Recipe
from tamis.recipe.pool import read_pool
from tamis.runs import Step, atomic_write_text
from tamis.runs.digests import derive_seed
from tamis.runs.step_files import write_frame
from tamis.runs.steps import part_path

PART_ROWS = 256
"""Records of a part. The batches of the losses are cut from it."""


def pool_and_warmup(recipe: Recipe, settings: TokenSettings) -> tuple[Table, Table | None]:
    """Read the pool and the warm-up records.

    Records of the pool with the id or the text of a warm-up record are left out, unless ``hold_out`` is False.

    Raises
    ------
    DataError
        If no record can be used, a record has no chat, or nothing is left to clean.
    """
    pool = read_pool(recipe)
    if settings.limit is not None:
        pool = pool.take(range(min(settings.limit, len(pool))))
    warm: Table | None = None
    if "warmup" in recipe.inputs:
        warm = _read_warmup(recipe)
    elif settings.warmup is not None:
        if settings.warmup >= len(pool):
            raise DataError(
                f"The pool has {len(pool)} records, {settings.warmup} of them for the warm-up leave none to clean; "
                "take fewer, or give a file of their own."
            )
        order = np.asarray(pool.ids.arg_sort())
        drawn = np.random.default_rng(derive_seed(recipe.seed, "warm-up")).permutation(len(pool))[: settings.warmup]
        warm = pool.take(np.sort(order[drawn]))
    if warm is not None and settings.hold_out:
        seen = set(text_digests(warm.texts()))
        alike = pl.Series([digest in seen for digest in text_digests(pool.texts())], dtype=pl.Boolean)
        left = ~(pool.ids.is_in(warm.ids.implode()) | alike)
        if not left.any():
            raise DataError("All records of the pool are warm-up records; nothing is left to clean.")
        if left.sum() < 2:
            raise DataError("One record is left when the warm-up records are taken out; a ranking needs at least two.")
        pool = pool.take(left)
    return pool, warm


def _read_warmup(recipe: Recipe) -> Table:
    """Read the warm-up file; its ids are those of the pool's column, where it has that column."""
    path, column = recipe.input_path("warmup"), recipe.params.get("id_column")
    return read(path, id_column=str(column) if column in parse(path).frame.columns else None)


def encode(step: Step, pool: Table, warm: Table | None, base: LocalModel, settings: TokenSettings) -> dict[str, Any]:
    """Encode pool and warm-up records into the step's folder, and return what there is to say about it.

    Records are kept in the order of their ids, so that the order of a file changes nothing.

    Raises
    ------
    DataError
        If no record can be encoded, or no warm-up record has an answer.
    """
    if not step.complete:
        tokenizer = load_tokenizer(base)
        limit = context_length(base)
        length = settings.max_length if limit is None else min(settings.max_length, limit)
        made = _encoded(pool, tokenizer, length, "pool")
        for number, start in enumerate(range(0, len(made.rows), PART_ROWS)):
            rows = made.rows.take(range(start, min(start + PART_ROWS, len(made.rows))))
            write_frame(part_path(step.folder, number), rows.to_frame())
        lost = pl.DataFrame(
            {"unit_id": [_ordered(pool).ids[i] for i in made.problems], "reason": list(made.problems.values())},
            schema={"unit_id": pl.String, "reason": pl.String},
        )
        write_frame(step.folder / "unencoded.parquet", lost)
        said = {
            "template": made.template,
            "warmup_lost": 0,
            "max_length": length,
            "truncated": int(made.truncated.sum()),
            "no_response": int(
                (np.bincount(made.rows.row_of[made.rows.response], minlength=len(made.rows)) == 0).sum()
            ),
        }
        if warm is not None:
            rows = _encoded(warm, tokenizer, length, "warm-up").rows
            taught = np.unique(rows.row_of[rows.response])
            if not len(taught):
                raise DataError(f"None of the {len(rows)} warm-up records has an answer to learn from; choose others.")
            write_frame(step.folder / "warmup.parquet", rows.take(taught).to_frame())
            said["warmup_lost"] = len(warm) - len(taught)
        atomic_write_text(step.folder / "encoding.json", json.dumps(said) + "\n")
        step.finish()
    found: dict[str, Any] = json.loads((step.folder / "encoding.json").read_text(encoding="utf-8"))
    return found


def _ordered(table: Table) -> Table:
    return table.take(table.ids.arg_sort())


def _encoded(table: Table, tokenizer: Any, length: int, what: str) -> EncodedChats:
    ordered = _ordered(table)
    made = encode_chats(ordered.chats(), ordered.ids, tokenizer, max_length=length)
    if not len(made.rows):
        raise DataError(f"No {what} record can be encoded; the first one {next(iter(made.problems.values()))}.")
    return made


def part_numbers(step: Step) -> list[int]:
    """Numbers of the parts that hold tokens."""
    return [int(path.stem.removeprefix("part-")) for path in sorted(step.folder.glob("part-*.parquet"))]


def rows_of(step: Step) -> TokenRows:
    """All records of the pool, as tokens, in the order of their ids."""
    return TokenRows.from_frame(pl.concat(_frames(step)))


def _frames(step: Step) -> Iterator[pl.DataFrame]:
    return (pl.read_parquet(part_path(step.folder, number)) for number in part_numbers(step))


def warmup_rows(folder: Path) -> TokenRows:
    """The warm-up records as tokens."""
    return TokenRows.from_frame(pl.read_parquet(folder / "warmup.parquet"))
