"""Answers back to a file, in any of the three layouts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from tamis.data.answer_rows import SOURCE_ID
from tamis.data.answers import Answers
from tamis.data.formats import SUFFIXES, data_suffix
from tamis.data.label_classes import INTEGER
from tamis.data.readers.answers import LAYOUTS
from tamis.data.source import Source
from tamis.data.table import Table
from tamis.data.writers import write
from tamis.data.writers.streams import create_bytes
from tamis.errors import DataError, RecipeError, parameter_error
from tamis.runs.atomic import atomic_path

_WIDE = ("csv", "tsv", "parquet")


@dataclass(frozen=True, repr=False, eq=False)
class _Shaped(Table):
    """A table that is written as another frame than its own."""

    shape: pl.DataFrame = field(default_factory=pl.DataFrame)

    def output_frame(self, *, with_ids: bool = False) -> pl.DataFrame:
        return self.shape


def write_answers(answers: Answers, path: str | Path, *, layout: str | None = None) -> Path:
    r"""Write answers to a file, whole or not at all.

    Parameters
    ----------
    answers : Answers
        What to write.
    path : str or Path
        File to create or replace. *long*: any format that :func:`tamis.data.write` knows; *wide*: CSV, TSV or Parquet;
        *peerannot*: JSON.
    layout : str, optional
        ``long``, ``wide`` or ``peerannot``. Default: the one that was read. Long keeps all columns of a long source as
        they came; the others hold tasks, workers and the names of the classes, as integers if all of them are.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecipeError
        If the layout or the suffix is wrong.
    DataError
        If the folder does not exist, or the format cannot hold a column.

    Examples
    --------
    >>> import tempfile
    >>> from tamis.data import read_answers
    >>> answers = read_answers({"t1": {"ann": 1, "bob": 0}})
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_answers(answers, folder / "answers.json").read_text()
    '{"t1":{"ann":1,"bob":0}}\n'
    >>> write_answers(answers, folder / "wide.csv", layout="wide").read_text()
    'task,ann,bob\nt1,1,0\n'
    """
    path = Path(path)
    layout = answers.layout if layout is None else layout
    if layout not in LAYOUTS:
        raise parameter_error("write_answers", "layout", "'long', 'wide' or 'peerannot'", layout)
    if layout == "long":
        return write(_long(answers.table), path)
    format = SUFFIXES.get(data_suffix(path))
    if layout == "wide":
        if format not in _WIDE:
            raise RecipeError(f"Wide answers are written as .csv, .tsv or .parquet. Got {path} instead.")
        return write(_wide(answers), path)
    if format != "json":
        raise RecipeError(f"Answers in peerannot's layout are written as .json. Got {path} instead.")
    return _write_peerannot(answers, path)


def _long(table: Table) -> Table:
    """The columns of the source, an own ``id`` among them under its name."""
    names = {SOURCE_ID: "id"} if SOURCE_ID in table.frame.columns else {}
    json_columns = tuple(names.get(name, name) for name in table.source.json_columns)
    return _Shaped(
        frame=table.frame,
        source=replace(table.source, json_columns=json_columns),
        layout_rows=table.layout_rows,
        shape=table.output_frame().rename(names),
    )


def _wide(answers: Answers) -> Table:
    cells = answers.to_wide()
    if _are_integers(answers):
        cells = cells.with_columns(pl.col(answers.workers.to_list()).cast(pl.Int64))
    return _Shaped(frame=pl.DataFrame(schema={"id": pl.String}), source=Source("parquet"), shape=cells)


def _write_peerannot(answers: Answers, path: Path) -> Path:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it, for example answers.json.")
    if not path.parent.is_dir():
        raise DataError(f"The folder {path.parent} to write {path.name} into does not exist; create it first.")
    votes: dict[str, dict[str, str]] | dict[str, dict[str, int]] = answers.to_peerannot()
    if _are_integers(answers):
        votes = {task: {worker: int(label) for worker, label in given.items()} for task, given in votes.items()}
    text = json.dumps(votes, ensure_ascii=False, separators=(",", ":"))
    with atomic_path(path) as temporary, create_bytes(temporary) as stream:
        stream.write(text.encode("utf-8") + b"\n")
    return path


def _are_integers(answers: Answers) -> bool:
    return bool(pl.Series(answers.classes, dtype=pl.String).str.contains(INTEGER).all())
