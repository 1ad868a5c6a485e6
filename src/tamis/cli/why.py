"""``tamis why``: why a record, a worker, a layer or an example was decided about as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded, print_json


@guarded
def why(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    unit_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the unit, or its beginning.")],
    json_: JsonOption = False,
) -> None:
    """Explain one decision: the reason, and the measurements it rests on."""
    from tamis.errors import RecipeError
    from tamis.registry import METHODS
    from tamis.runs import Run

    method = Run.open(run).recipe.method
    if method not in METHODS:
        raise RecipeError(f"{run} is a run of {method!r}, which decides nothing; give one of: {', '.join(METHODS)}.")
    explain, as_text = METHODS[method].load_explain()
    found = explain(run, unit_id)
    if json_:
        print_json(found)
    else:
        typer.echo(as_text(found))
