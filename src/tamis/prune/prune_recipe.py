"""A prune recipe, taken apart: what the run is told, how it heals, and whether its inputs are enough for that."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tamis.errors import RecipeError, did_you_mean
from tamis.prune.criteria_list import CRITERIA, GIVEN
from tamis.prune.pruner import LayerPruner
from tamis.prune.settings import PruneSettings
from tamis.recipe import Recipe
from tamis.recipe.pool import READ_OPTIONS
from tamis.train.settings import TrainSettings

INPUTS = ("data", "calibration", "held_out", "scores")
PARTIAL_RATE, LORA_RATE = 1e-5, 1e-4
BATCH_ROWS, PAPER_ROWS = 16, 64
WARMUP_SHARE = 0.1
PROTECTION = ("protect", "protect_first", "protect_last")
TRAINED = ("steps", "epochs", "batch_rows", "learning_rate", "lora_rank")


@dataclass(frozen=True)
class PruneRecipe:
    """A prune recipe, taken apart.

    Attributes
    ----------
    settings : PruneSettings
    heal : str
        ``none``, ``head``, ``lastN`` or ``lora``.
    training : TrainSettings
        Of the healing.
    """

    settings: PruneSettings
    heal: str
    training: TrainSettings

    @classmethod
    def of(cls, recipe: Recipe) -> PruneRecipe:
        """Take a recipe apart and check all of it.

        Raises
        ------
        RecipeError
            If a parameter or input is unknown, wrong, or missing.
        """
        for role in recipe.inputs:
            if role not in INPUTS:
                raise RecipeError(f"The inputs of a prune recipe have no {role!r}.{did_you_mean(role, INPUTS)}")
        params = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.params.items() if k not in READ_OPTIONS}
        own = [each.name for each in fields(PruneSettings)]
        for name in params:
            if name not in (*own, *TRAINED):
                known = did_you_mean(name, [*own, *TRAINED])
                raise RecipeError(f"The params of a prune recipe have no {name!r}.{known}")
        if not params.get("model"):
            raise RecipeError("A prune recipe needs the parameter 'model', the model to cut.")
        _require_one_way(params)
        if params.get("fidelity") == "paper":
            params.setdefault("criterion", "reverse")
        settings = PruneSettings(**{k: params[k] for k in own if k in params})  # type: ignore[arg-type]
        settings.validate()
        heal = settings.heal or ("last3" if "data" in recipe.inputs else "none")
        training = _training(settings, heal, {k: params[k] for k in TRAINED if k in params}, recipe.seed)
        _require_inputs(settings, heal, recipe)
        return cls(settings, heal, training)

    def require_room(self, n_layers: int, criterion: str, seed: int) -> LayerPruner:
        """Return the estimator for a criterion, if a model of so many layers leaves it enough to drop and to heal.

        Raises
        ------
        RecipeError
            If it does not.
        """
        pruner = self.settings.pruner(criterion, n_layers, seed)
        pruner.require_free(n_layers)
        stay = n_layers - pruner.count(n_layers)
        if self.heal.startswith("last") and int(self.heal.removeprefix("last")) > stay:
            raise RecipeError(
                f"Healing ({self.heal}) tunes {self.heal.removeprefix('last')} layers, but {stay} stay; use --heal "
                f"last{stay}, head or lora."
            )
        return pruner


def _training(settings: PruneSettings, heal: str, given: dict[str, Any], seed: int) -> TrainSettings:
    """Settings of the healing: those of the official code, but for LoRA's rate and smaller steps.

    1e-5 under-trains LoRA; steps of 64 records are for a GPU. ``fidelity="paper"`` has both.
    """
    paper = settings.fidelity == "paper"
    tune = {"lora": "lora", "head": "last:0", "none": "last:0"}.get(heal) or f"last:{heal.removeprefix('last')}"
    rate = LORA_RATE if heal == "lora" and not paper else PARTIAL_RATE
    rows = PAPER_ROWS if paper else BATCH_ROWS
    training = TrainSettings(
        **{"epochs": 2.0, "batch_rows": rows, "learning_rate": rate, "lora_rank": 8, **given}, tune=tune, lora_alpha=16,
        lora_dropout=0.05, clip=1.0, schedule="linear", warmup=WARMUP_SHARE, seed=seed,
    )  # fmt: skip
    training.validate()
    return training


def _require_one_way(params: dict[str, Any]) -> None:
    """Raise RecipeError where two parameters say the same thing, of which one would be passed over."""
    number = next((name for name in ("n_drop", "n_layers", "drop", "keep") if params.get(name) is not None), None)
    if number is not None and params.get("ratio") is not None:
        raise RecipeError(f"A prune recipe takes 'ratio' or {number!r}, not both; leave one away.")
    spared = next((name for name in PROTECTION if params.get(name) is not None), None)
    if number in ("drop", "keep") and spared is not None:
        raise RecipeError(f"With {number!r} the layers are given, so that {spared!r} protects nothing; leave one away.")


def _require_inputs(settings: PruneSettings, heal: str, recipe: Recipe) -> None:
    """Raise RecipeError for what is told and cannot be done with these inputs."""
    if heal != "none" and "data" not in recipe.inputs:
        raise RecipeError(f"Healing ({heal}) needs records to learn from; add --data FILE, or --heal none.")
    explicit = settings.drop is not None or settings.keep is not None
    if explicit and (recipe.params.get("criterion") or "scores" in recipe.inputs):
        raise RecipeError("Layers are given or chosen by a criterion, not both; leave the criterion or the list away.")
    if "scores" in recipe.inputs:
        if recipe.params.get("criterion"):
            raise RecipeError("Scores are read from a file or computed by a criterion, not both; leave one away.")
        return
    criterion = GIVEN if explicit else settings.criterion
    needed = settings.candidates if criterion == "auto" else (criterion,)
    texts = "data" in recipe.inputs or "calibration" in recipe.inputs
    for each in needed:
        if each != GIVEN and CRITERIA[each].reads_text and not texts:
            raise RecipeError(
                f"The criterion {each!r} needs texts; add --data FILE or --calibration FILE, or take --criterion "
                "reverse or magnitude, which need none."
            )
    if criterion == "auto" and "data" not in recipe.inputs and "held_out" not in recipe.inputs:
        raise RecipeError(
            "The criterion 'auto' compares cuts on held-out texts; add --data FILE or --held-out FILE, or name a "
            "criterion."
        )
