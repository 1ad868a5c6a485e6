"""Everything that a train recipe says."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tamis.curate.tuning.arms import ARMS
from tamis.errors import RecipeError, did_you_mean, parameter_error
from tamis.models.causal_lm import DTYPES
from tamis.recipe import Recipe
from tamis.train.settings import TrainSettings

NOT_IN_RECIPE = ("seed", "checkpoint_every", "micro_tokens")


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """Parameters of a train run beside those of the training.

    Parameters
    ----------
    base : str
        Model to train, as :func:`tamis.models.causal_lm.find_model` names it; its tokenizer made the ids.
    tokens_of : str, optional
        Model whose tokenizer made the ids, to compare with. Default: the base is trusted to have it.
    arms : list of str
        What to train on, see :data:`tamis.curate.tuning.arms.ARMS`. The model of the first one is saved.
    seeds : int, default=1
        Trainings of each arm.
    hold_out : float, default=0.1
        Share of the records that is not trained on, to measure with; 0 for none.
    questions : int, default=20
        Sums that the models are asked before and after; 0 for none.
    tasks : list of str
        Tasks of the LM evaluation harness that the models are asked before and after.
    task_folder : str, optional
        Folder of further task files.
    task_limit : int, optional
        Questions of each task. Default: all.
    dtype : str, default="auto"
        Of the saved model: float32, bfloat16 or float16; ``auto`` is float32 on the CPU, bfloat16 on a GPU.
    """

    base: str
    tokens_of: str | None = None
    arms: tuple[str, ...] = ("kept",)
    seeds: int = 1
    hold_out: float = 0.1
    questions: int = 20
    tasks: tuple[str, ...] = ()
    task_folder: str | None = None
    task_limit: int | None = None
    dtype: str = "auto"

    def validate(self) -> None:
        """Raise RecipeError for the first parameter that is wrong."""
        name = "a train recipe"
        for parameter in ("base", "tokens_of"):
            value = getattr(self, parameter)
            if not isinstance(value, str) and (value is not None or parameter == "base"):
                raise parameter_error(name, parameter, "the name of a model", value)
        if not isinstance(self.arms, tuple):
            raise parameter_error(name, "arms", f"a list of {', '.join(ARMS)}", self.arms)
        for arm in self.arms:
            if arm not in ARMS:
                raise RecipeError(f"There is no arm called {arm!r}.{did_you_mean(str(arm), list(ARMS))}")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise parameter_error(name, "arms", f"different ones of {', '.join(ARMS)}", list(self.arms))
        if not isinstance(self.tasks, tuple) or not all(isinstance(task, str) for task in self.tasks):
            raise parameter_error(name, "tasks", "a list of names of lm-eval tasks", self.tasks)
        if self.task_folder is not None and not isinstance(self.task_folder, str):
            raise parameter_error(name, "task_folder", "the path of a folder", self.task_folder)
        for parameter, least in (("seeds", 1), ("questions", 0), ("task_limit", 1)):
            value = getattr(self, parameter)
            if value is None and parameter == "task_limit":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise parameter_error(name, parameter, f"an int in [{least}, inf)", value)
        if isinstance(self.hold_out, bool) or not isinstance(self.hold_out, int | float) or not 0 <= self.hold_out < 1:
            raise parameter_error(name, "hold_out", "a float in [0, 1)", self.hold_out)
        if self.dtype not in ("auto", *DTYPES):
            raise parameter_error(name, "dtype", f"one of {', '.join(map(repr, ('auto', *DTYPES)))}", self.dtype)


def tune_recipe(recipe: Recipe) -> tuple[TuneSettings, TrainSettings]:
    """Take a train recipe apart and check all of it.

    Raises
    ------
    RecipeError
        If a parameter or input is unknown, wrong, or missing.
    """
    for role in recipe.inputs:
        if role != "tokens":
            raise RecipeError(f"The inputs of a train recipe have no {role!r}.{did_you_mean(role, ['tokens'])}")
    own = [each.name for each in fields(TuneSettings)]
    training = [each.name for each in fields(TrainSettings) if each.name not in NOT_IN_RECIPE]
    for name in recipe.params:
        if name not in (*own, *training):
            raise RecipeError(f"The params of a train recipe have no {name!r}.{did_you_mean(name, [*own, *training])}")
    if not recipe.params.get("base"):
        raise RecipeError("A train recipe needs the parameter 'base', the model to train; add --base MODEL.")
    given: dict[str, Any] = dict(recipe.params)
    for name in ("arms", "tasks"):
        if isinstance(given.get(name), list):
            given[name] = tuple(given[name])
    settings = TuneSettings(**{k: given[k] for k in own if k in given})
    train = TrainSettings(**{k: given[k] for k in training if k in given}, seed=recipe.seed)
    settings.validate()
    train.validate()
    if train.patience and not settings.hold_out:
        raise RecipeError("Early stopping (--patience) needs held-out records; set --hold-out above 0.")
    return settings, train
