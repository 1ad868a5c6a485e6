"""The recipe: what a run does, as a YAML file that repeats it."""

from tamis.recipe.recipe import Recipe

__all__ = ["Recipe"]
