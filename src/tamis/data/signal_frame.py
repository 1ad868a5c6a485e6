"""From columns in the shapes people store ratings to the frame of a signal."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from tamis.data.chats import as_text
from tamis.data.parsed import Parsed
from tamis.data.signal_checks import SIGNAL_SCHEMA, check_keys, check_statuses, check_values, value_statuses
from tamis.errors import DataError

_UNIT_COLUMNS = ("unit_id", "id")
_VALUE_COLUMNS = ("value", "rating", "score")


def json_cells(cells: pl.Series) -> pl.Series:
    """Mixed cells as text; lists and objects stay JSON text, which is no number."""
    texts = [None if cell is None else as_text(_as_number(json.loads(cell))) for cell in cells.to_list()]
    return pl.Series(cells.name, texts, dtype=pl.String)


def _as_number(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def completed(frame: pl.DataFrame, rater: str, criterion: str) -> pl.DataFrame:
    """All columns in order with their types; absent ones filled."""
    defaults = {"rater": pl.lit(rater), "criterion": pl.lit(criterion), "cost": pl.lit(None), "raw_ref": pl.lit(None)}
    added = frame.with_columns(**{name: value for name, value in defaults.items() if name not in frame.columns})
    return added.select(pl.col(name).cast(dtype) for name, dtype in SIGNAL_SCHEMA.items())


def long_frame(parsed: Parsed, rater: str | None, criterion: str | None, where: str) -> pl.DataFrame:
    """Return what a reader parsed as the frame of a signal; parameters and errors as for ``Signal.from_frame``."""
    mixed = [name for name in parsed.source.json_columns if name in parsed.frame.columns]
    frame = parsed.frame.with_columns([json_cells(parsed.frame[name]) for name in mixed])
    unit = next((name for name in _UNIT_COLUMNS if name in frame.columns), None)
    value = next((name for name in _VALUE_COLUMNS if name in frame.columns), None)
    if unit is None or value is None:
        raise DataError(
            f"{where} must have a column unit_id (or id) and a column value (or rating or score), found "
            f"{', '.join(frame.columns) or 'no columns'}; rename the columns."
        )
    dtype = frame.schema[unit]
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise DataError(
            f"The column {unit!r} of {where} must hold text or integer ids, found {dtype}; convert it first."
        )
    read = value_statuses(frame[value])
    columns = {"unit_id": frame[unit], "value": read["value"], "status": read["status"]}
    if "status" in frame.columns:
        columns["status"] = check_statuses(frame["status"], where)
        _check_written(frame[unit], read["status"], columns["status"], where)
    for name in ("rater", "criterion", "raw_ref"):
        if name in frame.columns:
            columns[name] = frame[name]
    if "cost" in frame.columns:
        columns["cost"] = value_statuses(frame["cost"])["value"]
    made = completed(pl.DataFrame(columns), rater or value, criterion or "overall")
    check_keys(made, where)
    check_values(made, where)
    return made


def _check_written(units: pl.Series, read: pl.Series, given: pl.Series, where: str) -> None:
    """A failed measurement must have an empty cell, not even one that cannot be read."""
    wrong = units.filter((given.cast(pl.String) != "ok") & (read.cast(pl.String) == "unparsed"))
    if len(wrong):
        raise DataError(
            f"{len(wrong)} rows of {where} have a value although their status is not ok (first: "
            f"unit {str(wrong[0])!r}); leave the value empty, a failed measurement is never a number."
        )
