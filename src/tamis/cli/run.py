"""``tamis run``: execute a recipe file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.options import AddressOption, EngineOption, QuietOption, WorkersOption
from tamis.cli.plan import RecipeArgument, read_recipe


@guarded
def run(
    recipe: RecipeArgument,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/VERB-POOL-HASH).")] = None,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Execute a recipe; every run leaves its own as recipe.yaml, to be repeated elsewhere or changed by hand."""
    from tamis.cli.execute import Running, start_and_execute

    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    return start_and_execute(read_recipe(recipe), out=out, running=running)
