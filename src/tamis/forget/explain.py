"""Why a run decided as it did about one example, and what the models say of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from tamis.select.decided import decided


def explain(folder: str | Path, unit_id: str) -> dict[str, Any]:
    """Decision about an example, the request, and the predictions before, after, and of a model trained anew.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    unit_id : str
        Id of the example, or a beginning of it that no other id shares.

    Returns
    -------
    dict
        The row of the selection; ``request`` (``by`` and ``value``), ``split``, ``label``; and ``predictions``: by
        model, ``predicted`` (how many seeds predict each class) and ``confidence`` (probability of the label, mean
        over seeds).

    Raises
    ------
    DataError, RunStateError
        See :func:`tamis.select.decided.decided`.
    """
    row, predictions = decided(folder, unit_id, step="measure")
    found = json.loads(next(Path(folder).glob("steps/*-decide/findings.json")).read_text(encoding="utf-8"))
    classes = found["model"]["classes"]
    own = predictions.filter((pl.col("id") == row["unit_id"]) & (pl.col("split") != "test"))
    said = {
        str(model): {
            "predicted": dict(Counter(classes[number] for number in rows["predicted"]).most_common()),
            "confidence": float(rows["confidence"].to_numpy().mean()),
        }
        for (model,), rows in own.group_by("model", maintain_order=True)
    }
    return {
        **row,
        "request": {name: found["request"][name] for name in ("by", "value")},
        "split": own["split"][0],
        "label": classes[own["label"][0]],
        "predictions": said,
    }


def explain_text(found: dict[str, Any]) -> str:
    """Write an explanation as text.

    Parameters
    ----------
    found : dict
        As :func:`explain` returns it.
    """
    by, value = found["request"]["by"], found["request"]["value"]
    lines = [
        f"{found['unit_id']}: {found['decision']}",
        f"  {found['reason']}  [{found['step']}]",
        f"  request: {by} {', '.join(map(str, value)) if isinstance(value, list) else value}",
        f"  label {found['label']}; split {found['split']}",
    ]
    for model, said in found["predictions"].items():
        seeds = sum(said["predicted"].values())
        voted = ", ".join(
            f"{name} ({times} of {seeds} seeds)" if seeds > 1 else name for name, times in said["predicted"].items()
        )
        lines.append(f"  {model}: predicts {voted}; probability of the label {said['confidence']:.4f}")
    return "\n".join(lines)
