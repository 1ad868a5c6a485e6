"""Wide answers: one row a task, one column a worker, as cleanlab takes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import polars as pl

from tamis.data.answer_columns import given_column, listed, wide_task_column
from tamis.data.answer_rows import id_texts, no_answers, without_nameless
from tamis.data.label_classes import label_kind, label_texts
from tamis.data.parsed import Parsed
from tamis.data.readers.frames import read_object
from tamis.data.source import Source
from tamis.errors import DataError

_FEW = 8
"""Distinct labels up to which a column is not held against the others."""
_MANY = 2000
"""Distinct labels of a column that are looked at."""


def with_index(frame: Any) -> Any:
    """Return a pandas frame with its index as the column ``task`` if no column is called like a task.

    Raises
    ------
    DataError
        If the index has several levels.
    """
    if wide_task_column([str(name) for name in frame.columns]) is not None:
        return frame
    if frame.index.nlevels > 1:
        raise DataError(
            f"The index of the pandas frame must have one level, which names the tasks, found {frame.index.nlevels}; "
            "reset it and name the column of the tasks with task=."
        )
    return frame.rename_axis(index="task").reset_index()


def read_array(array: Any) -> Parsed:
    """Read a NumPy array of labels, tasks x workers; both are called by their number from 0.

    Raises
    ------
    DataError
        If it has not two dimensions.
    """
    if array.ndim != 2:
        raise DataError(
            f"An array of answers must have two dimensions, tasks x workers, found {array.ndim}; reshape it or give a "
            "long frame."
        )
    rows = (
        {"task": str(task)} | {str(worker): label for worker, label in enumerate(labels)}
        for task, labels in enumerate(array.tolist())
    )
    parsed = read_object(rows)
    return replace(parsed, source=replace(parsed.source, format="numpy"))


def long_from_wide(parsed: Parsed, task: str | None = None) -> Parsed:
    """Turn one row a task and one column a worker into one row an answer: task, worker, label.

    Parameters
    ----------
    parsed : Parsed
        Wide frame. Every column but the one of the tasks is a worker.
    task : str, optional
        Column of the tasks. Default: the first one called like a task or an index.

    Returns
    -------
    Parsed
        A row for each cell, also an empty one, task by task. A row without a task is rejected.

    Raises
    ------
    RecipeError
        If there is no column ``task``.
    DataError
        If no column is called like a task, there is no worker, or workers gave labels of different types.

    Examples
    --------
    >>> frame = pl.DataFrame({"item": ["t1", "t2"], "ann": [1, None], "bob": [0, 1]})
    >>> long_from_wide(Parsed(frame, Source("polars"))).frame.rows()
    [('t1', 'ann', 1), ('t1', 'bob', 0), ('t2', 'ann', None), ('t2', 'bob', 1)]
    """
    names, where = parsed.frame.columns, parsed.source.name
    if not names:
        raise no_answers(parsed)
    column = wide_task_column(names) if task is None else given_column("task", task, names, where)
    if column is None:
        raise DataError(
            f"{where} must have a column for the task beside one for each worker, found the columns {listed(names)}; "
            "name it with task=."
        )
    workers = [name for name in names if name != column]
    if not workers or not all(map(str.strip, workers)):
        raise DataError(
            f"{where} must have a column for each worker beside the task (column {column!r}), called like the worker, "
            f"found {listed(workers)}; name the columns, or give layout='long'."
        )
    parsed = without_nameless(parsed, {"task": column})
    as_json = column in parsed.source.json_columns
    tasks = id_texts(parsed.frame[column], is_json=as_json, where=where)
    if 2 * tasks.n_unique() < len(tasks):  # a few repeats may be duplicates, most rows are none
        twice = tasks.filter(tasks.is_duplicated())[0]
        raise DataError(
            f"{where} names the task {twice!r} in several rows of the column {column!r}, so it is no matrix of tasks x "
            f"workers; its columns are {listed(names)}: name those of a long file with task=, worker= and label=."
        )
    _require_shared_labels(parsed.frame.select(workers), where)
    labels = {str(place): label for place, label in enumerate(_of_one_type(parsed, workers))}
    long = pl.DataFrame({"task": tasks, **labels}).unpivot(index="task", variable_name="worker", value_name="label")
    row_of_cell = pl.int_range(pl.len()) % max(tasks.len(), 1)
    long = long.sort(row_of_cell, maintain_order=True)
    named = pl.Series("worker", workers, dtype=pl.String).gather(long["worker"].cast(pl.Int64))
    source = Source(parsed.source.format, parsed.source.path)
    return Parsed(long.with_columns(named), source, parsed.rejects, untyped=parsed.untyped)


def _require_shared_labels(frame: pl.DataFrame, where: str) -> None:
    """Raise DataError if a column shares no label with any other: it is about the task, and no worker's."""
    used = {
        name: set(frame[name].drop_nulls().cast(pl.String).unique().head(_MANY).to_list()) for name in frame.columns
    }
    seen = Counter(label for labels in used.values() for label in labels)
    alone = [
        name
        for name, labels in used.items()
        if len(labels) > _FEW and 2 * sum(seen[label] == 1 for label in labels) > len(labels)
    ]
    if alone and len(frame.columns) > 1:
        raise DataError(
            f"The column {alone[0]!r} of {where} shares hardly a label with the other columns, so it is no worker's; "
            "drop it, or name the columns of a long file with task=, worker= and label=."
        )


def _of_one_type(parsed: Parsed, workers: list[str]) -> list[pl.Series]:
    """The labels of each worker; their columns have types of one kind."""
    where, as_json = parsed.source.name, parsed.source.json_columns
    columns: list[pl.Series] = []
    example: dict[str, str] = {}
    for name in workers:
        column = parsed.frame[name]
        column = label_texts(column, is_json=True, where=where) if name in as_json else column
        kind = label_kind(column, where)
        if kind is not None and column.null_count() < len(column):
            example.setdefault(kind, name)
        columns.append(column.cast(pl.String) if kind == "texts" else column)
    if len(example) > 1:
        found = " and ".join(f"{kind} (such as column {name!r})" for kind, name in sorted(example.items()))
        raise DataError(
            f"The labels of {where} must be all text, all numbers or all booleans, found {found}; write them in one "
            "type, or name the column of the tasks with task= if it is one of these."
        )
    return [column if label_kind(column, where) in example else column.cast(pl.Null) for column in columns]
