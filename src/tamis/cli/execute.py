"""Executing a started run and telling what came of it: shared by all verbs that leave a run."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from tamis.cli.console import Progress, print_json
from tamis.engine import Engine, get_engine
from tamis.errors import RecipeError, parameter_error
from tamis.recipe import Recipe
from tamis.registry import JOBS, lookup
from tamis.runs import Run, digest_file, digest_json


@dataclass(frozen=True)
class Running:
    """How a run is executed and shown; nothing in it changes a result."""

    engine: str
    workers: int | None
    address: str | None
    quiet: bool
    json_: bool

    def get_engine(self) -> Engine:
        """Return the engine.

        Raises
        ------
        RecipeError
            If there is no such engine, an address is given to one that has none, or there are fewer workers than one.
        """
        if self.workers is not None and self.workers < 1:
            raise parameter_error(f"the engine {self.engine}", "workers", "an int in [1, inf) or None", self.workers)
        if self.address is not None and self.engine != "ray":
            raise RecipeError(f"--address {self.address} names a Ray cluster; add --engine ray or leave it out.")
        options = {"workers": self.workers, **({"address": self.address} if self.address is not None else {})}
        return get_engine(self.engine, **options)


def start_and_execute(recipe: Recipe, *, out: Path | None, running: Running) -> int:
    """Start the run directory, or continue the one that is there, and execute the recipe.

    Parameters
    ----------
    recipe : Recipe
    out : Path or None
        Run directory; None derives it from the verb, the pool or model, and the recipe's identity.
    running : Running
    """
    # before a folder is made for an engine or a method that does not exist, or for no input
    engine, entry = running.get_engine(), lookup("method", recipe.method, JOBS)
    named = recipe.params[entry.source] if entry.source in recipe.params else recipe.input_path(entry.source)
    if out is None:
        identity = recipe.identity({role: digest_file(path) for role, path in recipe.inputs.items()})
        out = Path("runs") / f"{entry.verb}-{Path(str(named)).name.split('.')[0]}-{digest_json(identity)[:8]}"
    return execute(Run.start(out, recipe, command=command_line()), engine=engine, running=running)


def execute(run: Run, *, engine: Engine, running: Running) -> int:
    """Run the recipe's job, write the report, print the summary and return the exit code."""
    from tamis.report import write_report

    with run, Progress(quiet=running.quiet) as progress:
        entry = lookup("method", run.recipe.method, JOBS)
        summary = entry.load_job()(run, engine=engine, progress=progress)
    write_report(run.folder)
    if running.json_:
        print_json(summary)
    elif not running.quiet:
        typer.echo(entry.load_outcome()(summary))
    return int(summary["exit_code"])


def command_line() -> str:
    """Return the command as typed, quoted for a shell."""
    return shlex.join(["tamis", *sys.argv[1:]])
