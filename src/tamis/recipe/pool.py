"""Reading the pool that a recipe names."""

from __future__ import annotations

from tamis.data import Table, read
from tamis.recipe import Recipe

READ_OPTIONS = ("format", "id_column", "group")
"""Recipe parameters that say how the pool is read."""


def read_pool(recipe: Recipe) -> Table:
    """Read the recipe's input ``pool``; rows that cannot be used are in ``table.rejects``.

    Raises
    ------
    RecipeError
        If the recipe names no pool.
    DataError
        If no row can be used.
    """
    format, id_column, group = (_text(recipe, name) for name in READ_OPTIONS)
    roles = {"group": group} if group else None
    return read(recipe.input_path("pool"), format=format, id_column=id_column, roles=roles)


def _text(recipe: Recipe, name: str) -> str | None:
    value = recipe.params.get(name)
    return None if value is None else str(value)
