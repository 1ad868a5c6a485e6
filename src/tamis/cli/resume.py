"""``tamis resume``: go on with a run that was stopped, killed, or left incomplete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.options import AddressOption, EngineOption, QuietOption, WorkersOption


@guarded
def resume(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Go on with a run; finished shards are not computed again, and any engine can resume another's work."""
    from tamis.cli.execute import Running, execute
    from tamis.recipe import Recipe
    from tamis.runs import Run, require_run

    require_run(run)
    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    chosen = running.get_engine()
    started = Run.start(run, Recipe.from_yaml(run / "recipe.yaml"), command=f"tamis resume {run}")
    return execute(started, engine=chosen, running=running)
