"""What a reader hands over, before roles and ids are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import polars as pl

from tamis.data.records import columns_from_records, dump_json
from tamis.data.rejects import Rejects
from tamis.data.source import Source


@dataclass
class Parsed:
    """What a reader found, before roles and ids.

    Parameters
    ----------
    frame : pl.DataFrame
        One row per record that could be parsed.
    source : Source
        Format, path, JSON columns and layouts.
    rejects : Rejects
        Rows that could not be parsed.
    layout_rows : pl.Series, optional
        Index into ``source.layouts`` of each row, shape (n,).
    files, lines : list, optional
        Where each row stands; without them rows are numbered from 1.
    untyped : bool
        Whether all columns are text because the format has no types (CSV).
    """

    frame: pl.DataFrame
    source: Source
    rejects: Rejects = field(default_factory=Rejects)
    layout_rows: pl.Series | None = None
    files: list[str] | None = None
    lines: list[int] | None = None
    untyped: bool = False


def parse_records(items: Iterable[tuple[str, int, Any]], source: Source, rejects: Rejects) -> Parsed:
    """Turn JSON values into typed columns; what is no object, or no valid Unicode, goes to the rejects.

    Parameters
    ----------
    items : iterable of (file, line, value)
        Decoded values and where they stand.
    source : Source
        Format and path; the result's source has the JSON columns and layouts too.
    rejects : Rejects
        Collects what cannot be used.

    Examples
    --------
    >>> items = [("a", 1, {"text": "x"}), ("a", 2, [2])]
    >>> parsed = parse_records(items, Source("records"), Rejects())
    >>> parsed.frame.height, parsed.rejects.first
    (1, 'a, line 2: is no object but a list')
    """
    files: list[str] = []
    lines: list[int] = []
    records: list[dict[str, Any]] = []
    for file, line, value in items:
        if not isinstance(value, dict):
            rejects.add(file, line, f"is no object but a {type(value).__name__}", _shown(value))
        elif not all(type(key) is str for key in value):
            rejects.add(file, line, "has a key that is no text", _shown(value))
        else:
            files.append(file)
            lines.append(line)
            records.append(value)
    try:
        made = columns_from_records(records)
    except UnicodeEncodeError:
        kept = [_is_unicode(record) for record in records]
        for file, line, record, good in zip(files, lines, records, kept, strict=True):
            if not good:
                rejects.add(file, line, "has a lone surrogate, which is no Unicode text", _shown(record))
        files, lines, records = list(compress(files, kept)), list(compress(lines, kept)), list(compress(records, kept))
        made = columns_from_records(records)
    source = replace(source, json_columns=made.json_columns, layouts=made.layouts)
    return Parsed(made.frame, source, rejects, made.layout_rows, files, lines)


def _shown(value: Any) -> str:
    try:
        return dump_json(value)
    except TypeError:
        return repr(value)


def _is_unicode(value: Any) -> bool:
    try:
        _shown(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
