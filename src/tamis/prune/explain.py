"""Why a run decided as it did about one layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.prune.layer_ranges import layer_id
from tamis.select.decided import decided


def explain(folder: str | Path, unit_id: str) -> dict[str, Any]:
    """Decision about a layer, and its score and place by every criterion that was computed.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    unit_id : str
        Number of the layer, or its id ``layer-NNN``.

    Raises
    ------
    DataError, RunStateError
        See :func:`tamis.select.decided.decided`.
    """
    row, table = decided(folder, layer_id(int(unit_id)) if unit_id.isdecimal() else unit_id, step="decide")
    own = table.filter(pl.col("unit_id") == row["unit_id"]).row(0, named=True)
    scores = []
    for name in table.columns:
        if name in ("layer", "unit_id"):
            continue
        value = own[name]
        place = None if value is None else int((table[name] < value).sum())
        scores.append({"criterion": name, "score": value, "lower": place, "layers": len(table)})
    return {**row, "layer": own["layer"], "scores": scores}


def explain_text(found: dict[str, Any]) -> str:
    """Write an explanation as text.

    Parameters
    ----------
    found : dict
        As :func:`explain` returns it.
    """
    lines = [f"layer {found['layer']}: {found['decision'] or 'undecided'}", f"  {found['reason']}  [{found['step']}]"]
    for each in found["scores"]:
        said = "not measured" if each["score"] is None else f"{each['score']:.6g}, {each['lower']} layers score lower"
        lines.append(f"  {each['criterion']}: {said}")
    return "\n".join(lines)
