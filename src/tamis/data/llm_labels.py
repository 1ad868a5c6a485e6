"""Labels that language models gave to the tasks of a crowd."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tamis.data.answer_columns import find_column, listed
from tamis.data.answer_rows import id_texts, places
from tamis.data.answers import Answers
from tamis.data.label_classes import label_texts, near, shown
from tamis.data.parsed import Parsed
from tamis.data.signal_checks import STATUSES, check_statuses
from tamis.errors import DataError, RecipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LLM_SCHEMA = {
    "task": pl.String(),
    "model": pl.String(),
    "sample": pl.Int64(),
    "label": pl.String(),
    "status": pl.Enum(STATUSES),
}

_KEY = ("model", "sample", "task")


@dataclass(frozen=True, repr=False, eq=False)
class LLMLabels:
    """Labels by language models in long form. A label that failed has a status and no text, and is never a class.

    Make one with :func:`tamis.data.read_llm_labels`.

    Parameters
    ----------
    frame : pl.DataFrame
        ``task`` String, ``model`` String, ``sample`` Int64 (independent draws of a model), ``label`` String (null
        unless ok), ``status`` Enum (ok, missing, refused, unparsed); one row per model, sample and task, in this order.

    Raises
    ------
    DataError
        If columns or types differ, rows are not in order, a sample occurs twice, or status and label disagree.

    Examples
    --------
    >>> from tamis.data import read_llm_labels
    >>> labels = read_llm_labels([{"task": "t1", "label": 1}, {"task": "t1", "label": 0}], model="gpt")
    >>> labels.models, labels.samples("gpt")
    (['gpt'], [0, 1])
    """

    frame: pl.DataFrame

    def __post_init__(self) -> None:
        if dict(self.frame.schema) != LLM_SCHEMA:
            raise DataError(
                f"The frame of LLMLabels must have the columns {', '.join(LLM_SCHEMA)} with their types, found "
                f"{listed(self.frame.columns)}; use read_llm_labels."
            )
        if not self.frame.select(_KEY).equals(self.frame.select(_KEY).sort(_KEY)):
            raise DataError("The rows of LLMLabels must be sorted by model, sample and task; use read_llm_labels.")
        _check_once(self.frame)
        _check_agreement(self.frame)

    @classmethod
    def concat(cls, parts: Iterable[LLMLabels]) -> LLMLabels:
        """Put labels together.

        Raises
        ------
        DataError
            If two of them hold the same sample of a model for a task, or there is none.

        Examples
        --------
        >>> from tamis.data import read_llm_labels
        >>> rows = [{"task": "t1", "label": "yes"}]
        >>> LLMLabels.concat([read_llm_labels(rows, model="gpt"), read_llm_labels(rows, model="llama")]).models
        ['gpt', 'llama']
        """
        frames = [part.frame for part in parts]
        if not frames:
            raise DataError("LLMLabels.concat needs at least one set of labels, got none.")
        return cls(pl.concat(frames).sort(_KEY))

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        by_name = dict(self.frame["status"].cast(pl.String).value_counts().iter_rows())
        counts = ", ".join(f"{by_name[status]} {status}" for status in STATUSES if status in by_name) or "none"
        n_tasks = self.frame["task"].n_unique()
        return f"LLMLabels({len(self)} labels about {n_tasks} tasks by {len(self.models)} models: {counts})"

    @property
    def models(self) -> list[str]:
        """Who labelled, sorted."""
        return self.frame["model"].unique().sort().to_list()

    def samples(self, model: str) -> list[int]:
        """Return the samples of a model, ascending; RecipeError if it gave no label."""
        found = self.frame.filter(pl.col("model") == model)["sample"].unique().sort().to_list()
        if not found:
            raise _no_model(model, self.models)
        return found

    def aligned(self, answers: Answers) -> AlignedLabels:
        """Return the labels as codes of the classes and tasks of a crowd's answers.

        Examples
        --------
        >>> from tamis.data import read_llm_labels
        >>> answers = Answers.from_frame([{"task": t, "worker": "ann", "label": t} for t in ("no", "yes")])
        >>> rows = [{"task": "yes", "label": "yes"}, {"task": "no", "label": "maybe"}, {"task": "other", "label": "no"}]
        >>> aligned = read_llm_labels(rows).aligned(answers)
        >>> aligned.codes.tolist(), aligned.n_unknown, aligned.first_unknown, aligned.n_other_tasks
        ([[-1, 1]], 1, 'maybe', 1)
        """
        import numpy as np

        names = self.frame.select("model", "sample").unique().sort("model", "sample")
        placed = self.frame.join(
            names.with_row_index("name"), on=["model", "sample"], how="left", maintain_order="left"
        )
        placed = placed.select(
            "label",
            "name",
            failed=pl.col("status") != "ok",
            task=places(placed["task"], answers.tasks),
            code=places(placed["label"], pl.Series(answers.classes, dtype=pl.String)),
        )
        about = placed.filter(pl.col("task").is_not_null())
        unknown = about.filter(~pl.col("failed") & pl.col("code").is_null())["label"]
        usable = about.filter(pl.col("code").is_not_null())
        codes = np.full((names.height, len(answers.tasks)), -1, dtype=np.int32)
        codes[usable["name"].to_numpy(), usable["task"].to_numpy()] = usable["code"].to_numpy()
        return AlignedLabels(
            names=tuple(names.iter_rows()),
            codes=codes,
            n_unknown=len(unknown),
            first_unknown=unknown[0] if len(unknown) else None,
            n_other_tasks=placed.height - about.height,
            n_failed=int(about["failed"].sum()),
            first_other=next(iter(self.frame["task"].filter(placed["task"].is_null()).head(1)), None),
        )


@dataclass(frozen=True, eq=False)
class AlignedLabels:
    """Labels by language models as codes of the classes and tasks of a crowd's answers.

    Parameters
    ----------
    names : tuple of (str, int)
        Model and sample of each row, sorted.
    codes : ndarray of int32, shape (n_names, n_tasks)
        Class of each task, -1 where there is no usable label.
    n_unknown : int
        Labels about answered tasks that are none of the classes; they count as unparsed, so their code is -1.
    first_unknown : str or None
        The first of them.
    n_other_tasks : int
        Labels about tasks that nobody answered, whatever their status.
    n_failed : int
        Labels about answered tasks that are missing, refused or unparsed.
    first_other : str or None
        The first task that nobody answered.
    """

    names: tuple[tuple[str, int], ...]
    codes: NDArray[np.int32]
    n_unknown: int
    first_unknown: str | None
    n_other_tasks: int
    n_failed: int
    first_other: str | None = None

    def of(self, model: str) -> list[NDArray[np.int32]]:
        """Return the codes of a model, each of shape (n_tasks,), in order of the sample.

        Raises
        ------
        RecipeError
            If the model gave no label.
        """
        found = [row for (name, _), row in zip(self.names, self.codes, strict=True) if name == model]
        if not found:
            raise _no_model(model, [name for name, _ in self.names])
        return found


def label_rows(parsed: Parsed, model: str) -> pl.DataFrame:
    """Return what a reader parsed as the frame of LLMLabels; the rest is as in ``read_llm_labels``."""
    frame, where = parsed.frame, parsed.source.name
    if not frame.height:
        raise DataError(f"{where} holds no label: it is empty; give at least one row with a task and a label.")
    columns = {
        meaning: find_column(meaning, frame.columns, where, advice="keep one, or rename the others")
        for meaning in ("task", "label", "model", "sample")
    }
    if columns["task"] is None or columns["label"] is None:
        raise DataError(
            f"{where} must have a column for the task and the label, and may have some for model, sample and status, "
            f"found the columns {listed(frame.columns)}; rename them."
        )
    as_json = parsed.source.json_columns
    made = pl.DataFrame(
        {
            meaning: _complete(id_texts(frame[name], is_json=name in as_json, where=where), meaning, where)
            for meaning, name in columns.items()
            if name is not None and meaning != "label"
        }
    )
    label = columns["label"]
    made = made.with_columns(label=label_texts(frame[label], is_json=label in as_json, where=where))
    if columns["model"] is None:
        made = made.with_columns(model=pl.lit(model))
    if columns["sample"] is None:
        made = made.with_columns(sample=pl.int_range(pl.len()).over("model", "task"))
    else:
        made = made.with_columns(sample=_numbers(made["sample"], where))
    if "status" in frame.columns:
        made = made.with_columns(status=check_statuses(frame["status"], where))
    else:
        absent = pl.col("label").is_null()
        made = made.with_columns(status=pl.when(absent).then(pl.lit("missing")).otherwise(pl.lit("ok")))
    made = made.select(pl.col(name).cast(dtype) for name, dtype in LLM_SCHEMA.items()).sort(_KEY)
    _check_once(made, where)
    _check_agreement(made, where)
    return made


def _complete(ids: pl.Series, meaning: str, where: str) -> pl.Series:
    absent = ids.is_null().arg_true()
    if len(absent):
        raise DataError(
            f"{len(absent)} rows of {where} have no {meaning} (first: row {absent[0] + 1}); every label needs one."
        )
    return ids


def _numbers(samples: pl.Series, where: str) -> pl.Series:
    numbers = samples.cast(pl.Int64, strict=False)
    wrong = samples.filter(numbers.is_null() | (numbers < 0))
    if len(wrong):
        raise DataError(
            f"The samples of {where} must be whole numbers from 0, found {shown(wrong[0])}; number the draws of a "
            "model, or leave the column away so that they are numbered by their rows."
        )
    return numbers


def _check_once(frame: pl.DataFrame, where: str = "LLMLabels") -> None:
    twice = frame.filter(frame.select(_KEY).is_duplicated())
    if twice.height:
        model, sample, task = twice.select(_KEY).row(0)
        raise DataError(
            f"{twice.height} labels of {where} are by the same model and sample for the same task (first: "
            f"{shown(model)}, sample {sample}, task {shown(task)}); give repeats different samples, or drop them."
        )


def _check_agreement(frame: pl.DataFrame, where: str = "LLMLabels") -> None:
    """A label stands where the status is ok, and nowhere else."""
    wrong = frame.filter((pl.col("status") == "ok") == pl.col("label").is_null())
    if wrong.height:
        task, model, _, label, status = wrong.row(0)
        raise DataError(
            f"{wrong.height} rows of {where} have a label although their status is not ok, or none although it is "
            f"(first: {shown(model)}, task {shown(task)}, status {status}, label {shown(label)}); mend the status."
        )


def _no_model(model: str, known: Iterable[str]) -> RecipeError:
    return RecipeError(f"No label is by the model {model!r}.{near(str(model), set(known))}")
