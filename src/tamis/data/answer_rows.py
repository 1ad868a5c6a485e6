"""From a parsed long frame to the rows of an answers table: ids, rejects, missing labels, duplicates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import compress
from typing import NamedTuple

import polars as pl

from tamis.data.ingest import typed_column, without_rows
from tamis.data.label_classes import label_texts, shown
from tamis.data.parsed import Parsed
from tamis.data.roles import resolve_roles
from tamis.data.table import Table
from tamis.errors import DataError

DUPLICATES = ("first", "last", "error")
"""What may become of further answers by a worker to a task."""

SOURCE_ID = "source id"
"""What a column ``id`` of the source is called in the table, whose own ids are made of task and worker."""


class UsableRows(NamedTuple):
    """The table of the answers and what was left out on the way."""

    table: Table
    columns: tuple[str, str, str]
    labels: pl.Series
    n_missing: int
    n_duplicates: int
    n_conflicting: int


def id_texts(column: pl.Series, *, is_json: bool = False, where: str = "the answers") -> pl.Series:
    """Return ids of tasks, workers or models as text, null where they are null or blank.

    Integers are written as such, also where pandas made them floats because some are absent.

    Raises
    ------
    DataError
        If the column holds something else.

    Examples
    --------
    >>> id_texts(pl.Series("worker", [7.0, None])).to_list()
    ['7', None]
    """
    if is_json:
        column = _mixed_ids(column, where)
    dtype = column.dtype
    if dtype.is_float():
        whole = column.fill_nan(None).cast(pl.Int64, strict=False)
        if (whole.cast(dtype) != column.fill_nan(None)).any():
            raise _no_ids(column.name, where, "fractions")
        column = whole
    elif not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise _no_ids(column.name, where, str(dtype))
    texts = column.cast(pl.String)
    if dtype.is_numeric():
        return texts
    return texts.to_frame().select(pl.when(pl.first().str.strip_chars() != "").then(pl.first())).to_series()


def _mixed_ids(column: pl.Series, where: str) -> pl.Series:
    cells = column.drop_nulls().unique()
    values = [json.loads(cell) for cell in cells.to_list()]
    if not {type(value) for value in values} <= {str, int}:
        raise _no_ids(column.name, where, "nested or mixed values")
    names = pl.Series([str(value) for value in values], dtype=pl.String)
    return column.replace_strict(cells, names, default=None, return_dtype=pl.String)


def _no_ids(name: str, where: str, found: str) -> DataError:
    return DataError(
        f"The column {name!r} of {where} must hold text or integer ids, found {found}; convert it, or name another."
    )


def answer_ids(task: pl.Series, worker: pl.Series) -> pl.Series:
    """Return the ids of answers: task, a slash, worker; in the task ``%`` becomes ``%25`` and a slash ``%2F``.

    Two answers have the same id only if they have the same task and worker.

    Examples
    --------
    >>> answer_ids(pl.Series(["a/b", "50%"]), pl.Series(["ann", "c/d"])).to_list()
    ['a%2Fb/ann', '50%25/c/d']
    """
    escaped = task.str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
    return (escaped + "/" + worker).alias("id")


def places(texts: pl.Series, names: pl.Series) -> pl.Series:
    """Return the place of each text among distinct names, Int32, null where it is none of them.

    Examples
    --------
    >>> places(pl.Series(["b", "a", "z"]), pl.Series(["a", "b"])).to_list()
    [1, 0, None]
    """
    # A join takes half the time of a cast to Enum.
    known = pl.DataFrame({"name": names}, schema={"name": pl.String}).with_row_index("place")
    found = pl.DataFrame({"name": texts}).join(known, on="name", how="left", maintain_order="left")
    return found["place"].cast(pl.Int32)


def without_nameless(parsed: Parsed, columns: Mapping[str, str]) -> Parsed:
    """Return the source without rows that lack an id; they go to the rejects.

    Parameters
    ----------
    parsed : Parsed
        Any frame.
    columns : mapping
        What is named (``task``, ``worker``), and the column of its ids.
    """
    lacking = {meaning: _ids(parsed, name).is_null() for meaning, name in columns.items()}
    absent = pl.DataFrame(lacking)
    bad = absent.select(pl.any_horizontal(pl.all())).to_series().arg_true().to_list()
    if not bad:
        return parsed
    reasons: list[str | None] = [None] * absent.height
    for row, flags in zip(bad, absent[bad].iter_rows(), strict=True):
        names = (f"{meaning} (column {name!r})" for meaning, name in compress(columns.items(), flags))
        reasons[row] = f"lacks {' and '.join(names)}"
    return without_rows(parsed, bad, reasons)


def _ids(parsed: Parsed, name: str) -> pl.Series:
    source = parsed.source
    return id_texts(parsed.frame[name], is_json=name in source.json_columns, where=source.name)


def usable_rows(parsed: Parsed, columns: tuple[str, str, str], duplicates: str) -> UsableRows:
    """Make the table of answers.

    Parameters
    ----------
    parsed : Parsed
        Long frame, one row an answer.
    columns : tuple of str
        Columns of the task, the worker and the label.
    duplicates : str
        ``first``, ``last`` or ``error``.

    Raises
    ------
    DataError
        If no answer is left, ids or labels are of a wrong type, or an answer is repeated and ``duplicates`` is
        ``error``.

    Examples
    --------
    >>> from tamis.data.source import Source
    >>> frame = pl.DataFrame({"t": [1, 1, 2], "w": ["ann", "ann", "ann"], "y": [0, 1, None]})
    >>> rows = usable_rows(Parsed(frame, Source("polars")), ("t", "w", "y"), "first")
    >>> rows.table.ids.to_list(), rows.n_missing, rows.n_duplicates, rows.n_conflicting
    (['1/ann'], 1, 1, 1)
    """
    where = parsed.source.name
    parsed = without_nameless(parsed, {"task": columns[0], "worker": columns[1]})
    task, worker = (_ids(parsed, name) for name in columns[:2])
    label = label_texts(parsed.frame[columns[2]], is_json=columns[2] in parsed.source.json_columns, where=where)
    ids = answer_ids(task, worker)
    parsed, columns = _own_ids_aside(parsed, columns, ids)
    frame, layout_rows = parsed.frame.select(ids, pl.all()), parsed.layout_rows
    answered = label.is_not_null()
    n_missing = len(label) - int(answered.sum())
    if n_missing:
        frame, label = frame.filter(answered), label.filter(answered)
        layout_rows = None if layout_rows is None else layout_rows.filter(answered)
    if not frame.height:
        raise no_answers(parsed, n_missing)
    n_duplicates = n_conflicting = 0
    if frame["id"].n_unique() < frame.height:
        kept = frame["id"].is_last_distinct() if duplicates == "last" else frame["id"].is_first_distinct()
        if duplicates == "error":
            raise _repeated(frame["id"], kept, task, worker, ids, where)
        n_duplicates, n_conflicting = _left_out(frame["id"], label, kept)
        frame, label = frame.filter(kept), label.filter(kept)
        layout_rows = None if layout_rows is None else layout_rows.filter(kept)
    if parsed.untyped:
        frame = frame.with_columns(
            [typed_column(frame[name]) for name in frame.columns if name not in ("id", *columns)]
        )
    given = {"worker": columns[1], "label": columns[2]}
    roles = resolve_roles(frame.drop("id"), given, json_columns=parsed.source.json_columns, source=where)
    table = Table(frame, roles, parsed.source, parsed.rejects.frame, layout_rows)
    return UsableRows(table, columns, label, n_missing, n_duplicates, n_conflicting)


def _own_ids_aside(
    parsed: Parsed, columns: tuple[str, str, str], ids: pl.Series
) -> tuple[Parsed, tuple[str, str, str]]:
    """The source's own column ``id`` under another name, unless it names the answers as they are named here."""
    frame, source = parsed.frame, parsed.source
    if "id" not in frame.columns:
        return parsed, columns
    if frame["id"].equals(ids):
        position = frame.get_column_index("id")
        return replace(
            parsed, frame=frame.drop("id"), source=replace(source, id_column="id", id_position=position)
        ), columns
    if SOURCE_ID in frame.columns:
        raise DataError(f"{source.name} has both a column 'id' and a column {SOURCE_ID!r}; rename one.")
    names = {"id": SOURCE_ID}
    json_columns = tuple(names.get(name, name) for name in source.json_columns)
    task, worker, label = (names.get(name, name) for name in columns)
    renamed = replace(parsed, frame=frame.rename(names), source=replace(source, json_columns=json_columns))
    return renamed, (task, worker, label)


