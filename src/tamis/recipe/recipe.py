"""``Recipe``: method, inputs, parameters and seed of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tamis.errors import RecipeError

Scalar = str | int | float | bool | None


class Recipe(BaseModel):
    """What a run does. Two runs with the same :meth:`identity` give the same selection.

    Parameters
    ----------
    method : str
        Name in the registry, e.g. ``"ds2"``.
    inputs : dict of str to str
        Files by role, e.g. ``{"pool": "pool.jsonl"}``.
    params : dict
        The method's parameters and the options of its steps, JSON scalars or lists of them.
    seed : int
        Seed that every step derives its own from.
    limits : dict
        What bounds or paces the work without changing a result: budgets, calls at once, time-outs. No part of the
        identity, so that a run can be continued under other limits.

    Examples
    --------
    >>> recipe = Recipe(method="ds2", inputs={"pool": "pool.jsonl"}, params={"budget": 10}, seed=0)
    >>> recipe.identity({"pool": "ab"})["params"]
    {'budget': 10}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    inputs: dict[str, str]
    params: dict[str, Scalar | list[Scalar]]
    seed: int = 0
    limits: dict[str, Scalar] = {}

    def identity(self, input_digests: dict[str, str]) -> dict[str, Any]:
        """Everything that the result depends on: paths are replaced by digests of what they hold."""
        return {"method": self.method, "inputs": input_digests, "params": dict(self.params), "seed": self.seed}

    def to_yaml(self) -> str:
        """Return the recipe as YAML."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)

    def input_path(self, role: str) -> Path:
        """Return the file of an input that the method cannot do without.

        Raises
        ------
        RecipeError
            If the recipe does not name it.
        """
        if role not in self.inputs:
            raise RecipeError(
                f"The recipe of method {self.method!r} names no {role}; add '{role}: FILE' to its inputs."
            )
        return Path(self.inputs[role])

    @classmethod
    def from_yaml(cls, path: str | Path) -> Recipe:
        """Read a recipe.

        Raises
        ------
        RecipeError
            If the file is missing, is no YAML, or has a wrong or unknown field; the message names it.
        """
        try:
            return cls.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise RecipeError(f"The recipe {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise RecipeError(
                f"The recipe {path} is not text in UTF-8; give a recipe.yaml or a run directory."
            ) from error
        except yaml.YAMLError as error:
            raise RecipeError(f"The recipe {path} is not valid YAML: {str(error).splitlines()[0]}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(x) for x in first["loc"]) or "the top level"
            raise RecipeError(f"The recipe {path} is wrong at {where}: {first['msg']}.") from error
