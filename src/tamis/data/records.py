"""JSON objects to typed columns and back without loss."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from tamis.data.source import Layout
from tamis.errors import DataError

_EXACT = 2**53
_INT64 = 2**63
_JSON_KINDS = frozenset({str, bool, int, float, dict, list, tuple})

dump_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Compact JSON text in UTF-8, key order kept."""


class Columns(NamedTuple):
    """Typed columns made from JSON objects, and what is needed to make the objects again."""

    frame: pl.DataFrame
    json_columns: tuple[str, ...]
    layouts: tuple[Layout, ...]
    layout_rows: pl.Series


def columns_from_records(records: Sequence[dict[str, Any]]) -> Columns:
    """Turn JSON objects into a frame with one typed column per key.

    A key whose values are all text, all booleans, all 64-bit integers or all floats gives a column of that type;
    integers beside floats give floats, and the layout remembers which were integers. Nested or otherwise mixed
    values, and integers beyond 64 bits, are kept as JSON text. Text ids beside integer ids give text.

    Parameters
    ----------
    records : sequence of dict
        Objects as the json module decodes them. NumPy scalars count as the Python number they hold.

    Returns
    -------
    Columns
        ``frame`` has the keys in order of first appearance; ``layout_rows`` (UInt32, n) gives the layout of each row.

    Raises
    ------
    DataError
        If a value cannot be stored, for example an arbitrary Python object.

    Examples
    --------
    >>> made = columns_from_records([{"q": "a", "n": 1}, {"n": 1.5, "tags": ["x"]}])
    >>> made.frame["n"].to_list(), made.json_columns
    ([1.0, 1.5], ('tags',))
    >>> made.layouts[0]
    Layout(keys=('q', 'n'), integers=frozenset({'n'}))
    """
    names = list(dict.fromkeys(key for keys in dict.fromkeys(map(tuple, records)) for key in keys))
    series: list[pl.Series] = []
    json_columns: list[str] = []
    marked: list[str] = []
    for name in names:
        column, as_json, mark = _column(name, [record.get(name) for record in records])
        series.append(column)
        if as_json:
            json_columns.append(name)
        if mark:
            marked.append(name)
    known: dict[Layout, int] = {}
    rows = []
    for record in records:
        integers = frozenset(name for name in marked if type(record.get(name)) is int)
        rows.append(known.setdefault(Layout(tuple(record), integers), len(known)))
    # A mapping, since a list would rename a column without a name.
    frame = pl.DataFrame(dict(zip(names, series, strict=True)))
    return Columns(frame, tuple(json_columns), tuple(known), pl.Series("layout", rows, dtype=pl.UInt32))


def _column(name: str, values: list[Any]) -> tuple[pl.Series, bool, bool]:
    """One column, whether its cells are JSON text, and whether its integers must be remembered."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds <= _JSON_KINDS:
        values = [_plain(value) for value in values]
        kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pl.Series(name, values, dtype=pl.String), False, False
    if not kinds <= _JSON_KINDS:
        return _foreign_column(name, values), False, False
    if name == "id" and kinds <= {str, int}:
        return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String), False, int in kinds
    if kinds == {str}:
        return pl.Series(name, values, dtype=pl.String), False, False
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean), False, False
    if kinds == {int} and all(v is None or -_INT64 <= v < _INT64 for v in values):
        return pl.Series(name, values, dtype=pl.Int64), False, False
    if kinds == {float}:
        return pl.Series(name, values, dtype=pl.Float64), False, False
    if kinds == {int, float} and all(type(v) is not int or abs(v) <= _EXACT for v in values):
        numbers = [None if v is None else float(v) for v in values]
        return pl.Series(name, numbers, dtype=pl.Float64), False, True
    try:
        texts = [None if v is None else dump_json(v) for v in values]
    except TypeError as error:
        raise DataError(
            f"The column {name!r} holds a nested value that is no JSON: {error}; convert it first."
        ) from None
    return pl.Series(name, texts, dtype=pl.String), True, False


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python values, without importing NumPy."""
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return value


def _foreign_column(name: str, values: list[Any]) -> pl.Series:
    """Dates, bytes, decimals: whatever Polars has one type for."""
    try:
        column = pl.Series(name, values, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        column = pl.Series(name, [None], dtype=pl.Object)
    if column.dtype == pl.Object:
        kinds = ", ".join(sorted({type(value).__name__ for value in values if value is not None}))
        raise DataError(
            f"The column {name!r} holds values of type {kinds}, which a table cannot store; convert them to text, "
            "numbers or paths first."
        )
    return column


def records_from_columns(
    frame: pl.DataFrame,
    *,
    json_columns: Sequence[str] = (),
    layouts: Sequence[Layout] = (),
    layout_rows: pl.Series | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a frame as objects: the inverse of :func:`columns_from_records`.

    Columns that no layout knows are put behind the known keys. A cell that was absent but has a value now is written.

    Examples
    --------
    >>> records = [{"b": 1, "a": None}, {"a": "x"}]
    >>> made = columns_from_records(records)
    >>> list(records_from_columns(made.frame, layouts=made.layouts, layout_rows=made.layout_rows)) == records
    True
    """
    known = {key for layout in layouts for key in layout.keys}
    added = [name for name in frame.columns if name not in known]
    step = 1 << 16
    for start in range(0, frame.height, step):
        part = frame.slice(start, step)
        cells = [_decoded(part[name]) if name in json_columns else part[name].to_list() for name in part.columns]
        rows: Iterator[tuple[Any, ...]] = zip(*cells, strict=True)
        if layout_rows is None:
            yield from (dict(zip(part.columns, row, strict=True)) for row in rows)
            continue
        for row, index in zip(rows, layout_rows.slice(start, step).to_list(), strict=True):
            yield _shaped(dict(zip(part.columns, row, strict=True)), layouts[index], added)


def _decoded(series: pl.Series) -> list[Any]:
    return [None if text is None else json.loads(text) for text in series.to_list()]


def _shaped(cells: dict[str, Any], layout: Layout, added: list[str]) -> dict[str, Any]:
    record = {key: cells.pop(key) for key in layout.keys if key in cells}
    for name in layout.integers & record.keys():
        value = record[name]
        if (name == "id" and isinstance(value, str)) or (isinstance(value, float) and value.is_integer()):
            record[name] = int(value)
    first = {"id": cells.pop("id")} if "id" in added else {}
    return first | record | {name: value for name, value in cells.items() if value is not None or name in added}
