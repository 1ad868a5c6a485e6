"""``tamis status``: how far a run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded, print_json


@guarded
def status(run: Annotated[Path, typer.Argument(help="Run directory.")], json_: JsonOption = False) -> None:
    """Show how far a run is: status, steps done, shards done, replies of judges so far."""
    from tamis.runs import Run

    opened = Run.open(run)
    replies = None
    if opened.recipe.method == "rate":
        from tamis.models.response_cache import replies_of

        replies = replies_of(opened.manifest["run_id"])
    steps: list[dict[str, Any]] = []
    for folder in sorted((run / "steps").glob("[0-9]*")):
        done = {p.name for p in (folder / "_DONE").glob("*")}
        steps.append({"step": folder.name, "shards_done": len(done - {"all"}), "complete": "all" in done})
        if replies is not None and folder.name.endswith("-rate"):
            steps[-1]["replies"] = replies
    found = {"run": str(run), "status": opened.status, "created": opened.manifest["created"], "steps": steps}
    if json_:
        print_json(found)
        return
    typer.echo(f"{run}: {found['status']} (begun {found['created']})")
    for step in steps:
        so_far = f"{step['replies']} replies" if "replies" in step else f"{step['shards_done']} shards done"
        typer.echo(f"  {step['step']:16} {'done' if step['complete'] else so_far}")
