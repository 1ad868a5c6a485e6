"""JSONL and JSON arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tamis.data.table import Table
from tamis.data.writers.streams import create_bytes
from tamis.errors import DataError


def _foreign(value: Any) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    raise DataError(f"JSON cannot hold values of type {type(value).__name__}; write Parquet, or drop the column first.")


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_foreign).encode


def write_jsonl(table: Table, path: Path, format_name: str, *, with_ids: bool) -> None:
    """Write one object per line, keys in the order of the source; dates as ISO text."""
    with create_bytes(path) as stream:
        for line in _lines(table, with_ids):
            stream.write(line + b"\n")


def write_json(table: Table, path: Path, format_name: str, *, with_ids: bool) -> None:
    """Write an array with one object per line."""
    with create_bytes(path) as stream:
        between = b"[\n"
        for line in _lines(table, with_ids):
            stream.write(between + line)
            between = b",\n"
        stream.write(b"\n]\n" if between == b",\n" else b"[]\n")


def _lines(table: Table, with_ids: bool) -> Iterator[bytes]:
    for record in table.records(with_ids=with_ids):
        yield _encode(record).encode("utf-8")
