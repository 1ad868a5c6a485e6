"""Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from tamis.data.records import dump_json
from tamis.data.table import Table


def write_parquet(table: Table, path: Path, format_name: str, *, with_ids: bool) -> None:
    """Write typed columns; JSON cells become nested columns where one nested type holds them without loss."""
    frame = table.output_frame(with_ids=with_ids)
    nested = [_nested(frame[column]) for column in table.source.json_columns if column in frame.columns]
    frame.with_columns(nested).write_parquet(path)


def _nested(column: pl.Series) -> pl.Series:
    values = [None if text is None else json.loads(text) for text in column.to_list()]
    try:
        made = pl.Series(column.name, values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return column
    return made if made.dtype.is_nested() and dump_json(made.to_list()) == dump_json(values) else column
