"""Which columns of a file of answers mean the task, the worker and the label."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tamis.data.label_classes import near
from tamis.errors import DataError, RecipeError

_TASKS = ("item", "question", "unit", "example", "instance", "object", "document", "image", "record", "hit")
_WORKERS = ("annotator", "rater", "user", "performer", "labeler", "labeller", "coder", "assessor", "contributor")
_LABELS = ("answer", "response", "rating", "category", "class", "annotation", "judgment", "judgement", "vote", "choice")

COLUMN_NAMES = {
    "task": (("task",), ("taskid",), tuple(f"{name}id" for name in _TASKS), _TASKS, ("id",)),
    "worker": (("worker",), ("workerid",), tuple(f"{name}id" for name in _WORKERS), _WORKERS),
    "label": (("label",), _LABELS),
    "model": (("model",), ("modelid", "modelname", "llm")),
    "sample": (("sample",), ("sampleindex", "draw", "repetition")),
}
"""Names a column may have for each meaning, without case, blanks and punctuation; an earlier group goes first."""

INDEX_NAMES = ("", "index", "unnamed0", "indexlevel0")
"""What the index of a pandas frame is called in files."""

_SHOWN = 6


def squeezed(name: str) -> str:
    """Return a column's name without case, blanks and punctuation.

    Examples
    --------
    >>> squeezed("Worker ID"), squeezed("_unit_id"), squeezed("__index_level_0__")
    ('workerid', 'unitid', 'indexlevel0')
    """
    return re.sub(r"[\W_]+", "", name.casefold())


def find_column(meaning: str, names: Sequence[str], where: str, *, advice: str | None = None) -> str | None:
    """Return the column of a meaning, None if no column is called like it.

    Raises
    ------
    DataError
        If several columns could be meant.

    Examples
    --------
    >>> find_column("worker", ["item", "Annotator ID", "label"], "a.csv")
    'Annotator ID'
    """
    for group in COLUMN_NAMES[meaning]:
        hits = [name for name in names if squeezed(name) in group]
        if len(hits) > 1:
            advice = advice or f"choose with {meaning}="
            raise DataError(f"Several columns of {where} may hold the {meaning} ({listed(hits)}); {advice}.")
        if hits:
            return hits[0]
    return None


def given_column(meaning: str, given: str, names: Sequence[str], where: str) -> str:
    """Return the column that the user named; RecipeError if there is none."""
    if given not in names:
        raise RecipeError(f"The {meaning!r} {given!r} is no column of {where}.{near(str(given), names)}")
    return given


def long_columns(
    names: Sequence[str],
    where: str,
    *,
    task: str | None = None,
    worker: str | None = None,
    label: str | None = None,
) -> tuple[str, str, str] | None:
    """Return the columns of task, worker and label of a long frame, None if one is not found.

    Raises
    ------
    DataError
        If several columns could be meant.
    RecipeError
        If a given column does not exist, or one is given two meanings.

    Examples
    --------
    >>> long_columns(["item", "worker", "n", "answer"], "a.csv")
    ('item', 'worker', 'answer')
    """
    given = {"task": task, "worker": worker, "label": label}
    chosen = {meaning: given_column(meaning, name, names, where) for meaning, name in given.items() if name is not None}
    if len(set(chosen.values())) < len(chosen):
        twice = next(name for name in chosen.values() if list(chosen.values()).count(name) > 1)
        raise RecipeError(f"The column {twice!r} of {where} cannot be several of task, worker and label; name three.")
    free = [name for name in names if name not in chosen.values()]
    columns = [chosen.get(meaning) or find_column(meaning, free, where) for meaning in given]
    found = [name for name in columns if name is not None]
    return (found[0], found[1], found[2]) if len(found) == len(given) else None


def wide_task_column(names: Sequence[str]) -> str | None:
    """Return the first column of a wide frame that is called like a task or an index, None without one.

    Examples
    --------
    >>> wide_task_column(["item", "ann", "bob"])
    'item'
    """
    known = {name for group in COLUMN_NAMES["task"] for name in group} | set(INDEX_NAMES)
    return next((name for name in names if squeezed(name) in known), None)


def is_wide(names: Sequence[str]) -> bool:
    """Whether no column is called like a worker or a label.

    Examples
    --------
    >>> is_wide(["item", "ann", "bob"]), is_wide(["item", "who", "answer"])
    (True, False)
    """
    known = {name for meaning in ("worker", "label") for group in COLUMN_NAMES[meaning] for name in group}
    return known.isdisjoint(map(squeezed, names))


def listed(names: Sequence[str]) -> str:
    """Return columns for a message, the first six of them.

    Examples
    --------
    >>> listed(["a", "b"]), listed([])
    ("'a', 'b'", 'none')
    """
    text = ", ".join(repr(name[:24]) for name in names[:_SHOWN])
    return f"{text} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else text or "none"


def no_columns(names: Sequence[str], where: str) -> DataError:
    """Return the error for a frame whose layout is not understood."""
    return DataError(
        f"{where} must have a column for the task, the worker and the label, found the columns {listed(names)}; name "
        "them with task=, worker= and label=, or give layout='wide' if there is one column for each worker."
    )
