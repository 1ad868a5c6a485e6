"""Readers of a crowd's answers: long, wide and peerannot's layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.data.answer_columns import is_wide, long_columns, no_columns, wide_task_column
from tamis.data.answers import Answers
from tamis.data.parsed import Parsed
from tamis.data.readers import parse
from tamis.data.readers.peerannot import read_peerannot
from tamis.data.readers.wide import long_from_wide, read_array, with_index
from tamis.errors import DataError, RecipeError, parameter_error

LAYOUTS = ("long", "wide", "peerannot")
"""Names the ``layout`` parameters take."""

Columns = Mapping[str, str | None]


def read_answers(
    source: Any,
    *,
    layout: str | None = None,
    format: str | None = None,
    task: str | None = None,
    worker: str | None = None,
    label: str | None = None,
    duplicates: str = "first",
    classes: Iterable[Any] | None = None,
) -> Answers:
    """Read the answers of a crowd.

    Three layouts are read: *long*, one row an answer with columns for the task, the worker and the label (crowd-kit);
    *wide*, one row a task and one column a worker (cleanlab), where a pandas index or the first column names the
    tasks; *peerannot*, ``{task: {worker: label}}``.

    Parameters
    ----------
    source : path or object
        A file or folder as in :func:`tamis.data.read`, also a folder with peerannot's ``answers.json``; a pandas or
        Polars frame, pyarrow Table, Hugging Face Dataset or list of dicts; a NumPy array, tasks x workers; a mapping
        in peerannot's layout.
    layout : str, optional
        ``long``, ``wide`` or ``peerannot``. Default: what the source looks like.
    format : str, optional
        ``jsonl``, ``json``, ``csv``, ``tsv`` or ``parquet``, where the suffix does not tell.
    task, worker, label : str, optional
        Columns. Default: what they are called, see :data:`tamis.data.answer_columns.COLUMN_NAMES`.
    duplicates : str
        Which answer counts where a worker answered a task again: the ``first`` or the ``last`` row; with ``error``
        there must be none.
    classes : iterable, optional
        Names of the classes, in order; some may be unused. Default: the labels that occur, by value if all are
        numbers, else as text.

    Returns
    -------
    Answers
        A row without a task or worker is in ``answers.table.rejects``. One without a label (null, NaN, blank) is no
        answer, and counted in ``answers.n_missing``.

    Raises
    ------
    RecipeError
        If a parameter is wrong.
    DataError
        If nothing can be read, the layout or columns are not found, no answer is left, labels are of mixed types, are
        none of ``classes`` or too many, or answers are repeated and ``duplicates`` is ``error``.

    Examples
    --------
    >>> read_answers({"t1": {"ann": "yes", "bob": "no"}, "t2": {"ann": "no"}})
    Answers(3 answers by 2 workers about 2 tasks, 2 classes)
    >>> import numpy as np
    >>> answers = read_answers(np.array([[0, 1], [np.nan, 2]]))
    >>> answers.to_long().rows(), answers.n_missing
    ([('0', '0', '0'), ('0', '1', '1'), ('1', '1', '2')], 1)
    """
    if layout is not None and layout not in LAYOUTS:
        raise parameter_error("read_answers", "layout", "'long', 'wide' or 'peerannot'", layout)
    if format is not None and not isinstance(source, str | Path):
        raise RecipeError(
            f"The 'format' parameter of read_answers is for paths, the source is a {type(source).__name__}."
        )
    columns: Columns = {"task": task, "worker": worker, "label": label}
    parsed, layout = _parsed(source, layout, format, columns)
    if layout != "long":
        _refuse_columns(columns, layout)
        columns = {name: name for name in columns}
    return Answers.from_parsed(parsed, layout=layout, duplicates=duplicates, classes=classes, **columns)


def _parsed(source: Any, layout: str | None, format: str | None, columns: Columns) -> tuple[Parsed, str]:
    """The source as a long frame, and its layout."""
    if layout in (None, "peerannot"):
        votes = read_peerannot(source, format=format, required=layout is not None)
        if votes is not None:
            return votes, "peerannot"
    library = type(source).__module__.partition(".")[0]
    if library == "numpy" and layout in (None, "wide"):
        return long_from_wide(read_array(source), columns["task"]), "wide"
    if library == "pandas" and hasattr(source, "columns"):
        layout = layout or _layout([str(name) for name in source.columns], "<pandas>", columns, has_index=True)
        source = with_index(source) if layout == "wide" and columns["task"] is None else source
    parsed = parse(source, format=format)
    if layout == "peerannot":
        raise DataError(
            f"{parsed.source.name} must hold one object {{task: {{worker: label}}}} to be read as peerannot's, found "
            "records; leave layout away."
        )
    layout = layout or _layout(parsed.frame.columns, parsed.source.name, columns)
    return (long_from_wide(parsed, columns["task"]) if layout == "wide" else parsed), layout


def _layout(names: Sequence[str], where: str, columns: Columns, *, has_index: bool = False) -> str:
    """Whether a frame is long or wide, by the names of its columns."""
    if not names or long_columns(names, where, **columns) is not None:
        return "long"
    has_tasks = has_index or columns["task"] is not None or wide_task_column(names) is not None
    if has_tasks and columns["worker"] is None and columns["label"] is None and is_wide(names):
        return "wide"
    raise no_columns(names, where)


def _refuse_columns(columns: Columns, layout: str) -> None:
    known = ("task",) if layout == "wide" else ()
    for name, given in columns.items():
        if given is not None and name not in known:
            raise RecipeError(f"The {name!r} parameter of read_answers is for long frames, the source is {layout}.")
