"""``tamis report``: draw a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded, print_json


@guarded
def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    json_: JsonOption = False,
) -> None:
    """Write RUN/report.html from the files of the run; the pool and the models are not needed."""
    from tamis.report import write_report

    path = write_report(run)
    if json_:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        typer.echo(str(path))
    if open_:
        typer.launch(str(path))
