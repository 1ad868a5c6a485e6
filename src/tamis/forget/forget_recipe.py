"""A forget recipe, taken apart: the model, what it is to forget, how, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import RecipeError, did_you_mean, parameter_error
from tamis.forget.ways import SHARED, UGRADSL_ONLY, WAYS, make_way
from tamis.recipe import Recipe
from tamis.train.settings import TrainSettings

INPUTS = ("data", "test", "held_out", "forget")
REQUESTS = ("classes", "share", "where")
READING = ("label", "id_column", "text", "image", "max_length")
OWN = ("model", "network", *READING, "group", "method", "compare", "aim", "seeds", "retrain", "retrain_from", "sweep",
       *REQUESTS)  # fmt: skip
TRAINING = ("retrain_epochs", "retrain_learning_rate", "retrain_batch_rows", "retrain_optimizer")
WAY = (*SHARED, *UGRADSL_ONLY)


@dataclass(frozen=True)
class ForgetRecipe:
    """A forget recipe, taken apart.

    Attributes
    ----------
    model : str
    network : str or None
        ``module:function`` of the user's own.
    method : str
        Of :data:`tamis.forget.ways.WAYS`.
    way : dict
        Parameters of the method.
    compare : tuple of str
        Other methods, with their own defaults, that are tried and measured beside it; ``all`` stands for all of them.
    request : tuple of (str, value)
        One of ``classes``, ``share``, ``where``, or ``forget`` for a file.
    aim : float or None
        Accuracy on what is to be forgotten, in [0, 1], that the stop rule aims at. None: as the kind of request has it.
    label, id_column, group, text, image : str or None
        Columns.
    max_length : int or None
        Tokens after which a text is cut.
    seeds : int
        How often the model forgets, and is trained anew, with seeds of their own.
    sweep : bool
        Whether parameters that were not given are chosen from a small grid, by held-out examples.
    retrain : bool
        Whether a model is trained anew without what is to be forgotten, to compare with.
    retrain_from : Path or None
        Folder of the checkpoint that training anew begins from. None: random weights.
    training : dict
        Settings of that training that were given.
    """

    model: str
    network: str | None
    method: str
    way: dict[str, Any]
    compare: tuple[str, ...]
    request: tuple[str, Any]
    aim: float | None
    label: str
    id_column: str | None
    group: str | None
    text: str | None
    image: str | None
    max_length: int | None
    seeds: int
    sweep: bool
    retrain: bool
    retrain_from: Path | None
    training: dict[str, Any]

    @classmethod
    def of(cls, recipe: Recipe) -> ForgetRecipe:
        """Take a recipe apart and check all of it.

        Raises
        ------
        RecipeError
            If a parameter or input is unknown, wrong, or missing.
        """
        for role in recipe.inputs:
            if role not in INPUTS:
                raise RecipeError(f"The inputs of a forget recipe have no {role!r}.{did_you_mean(role, INPUTS)}")
        params = dict(recipe.params)
        known = (*OWN, *TRAINING, *WAY)
        for name in params:
            if name not in known:
                raise RecipeError(f"The params of a forget recipe have no {name!r}.{did_you_mean(name, known)}")
        if not params.get("model"):
            raise RecipeError("A forget recipe needs the parameter 'model', the folder of a trained classifier.")
        recipe.input_path("data")
        method = str(params.get("method", "ugradsl+"))
        way = {name: params[name] for name in WAY if name in params}
        make_way(method, way, seed=recipe.seed)
        for name in ("sweep", "retrain"):
            if not isinstance(params.get(name, False), bool):
                raise parameter_error("a forget recipe", name, "a bool", params[name])
        sweep = bool(params.get("sweep", False))
        if sweep and not method.startswith("ugradsl"):
            raise RecipeError(f"A sweep chooses parameters of UGradSL; the method {method!r} has none of them.")
        if sweep and "held_out" not in recipe.inputs:
            raise RecipeError("A sweep chooses by held-out examples; add --held-out FILE.")
        return cls(
            model=str(params["model"]),
            network=_text(params.get("network")),
            method=method,
            way=way,
            compare=_compared(params.get("compare", ()), method),
            request=_request(recipe, params),
            aim=_aim(recipe, params),
            label=str(params.get("label", "label")),
            id_column=_text(params.get("id_column")),
            group=_text(params.get("group")),
            text=_text(params.get("text")),
            image=_text(params.get("image")),
            max_length=None if params.get("max_length") is None else _whole("max_length", params["max_length"]),
            seeds=_whole("seeds", params.get("seeds", 1)),
            sweep=sweep,
            retrain=bool(params.get("retrain", False)),
            retrain_from=None if params.get("retrain_from") is None else Path(str(params["retrain_from"])).expanduser(),
            training={name.removeprefix("retrain_"): params[name] for name in TRAINING if name in params},
        )

    @property
    def title(self) -> str:
        """What the method is, in a line."""
        return WAYS[self.method].summary

    def original_training(self, described: dict[str, Any]) -> TrainSettings:
        """How the original was trained: as its description says, but for what was given.

        What neither says is as in ``tamis forget demo``, or for a model of transformers as its ``Trainer`` has it.

        Raises
        ------
        RecipeError
            If nothing says it.
        """
        said = {**dict(described.get("training") or {}), **self.training}
        if "epochs" not in said or "learning_rate" not in said:
            raise RecipeError(
                "A model can only be trained anew if it is known how the original was; write 'training' into its "
                "classifier.json, or give --retrain-epochs and --retrain-learning-rate."
            )
        usual: dict[str, Any] = {"optimizer": "adamw", "batch_rows": 8, "schedule": "linear"}
        if self.network is not None or "network" in described:
            usual = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4, "batch_rows": 64, "schedule": "cosine"}
        for name in said:
            if name not in TrainSettings().to_json():
                raise RecipeError(
                    f"The 'training' of classifier.json has no {name!r}.{did_you_mean(name, TrainSettings().to_json())}"
                )
        settings = {"warmup": 0.0, "precision": "float32", **usual, **said, "tune": "full", "seed": 0}
        made = TrainSettings(**{**settings, "micro_tokens": settings["batch_rows"]})
        made.validate()
        return made


def _compared(names: Any, method: str) -> tuple[str, ...]:
    if not isinstance(names, list | tuple):
        raise parameter_error("a forget recipe", "compare", "a list of methods", names)
    named = WAYS if "all" in names else map(str, names)
    found = tuple(dict.fromkeys(each for each in named if each != method))
    if names and not found:
        raise RecipeError(f"A forget recipe compares {method!r} with other methods; name others than itself.")
    for name in found:
        make_way(name, {}, seed=0)
    return found


def _aim(recipe: Recipe, params: dict[str, Any]) -> float | None:
    aim = params.get("aim")
    if aim is None:
        return None
    if isinstance(aim, bool) or not isinstance(aim, int | float) or not 0 <= aim <= 1:
        raise parameter_error("a forget recipe", "aim", "a float in [0, 1]", aim)
    if "held_out" not in recipe.inputs:
        raise RecipeError("An aim is for the rule that stops by held-out examples; add --held-out FILE.")
    return float(aim)


def _request(recipe: Recipe, params: dict[str, Any]) -> tuple[str, Any]:
    given = [(name, params[name]) for name in REQUESTS if params.get(name) is not None]
    if "forget" in recipe.inputs:
        given.append(("forget", recipe.inputs["forget"]))
    if len(given) != 1:
        said = " and ".join(name for name, _ in given) or "nothing"
        raise RecipeError(
            "A forget recipe names what is to be forgotten in one way: classes, a share, where COLUMN=VALUE, or a file "
            f"of ids or a Selection. Got {said}."
        )
    name, value = given[0]
    if name == "share" and not (isinstance(value, int | float) and 0 < value < 1):
        raise parameter_error("a forget recipe", "share", "a float in (0, 1)", value)
    return name, value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise parameter_error("a forget recipe", name, "an int in [1, inf)", value)
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
