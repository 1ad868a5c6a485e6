"""Objects in memory: data frames of other libraries, data sets, lists of dicts.

pandas and datasets are recognised by where their classes live and never imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import polars as pl

from tamis.data.parsed import Parsed, parse_records
from tamis.data.records import columns_from_records
from tamis.data.rejects import Rejects
from tamis.data.source import Source
from tamis.errors import DataError

_ACCEPTED = "a path, a pandas or Polars frame, a pyarrow Table, a Hugging Face Dataset or a list of dicts"


def read_object(value: Any) -> Parsed:
    """Read an object in memory.

    Raises
    ------
    DataError
        If it is of no known kind, or holds several splits.

    Examples
    --------
    >>> read_object([{"text": "a"}]).source.format
    'records'
    """
    library = type(value).__module__.partition(".")[0]
    if isinstance(value, pl.LazyFrame):
        value = value.collect()
    if isinstance(value, pl.DataFrame):
        return _from_columns(value, "polars")
    if library == "pandas" and hasattr(value, "columns"):
        return _from_pandas(value)
    if library == "datasets":
        return _from_dataset(value)
    if hasattr(value, "__arrow_c_stream__"):
        return _from_columns(pl.DataFrame(pl.from_arrow(value)), "arrow")
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return _from_items(value, "records")
    raise DataError(f"A table must be read from {_ACCEPTED}. Got {type(value).__name__} instead.")


def _from_items(values: Iterable[Any], format_name: str) -> Parsed:
    source = Source(format_name)
    items = ((source.name, position, value) for position, value in enumerate(values, 1))
    return parse_records(items, source, Rejects())


def _from_columns(frame: pl.DataFrame, format_name: str) -> Parsed:
    """A Polars frame; columns of Python objects get a type, or become JSON text."""
    json_columns: list[str] = []
    for name, dtype in frame.schema.items():
        if dtype == pl.Object:
            made = columns_from_records([{name: value} for value in frame[name].to_list()])
            frame = frame.with_columns(made.frame[name])
            json_columns.extend(made.json_columns)
    return Parsed(frame, Source(format_name, json_columns=tuple(json_columns)))


def _from_pandas(value: Any) -> Parsed:
    """A pandas frame without its index; NaN, NaT and None are null; mixed object columns become JSON text."""
    columns: dict[str, pl.Series] = {}
    json_columns: list[str] = []
    names = [str(name) for name in value.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"The pandas frame names the column {twice!r} {names.count(twice)} times; rename one.")
    for position, name in enumerate(names):
        series = value.iloc[:, position]
        if str(series.dtype) == "object":
            cells = series.where(series.notna(), None).tolist()
            made = columns_from_records([{name: cell} for cell in cells])
            columns[name] = made.frame[name]
            json_columns.extend(made.json_columns)
        else:
            columns[name] = cast(pl.Series, pl.from_pandas(series, nan_to_null=True))
    return Parsed(pl.DataFrame(columns), Source("pandas", json_columns=tuple(json_columns)))


def _from_dataset(value: Any) -> Parsed:
    """A datasets.Dataset through Arrow (its row selection applied), a streaming one row by row."""
    if isinstance(value, Mapping):
        splits = ", ".join(map(str, value))
        raise DataError(
            f"The Hugging Face object holds several splits ({splits}); give one of them, as in read(ds['train'])."
        )
    if hasattr(value, "with_format") and hasattr(value, "__len__"):
        table = value.with_format("arrow")[:]
        return _from_columns(pl.DataFrame(pl.from_arrow(table)), "datasets")
    return _from_items(value, "datasets")
