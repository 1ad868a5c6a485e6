"""``tamis plan``: what a recipe or a run will take, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.console import JsonOption, guarded, print_json

if TYPE_CHECKING:
    from tamis.recipe import Recipe

RecipeArgument = Annotated[Path, typer.Argument(help="recipe.yaml, or a run directory.", metavar="RECIPE")]


@guarded
def plan(recipe: RecipeArgument, json_: JsonOption = False) -> int:
    """Say what a recipe will take: rows, model calls, tokens, money, time, memory, and what is in the cache already.

    'tamis rate ... --dry-run' plans without a recipe file.
    """
    return show_plan(read_recipe(recipe), json_=json_)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file, or the recipe of a run directory."""
    from tamis.recipe import Recipe
    from tamis.runs import require_run

    if path.is_dir():
        require_run(path)
        path = path / "recipe.yaml"
    return Recipe.from_yaml(path)


def show_plan(recipe: Recipe, *, json_: bool) -> int:
    """Print the plan of a recipe."""
    from tamis.registry import JOBS, lookup

    make, write = lookup("method", recipe.method, JOBS).load_plan()
    found = make(recipe)
    if json_:
        print_json(found)
    else:
        typer.echo(write(found))
    return 0
