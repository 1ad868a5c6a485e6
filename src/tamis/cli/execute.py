"""Executing a started run and telling what came of it: shared by ``curate``, ``resume`` and ``demo``."""

from __future__ import annotations

from typing import Any

import typer

from tamis.cli.console import Progress, print_json
from tamis.engine import get_engine
from tamis.errors import IncompleteError
from tamis.registry import METHODS, lookup
from tamis.runs import Run


def execute(run: Run, *, engine: str, workers: int | None, json_: bool, quiet: bool) -> int:
    """Run the recipe's job, write the report, print the summary and return the exit code."""
    from tamis.report import write_report

    entry = lookup("method", run.recipe.method, METHODS)
    with run, Progress(quiet=quiet) as progress:
        summary = entry.load_job()(run, engine=get_engine(engine, workers=workers), progress=progress)
    write_report(run.folder)
    if json_:
        print_json(summary)
    elif not quiet:
        typer.echo(describe(summary))
    return 0 if summary["filled"] else IncompleteError.exit_code


def describe(summary: dict[str, Any]) -> str:
    """Return the summary of a curation as text."""
    lines = [
        f"kept {summary['keep']} of {summary['rows']} records (budget {summary['budget']}), dropped {summary['drop']}"
    ]
    if summary["undecided"]:
        lines.append(
            f"not decided: {summary['undecided']} records without a rating; rate them and curate again "
            "into another --out"
        )
    if summary["rejected"]:
        lines.append(f"rejected on reading: {summary['rejected']} rows, see rejects.parquet")
    for name, rater in summary["raters"].items():
        lines.append(
            f"rater {name}: matrix {rater['verdict']}, {rater['corrected']} of {rater['measured']} ratings corrected"
        )
        lines += [f"  - {warning}" for warning in rater["warnings"]]
    lines += [f"selected records  {summary['selected']}", f"report            {summary['report']}"]
    return "\n".join(lines)
