"""``tamis status``: how far a run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded, print_json


@guarded
def status(run: Annotated[Path, typer.Argument(help="Run directory.")], json_: JsonOption = False) -> None:
    """Show how far a run is: status, steps done, shards missing."""
    from tamis.runs import Run

    opened = Run.open(run)
    steps = []
    for folder in sorted((run / "steps").glob("[0-9]*")):
        done = {p.name for p in (folder / "_DONE").glob("*")}
        steps.append({"step": folder.name, "shards_done": len(done - {"all"}), "complete": "all" in done})
    found = {"run": str(run), "status": opened.status, "created": opened.manifest["created"], "steps": steps}
    if json_:
        print_json(found)
        return
    typer.echo(f"{run}: {found['status']} (begun {found['created']})")
    for step in steps:
        typer.echo(f"  {step['step']:16} {'done' if step['complete'] else str(step['shards_done']) + ' shards done'}")
