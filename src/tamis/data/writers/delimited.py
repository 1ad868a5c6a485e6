"""CSV and TSV."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from tamis.data.chats import as_text
from tamis.data.readers.delimited import DELIMITERS
from tamis.data.table import Table
from tamis.data.writers.streams import create_bytes


def write_delimited(table: Table, path: Path, format_name: str, *, with_ids: bool) -> None:
    """Write a header and one row per record; nested values as JSON text, null as an empty cell."""
    frame = table.output_frame(with_ids=with_ids)
    json_columns = table.source.json_columns
    columns = {name: _flat(frame[name], name in json_columns) for name in frame.columns}
    # A row that is one empty cell would be a blank line, which readers skip.
    null = '""' if len(columns) == 1 else ""
    with create_bytes(path) as stream:
        pl.DataFrame(columns).write_csv(stream, separator=DELIMITERS[format_name], null_value=null)


def _flat(column: pl.Series, is_json: bool) -> pl.Series:
    if is_json:
        cells = [None if text is None else as_text(json.loads(text)) for text in column.to_list()]
    elif column.dtype.is_nested() or column.dtype == pl.Binary:
        cells = [None if value is None else as_text(value) for value in column.to_list()]
    else:
        return column
    return pl.Series(column.name, cells, dtype=pl.String)