def no_answers(parsed: Parsed, n_missing: int = 0) -> DataError:
    """Return the error for a source without a single answer."""
    rejects, advice = parsed.rejects, "give at least one row with a task, a worker and a label"
    height = parsed.frame.height + len(rejects)
    if not height:
        return DataError(f"{parsed.source.name} holds no answer: it is empty; {advice}.")
    first = f" (the first at {rejects.first})" if len(rejects) else ""
    return DataError(
        f"{parsed.source.name} holds no answer: of {height} rows {n_missing} have no label and {len(rejects)} were "
        f"rejected{first}; {advice}."
    )


def _repeated(
    found: pl.Series, kept: pl.Series, task: pl.Series, worker: pl.Series, ids: pl.Series, where: str
) -> DataError:
    twice = found.filter(~kept)[0]
    row = (ids == twice).arg_max() or 0
    return DataError(
        f"{int((~kept).sum())} answers of {where} repeat a task and worker (first: task {shown(task[row])}, worker "
        f"{shown(worker[row])}); drop them, or choose with duplicates='first' or 'last'."
    )


def _left_out(ids: pl.Series, labels: pl.Series, kept: pl.Series) -> tuple[int, int]:
    """How many rows are left out, and how many of them have another label than the one kept."""
    rows = pl.DataFrame({"id": ids, "label": labels})
    pairs = rows.filter(~kept).join(rows.filter(kept), on="id", how="left")
    return pairs.height, int((pairs["label"] != pairs["label_right"]).sum())
