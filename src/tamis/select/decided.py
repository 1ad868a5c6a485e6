"""What a run decided about one unit, and what its decision rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import RunStateError
from tamis.runs import Run
from tamis.select.selection import Selection


def decided(folder: str | Path, unit_id: str, *, step: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the row of a run's selection about one unit, and the frame of the step that decided.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    unit_id : str
        Id of the unit, or a beginning of it that no other id shares.
    step : str
        Name of the step, without its number.

    Raises
    ------
    DataError
        If no unit, or more than one, has an id that begins so.
    RunStateError
        If the folder is no run, or the run has not decided yet.
    """
    run = Run.open(folder)
    part = next(run.folder.glob(f"steps/*-{step}/part-00000.parquet"), None)
    if part is None or not (run.folder / "selection.parquet").exists():
        raise RunStateError(f"{folder} has not decided yet; go on with: tamis resume {folder}")
    return Selection.read(run.folder).find(unit_id), pl.read_parquet(part)
