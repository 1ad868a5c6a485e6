"""Stable ids and digests: 128-bit BLAKE2 of canonical JSON.

Canonical JSON has sorted keys, no spaces, UTF-8 without Unicode normalisation. Keys whose value is null are left
out and a float with an integral value is written as an integer, as in RFC 8785, so a row's id depends on that row
alone: not on the columns or number types that other rows bring into the frame, nor on the file format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from tamis.errors import DataError

_DIGEST_BYTES = 16
_EXACT = 2.0**53
_SHOWN = 3


def _foreign(value: Any) -> Any:
    """Values JSON has no word for."""
    if isinstance(value, bytes):
        return "blake2:" + _digest(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    raise DataError(f"An id cannot be made from a value of type {type(value).__name__}; drop or convert its column.")


_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_foreign).encode


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value


def _column_values(series: pl.Series, is_json: bool) -> list[Any]:
    if is_json:
        return [None if text is None else _canonical(json.loads(text)) for text in series.to_list()]
    if series.dtype.is_nested() or series.dtype.is_float():
        return [_canonical(value) for value in series.to_list()]
    return series.to_list()


def canonical_rows(frame: pl.DataFrame, columns: Sequence[str], *, json_columns: Sequence[str] = ()) -> Iterator[bytes]:
    """Yield the canonical JSON of each row of ``frame`` over ``columns``, as UTF-8 bytes.

    Examples
    --------
    >>> frame = pl.DataFrame({"b": ["x", None], "a": [1.0, 2.5]})
    >>> list(canonical_rows(frame, ["b", "a"]))
    [b'{"a":1,"b":"x"}', b'{"a":2.5}']
    """
    names = sorted(columns)
    step = 1 << 16
    for start in range(0, frame.height, step):
        part = frame.slice(start, step)
        cells = [_column_values(part[name], name in json_columns) for name in names]
        for row in zip(*cells, strict=True):
            content = {name: value for name, value in zip(names, row, strict=True) if value is not None}
            yield _encode(content).encode("utf-8")


def content_ids(frame: pl.DataFrame, columns: Sequence[str], *, json_columns: Sequence[str] = ()) -> list[str]:
    """Make one id per row from its content.

    Parameters
    ----------
    frame : pl.DataFrame
        Rows to name, shape (n, any).
    columns : sequence of str
        Content columns. Other columns, for example ratings, never change an id.
    json_columns : sequence of str
        Columns whose cells are JSON text; they are decoded first, so spacing and key order do not matter.

    Returns
    -------
    list of str
        n unique ids: 32 hex digits, and ``-1``, ``-2`` ... behind the second and later rows of equal content.

    Notes
    -----
    Among rows of equal content the suffix follows the order of the rows; a table whose copies differ in other
    columns and is shuffled before it is read gives these copies other suffixes.

    Examples
    --------
    >>> content_ids(pl.DataFrame({"prompt": ["hi", "ho", "hi"]}), ["prompt"])[1:]
    ['b60351b14e5ff04f51f5770d251f7045', 'ac3987f6a961adccec6efbc54b6edfa3-1']
    """
    seen: dict[str, int] = {}
    ids = []
    for content in canonical_rows(frame, columns, json_columns=json_columns):
        digest = _digest(content)
        ordinal = seen.get(digest, 0)
        seen[digest] = ordinal + 1
        ids.append(f"{digest}-{ordinal}" if ordinal else digest)
    return ids


def text_digests(texts: Iterable[str]) -> list[str]:
    """Digest each text: 32 hex digits of the 128-bit BLAKE2 of its UTF-8 bytes.

    Examples
    --------
    >>> text_digests(["a text"]) == text_digests(iter(["a text"]))
    True
    """
    return [_digest(text.encode("utf-8")) for text in texts]


def frame_digest(frame: pl.DataFrame, *, json_columns: Sequence[str] = ()) -> str:
    """Digest ids and all cells of a frame with an ``id`` column, whatever the order of its rows and columns.

    Examples
    --------
    >>> frame = pl.DataFrame({"id": ["a", "b"], "x": [1, 2]})
    >>> frame_digest(frame) == frame_digest(frame.reverse()), len(frame_digest(frame))
    (True, 32)
    """
    rows = canonical_rows(frame, frame.columns, json_columns=json_columns)
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for digest in sorted(hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest() for row in rows):
        state.update(digest)
    return state.hexdigest()


def given_ids(column: pl.Series, source: str) -> pl.Series:
    """Take a column as ids: text as is, integers as text.

    Raises
    ------
    DataError
        If the column is neither text nor integers, or holds nulls or duplicates.

    Examples
    --------
    >>> given_ids(pl.Series("question_id", [7, 8]), "questions.jsonl").to_list()
    ['7', '8']
    """
    advice = "mend the column, name another with id_column, or drop it so that ids are made from the content"
    dtype = column.dtype
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise DataError(
            f"The id column {column.name!r} of {source} must hold text or integers, found {dtype}; {advice}."
        )
    ids = column.cast(pl.String).alias("id")
    nulls = ids.is_null().arg_true().to_list()
    if nulls:
        shown = ", ".join(str(row + 1) for row in nulls[:_SHOWN])
        raise DataError(
            f"The id column {column.name!r} of {source} must name every row, but {len(nulls)} of {len(ids)} rows "
            f"have no id (first at row {shown}); {advice}."
        )
    if ids.n_unique() < len(ids):
        twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True).to_list()
        shown = ", ".join(repr(name) for name in twice[:_SHOWN])
        raise DataError(
            f"The id column {column.name!r} of {source} must be unique, but {len(twice)} ids occur more than once "
            f"(first: {shown}); {advice}."
        )
    return ids
