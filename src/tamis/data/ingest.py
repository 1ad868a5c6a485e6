"""From a parsed source to the parts of a table: roles, usable rows, ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from tamis.data.chats import as_text, normalise_chat
from tamis.data.ids import content_ids, given_ids
from tamis.data.parsed import Parsed
from tamis.data.records import dump_json, records_from_columns
from tamis.data.roles import CONTENT_ROLES, TEXT_ROLES, resolve_roles
from tamis.data.source import Source
from tamis.errors import DataError, RecipeError, did_you_mean

_INTEGER = r"^(0|-?[1-9]\d{0,17})$"
_FLOAT = r"^-?(0|[1-9]\d*)?(\.\d+)?([eE][+-]?\d+)?$"
_FLOAT_DIGITS = 17
_EMPTY_JSON = ("null", '""', "[]", "{}")


def finish(parsed: Parsed, *, id_column: str | None, roles: Mapping[str, str] | None) -> tuple[Parsed, dict[str, str]]:
    """Find the roles, reject rows without content, give ids.

    Returns
    -------
    Parsed
        With ``id`` as the first column of its frame and the source completed.
    dict
        Role to column.

    Raises
    ------
    DataError
        If no row is usable, or ids are null or duplicated.
    RecipeError
        If ``id_column``, a role or its column is unknown.

    Examples
    --------
    >>> done, roles = finish(Parsed(pl.DataFrame({"text": ["a", ""]}), Source("polars")), id_column=None, roles=None)
    >>> done.frame.columns, roles, len(done.rejects)
    (['id', 'text'], {'response': 'text'}, 1)
    """
    source = parsed.source
    if parsed.frame.height == 0:
        raise _no_rows(parsed)
    found = resolve_roles(parsed.frame, roles, json_columns=source.json_columns, source=source.name)
    _check_id_column(parsed.frame, id_column, source.name)
    reasons = _reasons(parsed.frame, found, source)
    bad = [row for row, reason in enumerate(reasons) if reason]
    if bad:
        parsed = without_rows(parsed, bad, reasons)
    if parsed.frame.height == 0:
        raise _no_rows(parsed)
    frame = parsed.frame
    if id_column is None and "id" in frame.columns:
        id_column = "id"
    if parsed.untyped:
        kept = {found[role] for role in TEXT_ROLES if role in found} | {id_column}
        frame = frame.with_columns([typed_column(frame[name]) for name in frame.columns if name not in kept])
    frame, source = _with_ids(frame, source, found, id_column)
    return replace(parsed, frame=frame, source=source), found


def _no_rows(parsed: Parsed) -> DataError:
    name, count = parsed.source.name, len(parsed.rejects)
    if not count:
        return DataError(f"{name} has no usable rows: it is empty; give a source with at least one record.")
    return DataError(
        f"{name} has no usable rows: all {count} were rejected, the first at {parsed.rejects.first}; "
        "mend the rows, or name the columns with roles."
    )


def _check_id_column(frame: pl.DataFrame, id_column: str | None, name: str) -> None:
    if id_column is None:
        return
    if id_column not in frame.columns:
        hint = did_you_mean(id_column, frame.columns)
        raise RecipeError(f"The 'id_column' {id_column!r} is no column of {name}.{hint}")
    if id_column != "id" and "id" in frame.columns:
        raise RecipeError(
            f"The 'id_column' {id_column!r} cannot be used because {name} also has a column 'id', which ids would "
            "replace; rename or drop that column, or use it."
        )


def _reasons(frame: pl.DataFrame, roles: Mapping[str, str], source: Source) -> list[str | None]:
    """Why each row cannot be used, None where it can. Without a text role every row is usable."""
    if "messages" in roles:
        return _chat_reasons(frame, roles["messages"], source)
    asked = [roles[role] for role in ("prompt", "response") if role in roles]
    if not asked:
        return [None] * frame.height
    filled = frame.select(
        pl.any_horizontal([_is_filled(frame, name, name in source.json_columns) for name in asked])
    ).to_series()
    columns = " and ".join(f"{role} (column {roles[role]!r})" for role in ("prompt", "response") if role in roles)
    reason = f"lacks {columns}"
    return [None if present else reason for present in filled.to_list()]


def _is_filled(frame: pl.DataFrame, name: str, is_json: bool) -> pl.Expr:
    column = pl.col(name)
    if is_json:
        return column.is_not_null() & ~column.is_in(_EMPTY_JSON)
    if frame.schema[name] == pl.String:
        return column.str.contains(r"\S").fill_null(False)
    return column.is_not_null()


def _chat_reasons(frame: pl.DataFrame, name: str, source: Source) -> list[str | None]:
    records = records_from_columns(frame.select(name), json_columns=[name] if name in source.json_columns else [])
    reasons: list[str | None] = []
    for record in records:
        try:
            normalise_chat(record[name])
        except DataError as error:
            reasons.append(f"{error} (column {name!r})")
        else:
            reasons.append(None)
    return reasons


def without_rows(parsed: Parsed, bad: list[int], reasons: list[str | None]) -> Parsed:
    """The parsed source without its bad rows, which go to the rejects."""
    source, name = parsed.source, parsed.source.name
    layout_rows = parsed.layout_rows
    records = records_from_columns(
        parsed.frame[bad],
        json_columns=source.json_columns,
        layouts=source.layouts,
        layout_rows=None if layout_rows is None else layout_rows[bad],
    )
    for row, record in zip(bad, records, strict=True):
        file = parsed.files[row] if parsed.files else name
        line = parsed.lines[row] if parsed.lines else row + 1
        try:
            raw = dump_json(record)
        except TypeError:
            raw = as_text(record)
        parsed.rejects.add(file, line, reasons[row] or "", raw)
    keep = pl.Series([not reason for reason in reasons], dtype=pl.Boolean)
    return replace(
        parsed,
        frame=parsed.frame.filter(keep),
        layout_rows=None if layout_rows is None else layout_rows.filter(keep),
        files=None,
        lines=None,
    )


def typed_column(column: pl.Series) -> pl.Series:
    """A text column as booleans, integers or floats where that loses no value; an empty cell is then null."""
    blank = column.is_null() | (column == "")
    filled = column.filter(~blank)
    if not len(filled):
        return column
    if filled.is_in(["true", "false"]).all():
        return column.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    if filled.str.contains(_INTEGER).all():
        return column.replace("", None).cast(pl.Int64)
    if filled.str.contains(_FLOAT).all() and _mantissa_digits(filled) <= _FLOAT_DIGITS:
        numbers = column.replace("", None).cast(pl.Float64, strict=False)
        if numbers.is_finite().sum() == len(filled):
            return numbers
    return column


def _mantissa_digits(column: pl.Series) -> int:
    """Most significant digits of any number, so that long codes made of digits are not rounded."""
    digits = column.str.replace(r"[eE].*$", "").str.replace_all(r"[.-]", "").str.strip_chars_start("0")
    return max(digits.str.len_bytes().to_list(), default=0)


def _mixed_ids(column: pl.Series, source: Source) -> pl.Series:
    """Text of ids that are partly text and partly integers."""
    values = [None if text is None else json.loads(text) for text in column.to_list()]
    if not {type(value) for value in values} <= {str, int, type(None)}:
        raise DataError(
            f"The id column {column.name!r} of {source.name} must hold text or integers, found nested or mixed values; "
            "name another with id_column."
        )
    return pl.Series(column.name, [None if value is None else str(value) for value in values], dtype=pl.String)


def _with_ids(
    frame: pl.DataFrame, source: Source, roles: Mapping[str, str], id_column: str | None
) -> tuple[pl.DataFrame, Source]:
    if id_column is None:
        content = [roles[role] for role in CONTENT_ROLES if role in roles] or frame.columns
        ids = pl.Series("id", content_ids(frame, content, json_columns=source.json_columns), dtype=pl.String)
        return frame.select(ids, pl.all()), source
    dtype, position = frame.schema[id_column], frame.get_column_index(id_column)
    column = frame[id_column]
    if id_column in source.json_columns:
        column = _mixed_ids(column, source)
    ids = given_ids(column, source.name)
    frame = frame.select(ids, pl.exclude("id")) if id_column == "id" else frame.select(ids, pl.all())
    kept_dtype = None if dtype == pl.String else dtype
    return frame, replace(source, id_column=id_column, id_dtype=kept_dtype, id_position=position)
