"""Handing the ratings of a run over to a curation."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from tamis.curate.rating.matrices import scale_for
from tamis.curate.rating.rubric import Rubric
from tamis.errors import RunStateError
from tamis.runs import Run

SIGNAL, RUBRIC = "signal.parquet", "rubric.json"


def ratings_of_run(folder: str | Path) -> Path:
    """Return the path of the signal of a rating run.

    Raises
    ------
    RunStateError
        If the folder is no rating run, or the run has not finished.
    """
    folder = Path(folder)
    run = Run.open(folder)
    if run.recipe.method != "rate":
        raise RunStateError(
            f"{folder} is a run of {run.recipe.method!r}, not of 'rate': give a rating run, a file of ratings or a "
            "column of the pool."
        )
    if not (folder / SIGNAL).exists():
        raise RunStateError(f"The rating run {folder} has not finished; 'tamis resume {folder}' goes on.")
    return folder / SIGNAL


def scale_of_run(folder: str | Path, *, criterion: str, rater: str | None = None) -> str:
    """Return the scale of a rating run, as ``tamis curate --scale`` takes it.

    Whole ratings keep the scale of the rubric, however few of its values the judge used; expected scores and means over
    samples are cut at quantiles.

    Parameters
    ----------
    folder : str or Path
    criterion : str
    rater : str, optional
        Whose ratings. Default: those of all raters together.

    Raises
    ------
    RunStateError
        If the folder is no finished rating run.
    """
    frame = pl.read_parquet(ratings_of_run(folder))
    written = Path(folder) / RUBRIC
    rubric = Rubric.from_dict(json.loads(written.read_text(encoding="utf-8")), where=str(written))
    chosen = pl.lit(value=True) if rater is None else pl.col("rater") == rater
    measured = frame.filter(chosen & (pl.col("criterion") == criterion) & pl.col("value").is_not_null())
    values = measured["value"].to_numpy()
    return scale_for(values, rubric.low, rubric.high)
