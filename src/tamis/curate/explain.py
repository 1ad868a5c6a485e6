"""Why a run decided as it did about one record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.select.decided import decided


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
    DataError, RunStateError
        See :func:`tamis.select.decided.decided`.
    """
    row, curation = decided(folder, unit_id, step="curate")
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


def explain_text(found: dict[str, Any]) -> str:
    """Write an explanation as text.

    Parameters
    ----------
    found : dict
        As :func:`explain` returns it.
    """
    decision = found["decision"] or "undecided"
    rank = "" if found["rank"] is None else f", rank {found['rank'] + 1}"
    lines = [f"{found['unit_id']}: {decision}{rank}", f"  {found['reason']}  [{found['step']}]"]
    for rating in found["ratings"]:
        if rating["rating"] is None:
            lines.append(f"  {rating['rater']}: no rating ({rating['status']})")
            continue
        line = f"  {rating['rater']}: rated {rating['rating']:g} (class {rating['observed_name']})"
        line += f", agreement with neighbours {rating['agreement']:.2f}"
        line += f", flagged in {rating['misrated_prob']:.0%} of rounds"
        if rating["corrected"]:
            line += f"; corrected to {rating['curated_name']} (confidence {rating['confidence']:.2f})"
        elif rating["suggested_name"] is not None:
            line += f"; not corrected, suggestion {rating['suggested_name']} (confidence {rating['confidence']:.2f})"
        if not rating["corrected"] and rating["curated"] != rating["observed"]:
            line += f"; exact copies were rated apart and share {rating['curated_name']}"
        lines.append(line)
    if found["neighbors"]:
        lines.append("  nearest neighbours:")
    for near in found["neighbors"]:
        rated = ", ".join(f"{r} {v:g}" if v is not None else f"{r} -" for r, v in near["ratings"].items())
        lines.append(f"    {near['similarity']:.3f}  {near['unit_id']}  {rated}")
    return "\n".join(lines)
