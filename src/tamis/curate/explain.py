"""Why a run decided as it did about one record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import DataError, RunStateError
from tamis.runs import Run
from tamis.select import Selection


def explain(folder: str | Path, unit_id: str) -> dict[str, Any]:
    """Decision, reason, ratings and nearest neighbours of one record of a curation run.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    unit_id : str
        Id of the record, or a beginning of it that no other id shares.

    Raises
    ------
    DataError
        If no record, or more than one, has an id that begins so.
    RunStateError
        If the folder is no run, or the run has not decided yet.
    """
    run = Run.open(folder)
    part = next(run.folder.glob("steps/*-curate/part-00000.parquet"), None)
    if part is None or not (run.folder / "selection.parquet").exists():
        raise RunStateError(f"{folder} has not decided yet; go on with: tamis resume {folder}")
    selection = Selection.read(run.folder)
    ids = selection.frame["unit_id"]
    matches = [unit_id] if unit_id in ids else ids.filter(ids.str.starts_with(unit_id)).head(4).to_list()
    if len(matches) > 1:
        raise DataError(f"{unit_id!r} begins several ids ({', '.join(matches)}, ...); give more of it.")
    row = selection.explain(matches[0] if matches else unit_id)
    curation = pl.read_parquet(part)
    own = curation.filter(pl.col("unit_id") == row["unit_id"])
    fields = ("rater", "status", "rating", "observed", "observed_name", "agreement", "misrated_prob", "suggested_name",
              "confidence", "curated", "curated_name", "corrected")  # fmt: skip
    near = own.row(0, named=True)
    ratings = curation.filter(pl.col("rater") == own["rater"][0])["unit_id"]
    neighbors = []
    for position, similarity in zip(near["near"], near["similarity"], strict=True):
        if position < 0:
            continue
        other = curation.filter(pl.col("unit_id") == ratings[position])
        neighbors.append(
            {
                "unit_id": ratings[position],
                "similarity": similarity,
                "ratings": dict(zip(other["rater"], other["rating"], strict=True)),
            }
        )
    return {**row, "ratings": own.select(fields).to_dicts(), "neighbors": neighbors}
