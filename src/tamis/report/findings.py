"""Reading back what a job found, for the page about it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from tamis.errors import RunStateError
from tamis.runs import Run


def read_findings(run: Run, step: str) -> dict[str, Any]:
    """Read ``findings.json`` of a step.

    Parameters
    ----------
    run : Run
    step : str
        Name of the step, without its number. Only a step that the manifest lists counts.

    Raises
    ------
    RunStateError
        If it is absent.
    """
    for path in sorted((run.folder / "steps").glob(f"*-{step}/findings.json")):
        if path.parent.name in run.manifest["steps"]:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
    raise RunStateError(
        f"The run {run.folder} holds no findings to report; `tamis resume {run.folder}` computes what is missing."
    )


def read_evidence(run: Run) -> list[dict[str, Any]]:
    """Read the rows of ``evidence.parquet``.

    Raises
    ------
    RunStateError
        If it is absent.
    """
    path = run.folder / "evidence.parquet"
    if not path.exists():
        raise RunStateError(f"The run {run.folder} holds no evidence.parquet; `tamis resume {run.folder}` writes it.")
    return pl.read_parquet(path).to_dicts()
