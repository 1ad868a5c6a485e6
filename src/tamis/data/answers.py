"""The answers of a crowd: who gave which label to which task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.data.answer_columns import COLUMN_NAMES, long_columns, no_columns
from tamis.data.answer_rows import DUPLICATES, id_texts, no_answers, places, usable_rows
from tamis.data.label_classes import check_known, classes_of, label_texts, near, shown
from tamis.data.parsed import Parsed
from tamis.data.readers import parse
from tamis.data.source import Source
from tamis.data.table import Table
from tamis.errors import DataError, parameter_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tamis.data.answer_codes import AnswerCodes


@dataclass(frozen=True, repr=False, eq=False)
class Answers:
    """Labels that workers gave to tasks, at most one for each worker and task. Never changed; methods return new ones.

    Make one with :func:`tamis.data.read_answers` or :meth:`from_frame`.

    Parameters
    ----------
    table : Table
        One row an answer, in the order of the source, with all its columns; the id is task/worker, see
        :func:`tamis.data.answer_rows.answer_ids`.
    columns : tuple of str
        Names of the columns of the task, the worker and the label.
    classes : tuple of str
        Names of the classes, in order.
    layout : str
        What the source looked like: ``long``, ``wide`` or ``peerannot``.
    n_missing : int
        Rows or cells of the source without a label: they are no answer, and never a class.
    n_duplicates : int
        Rows of the source left out because the worker had answered the task already.
    n_conflicting : int
        How many of these had another label than the one kept.

    Raises
    ------
    DataError
        If the table lacks one of the columns.

    Examples
    --------
    >>> answers = Answers.from_frame([
    ...     {"task": "t1", "worker": "ann", "label": "yes"},
    ...     {"task": "t1", "worker": "bob", "label": "no"},
    ...     {"task": "t2", "worker": "ann", "label": "no"},
    ... ])
    >>> answers
    Answers(3 answers by 2 workers about 2 tasks, 2 classes)
    >>> answers.classes, answers.codes.label.tolist()
    (('no', 'yes'), [1, 0, 0])
    """

    table: Table
    columns: tuple[str, str, str]
    classes: tuple[str, ...]
    layout: str = "long"
    n_missing: int = 0
    n_duplicates: int = 0
    n_conflicting: int = 0

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in self.table.frame.columns:
                raise DataError(f"The table of Answers has no column {name!r}; use Answers.from_frame.")

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        task: str | None = None,
        worker: str | None = None,
        label: str | None = None,
        duplicates: str = "first",
        classes: Iterable[Any] | None = None,
        source: Source | None = None,
    ) -> Answers:
        """Take a long frame as answers.

        Parameters
        ----------
        frame : frame or list of dicts
            One row an answer.
        task, worker, label : str, optional
            Columns. Default: what they are called, see :data:`tamis.data.answer_columns.COLUMN_NAMES`.
        duplicates : str
            Which answer counts where a worker answered a task again: the ``first`` or the ``last`` row; with ``error``
            there must be none.
        classes : iterable, optional
            Names of the classes, in order; some may be unused. Default: the labels that occur, by value if all are
            numbers, else as text.
        source : Source, optional
            Where the frame came from, for messages and for writing.

        Raises
        ------
        RecipeError
            If a parameter is wrong.
        DataError
            If columns are not found, no answer is left, labels are of mixed types, are none of ``classes`` or too
            many, or answers are repeated and ``duplicates`` is ``error``.

        Examples
        --------
        >>> Answers.from_frame(pl.DataFrame({"item": [7], "rater": ["ann"], "answer": [2.0]})).to_long().rows()
        [('7', 'ann', '2')]
        """
        parsed = parse(frame)
        if source is not None:
            json_columns = tuple(dict.fromkeys((*source.json_columns, *parsed.source.json_columns)))
            source = replace(source, json_columns=json_columns, layouts=parsed.source.layouts)
            parsed = replace(parsed, source=source)
        return cls.from_parsed(parsed, task=task, worker=worker, label=label, duplicates=duplicates, classes=classes)

    @classmethod
    def from_parsed(
        cls,
        parsed: Parsed,
        *,
        task: str | None = None,
        worker: str | None = None,
        label: str | None = None,
        duplicates: str = "first",
        classes: Iterable[Any] | None = None,
        layout: str = "long",
    ) -> Answers:
        """Take what a reader parsed as answers; the rest is as in :meth:`from_frame`."""
        if duplicates not in DUPLICATES:
            raise parameter_error("read_answers", "duplicates", "'first', 'last' or 'error'", duplicates)
        if not parsed.frame.width:
            raise no_answers(parsed)
        names, where = parsed.frame.columns, parsed.source.name
        columns = long_columns(names, where, task=task, worker=worker, label=label)
        if columns is None:
            raise no_columns(names, where)
        rows = usable_rows(parsed, columns, duplicates)
        return cls(
            table=rows.table,
            columns=rows.columns,
            classes=classes_of(rows.labels, classes, where=where),
            layout=layout,
            n_missing=rows.n_missing,
            n_duplicates=rows.n_duplicates,
            n_conflicting=rows.n_conflicting,
        )

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        left_out = {
            "without a label": self.n_missing,
            "duplicates": self.n_duplicates,
            "rejected": self.table.rejects.height,
        }
        counts = ", ".join(f"{count} {name}" for name, count in left_out.items() if count)
        return (
            f"Answers({len(self)} answers by {len(self.workers)} workers about {len(self.tasks)} tasks, "
            f"{len(self.classes)} classes{'; ' if counts else ''}{counts})"
        )

    @cached_property
    def _texts(self) -> pl.DataFrame:
        """Task, worker and label as text, in the order of the table."""
        frame, as_json = self.table.frame, self.table.source.json_columns
        task, worker, label = self.columns
        return pl.DataFrame(
            {
                "task": id_texts(frame[task], is_json=task in as_json),
                "worker": id_texts(frame[worker], is_json=worker in as_json),
                "label": label_texts(frame[label], is_json=label in as_json),
            }
        )

    @cached_property
    def tasks(self) -> pl.Series:
        """Tasks that were answered, String, sorted."""
        return self._texts["task"].unique().sort()

    @cached_property
    def workers(self) -> pl.Series:
        """Workers who answered, String, sorted."""
        return self._texts["worker"].unique().sort()

    @cached_property
    def _coded(self) -> list[NDArray[np.int32]]:
        """Codes of task, worker and label, in the order of the table."""
        check_known(self._texts["label"], self.classes, self.table.source.name)
        known = {"task": self.tasks, "worker": self.workers, "label": pl.Series(self.classes, dtype=pl.String)}
        return [places(self._texts[name], names).to_numpy() for name, names in known.items()]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row of the table of each answer in the order of :attr:`codes`, shape (n,)."""
        import numpy as np

        task, worker, _ = self._coded
        return np.argsort(worker.astype(np.int64) * len(self.tasks) + task)

    @cached_property
    def codes(self) -> AnswerCodes:
        """The answers as places in :attr:`tasks`, :attr:`workers` and ``classes``, in order of worker, then task."""
        from tamis.data.answer_codes import AnswerCodes

        task, worker, label = (codes[self.rows] for codes in self._coded)
        return AnswerCodes(task, worker, label, len(self.tasks), len(self.workers), len(self.classes))

    def take(self, rows: Sequence[int] | Sequence[bool] | pl.Series | Any) -> Answers:
        """Return the answers in these rows of the table, by positions or a boolean mask; the classes stay.

        Raises what :meth:`tamis.data.Table.take` raises.

        Examples
        --------
        >>> rows = [{"task": "t", "worker": name, "label": name} for name in "ab"]
        >>> Answers.from_frame(rows).take([True, False])
        Answers(1 answers by 1 workers about 1 tasks, 2 classes)
        """
        return replace(self, table=self.table.take(rows))

    def without_workers(self, workers: Collection[str]) -> Answers:
        """Return the answers of all other workers; the classes stay.

        Raises
        ------
        RecipeError
            If ``workers`` is one text and no collection.
        DataError
            If one of them gave no answer.

        Examples
        --------
        >>> rows = [{"task": "t", "worker": name, "label": name} for name in "abc"]
        >>> Answers.from_frame(rows).without_workers(["b"]).workers.to_list()
        ['a', 'c']
        """
        if isinstance(workers, str) or not isinstance(workers, Iterable):
            raise parameter_error("Answers.without_workers", "workers", "a collection of workers", workers)
        names = set(workers)
        unknown = sorted(map(str, names - set(self.workers)))
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(names)} workers gave no answer to {self.table.source.name} (first: "
                f"{shown(unknown[0])}); use workers of the same answers.{near(unknown[0], self.workers)}"
            )
        return self.take(~self._texts["worker"].is_in(pl.Series(sorted(names), dtype=pl.String).implode()))

    def to_long(self) -> pl.DataFrame:
        """Return one row an answer: task, worker and label (the name of its class), in the order of the table."""
        return self._texts.clone()

    def to_wide(self) -> pl.DataFrame:
        """Return one row a task: the task, and a column for each worker, null where there is no answer.

        The first column is called ``task``, or ``taskid`` if this is the name of a worker. Tasks and workers are
        sorted; labels are the names of their classes.

        Examples
        --------
        >>> rows = [{"task": "t2", "worker": "b", "label": 1}, {"task": "t1", "worker": "a", "label": 0}]
        >>> Answers.from_frame(rows).to_wide().rows()
        [('t1', '0', None), ('t2', None, '1')]
        """
        workers = self.workers.to_list()
        name = next(name for group in COLUMN_NAMES["task"] for name in group if name not in workers)
        cells = self._texts.rename({"task": name}).pivot(on="worker", index=name, values="label")
        return cells.select(name, *workers).sort(name)

    def to_peerannot(self) -> dict[str, dict[str, str]]:
        """Return task -> worker -> label (the name of its class), tasks and workers sorted.

        Examples
        --------
        >>> rows = [{"task": "t2", "worker": "b", "label": 1}, {"task": "t1", "worker": "a", "label": 0}]
        >>> Answers.from_frame(rows).to_peerannot()
        {'t1': {'a': '0'}, 't2': {'b': '1'}}
        """
        votes: dict[str, dict[str, str]] = {task: {} for task in self.tasks}
        for task, worker, label in self._texts.sort("task", "worker").iter_rows():
            votes[task][worker] = label
        return votes
