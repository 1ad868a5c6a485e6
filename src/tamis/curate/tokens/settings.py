"""Everything that a token recipe says: the ranking, the models, the warm-up, and how the pool is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tamis.curate.tokens.cleaner import TokenCleaner
from tamis.errors import RecipeError, did_you_mean, parameter_error
from tamis.models.causal_lm import DTYPES
from tamis.recipe import Recipe
from tamis.recipe.pool import READ_OPTIONS
from tamis.train.settings import TrainSettings

MODES = ("fixed", "self-evolving")
SLICES = ("shuffled", "contiguous")
TRAINED = ("epochs", "batch_rows", "learning_rate", "schedule", "warmup", "weight_decay", "clip", "tune", "lora_rank",
           "lora_alpha", "lora_dropout", "normalise")  # fmt: skip
"""Settings of training that a recipe may give; all but ``batch_rows`` and ``epochs`` under ``train_<name>``."""
_BARE = ("epochs", "batch_rows", "learning_rate", "tune", "lora_rank", "lora_alpha")


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """Parameters of a token run beside those of :class:`TokenCleaner` and of the training.

    Parameters
    ----------
    base : str
        Model whose fine-tuning the mask is for, as :func:`tamis.models.causal_lm.find_model` names it.
    reference : str, optional
        Model to compare with. Default: the base, fine-tuned on the warm-up records.
    warmup : int, optional
        Warm-up records to draw from the pool. Default: none, then the recipe names a file of them.
    hold_out : bool, default=True
        Leave the warm-up records out of the pool that is cleaned. The published recipe's leak is False: the reference
        has seen them, so their scores are inflated.
    mode : {"fixed", "self-evolving"}, default="fixed"
        One reference, or one that learns from slice to slice.
    slices : int, default=5
        Slices of the self-evolving mode.
    slicing : {"shuffled", "contiguous"}, default="shuffled"
        Whether slices are drawn at random; ``contiguous`` is the published way.
    limit : int, optional
        Take only so many records from the beginning of the pool.
    max_length : int, default=2048
        Tokens after which a record is cut; never more than the model's context.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Of the models that score; the losses are computed in float32 in any case.
    check_rows : int, default=16
        Records that are scored a second time in bfloat16, to see how many decisions hang on it; 0 for none.
    allow_same : bool, default=False
        Take a reference that is the base itself.
    """

    base: str
    reference: str | None = None
    warmup: int | None = None
    hold_out: bool = True
    mode: str = "fixed"
    slices: int = 5
    slicing: str = "shuffled"
    limit: int | None = None
    max_length: int = 2048
    dtype: str = "auto"
    check_rows: int = 16
    allow_same: bool = False

    def validate(self) -> None:
        """Raise RecipeError for the first parameter that is wrong, or for two that do not go together."""
        name = "a tokens recipe"
        for parameter in ("base", "reference"):
            value = getattr(self, parameter)
            if not isinstance(value, str) and (value is not None or parameter == "base"):
                raise parameter_error(name, parameter, "the name of a model", value)
        for parameter, known in (("mode", MODES), ("slicing", SLICES), ("dtype", ("auto", *DTYPES))):
            if getattr(self, parameter) not in known:
                expected = " or ".join(map(repr, known)) if len(known) == 2 else f"one of {', '.join(map(repr, known))}"
                raise parameter_error(name, parameter, expected, getattr(self, parameter))
        whole = (("slices", 2), ("max_length", 2), ("check_rows", 0), ("warmup", 1), ("limit", 2))
        for parameter, least in whole:
            value = getattr(self, parameter)
            if value is None and parameter in ("warmup", "limit"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise parameter_error(name, parameter, f"an int in [{least}, inf)", value)
        for parameter in ("hold_out", "allow_same"):
            if not isinstance(getattr(self, parameter), bool):
                raise parameter_error(name, parameter, "a bool", getattr(self, parameter))
        if self.reference is not None and (self.warmup is not None or self.mode == "self-evolving"):
            other = "warm-up records" if self.warmup is not None else "the self-evolving mode"
            raise RecipeError(f"A tokens recipe takes a reference model or {other}, which makes one; leave one away.")


@dataclass(frozen=True)
class TokenRecipe:
    """A token recipe, taken apart.

    Attributes
    ----------
    cleaner : TokenCleaner
    settings : TokenSettings
    training : TrainSettings
        Of the warm-up, and of each stage of the self-evolving mode.
    """

    cleaner: TokenCleaner
    settings: TokenSettings
    training: TrainSettings

    @classmethod
    def of(cls, recipe: Recipe) -> TokenRecipe:
        """Take a recipe apart and check all of it.

        Raises
        ------
        RecipeError
            If a parameter or input is unknown, wrong, or missing.
        """
        for role in recipe.inputs:
            if role not in ("pool", "warmup"):
                raise RecipeError(
                    f"The inputs of a tokens recipe have no {role!r}.{did_you_mean(role, ['pool', 'warmup'])}"
                )
        params: dict[str, Any] = {k: v for k, v in recipe.params.items() if k not in READ_OPTIONS}
        ranking = [name for name in TokenCleaner.parameter_names() if name != "seed"]
        own = [each.name for each in fields(TokenSettings)]
        training = {name if name in _BARE else f"train_{name}": name for name in TRAINED}
        for name in params:
            if name not in (*ranking, *own, *training):
                known = did_you_mean(name, [*ranking, *own, *training])
                raise RecipeError(f"The params of a tokens recipe have no {name!r}.{known}")
        if not params.get("base"):
            raise RecipeError(
                "A tokens recipe needs the parameter 'base', the model to be fine-tuned; add --base MODEL."
            )
        cleaner = TokenCleaner(**{k: params[k] for k in ranking if k in params}, seed=recipe.seed)
        settings = TokenSettings(**{k: params[k] for k in own if k in params})
        train = TrainSettings(**{name: params[k] for k, name in training.items() if k in params}, seed=recipe.seed)
        cleaner.validate()
        settings.validate()
        train.validate()
        if settings.reference is None and settings.mode == "fixed":
            if settings.warmup is None and "warmup" not in recipe.inputs:
                raise RecipeError(
                    "A tokens recipe needs a reference: add --warmup N (records of the pool) or --warmup FILE to make "
                    "one, or --reference MODEL."
                )
            if settings.warmup is not None and "warmup" in recipe.inputs:
                raise RecipeError("The warm-up records are a number of the pool's or a file, not both.")
        elif "warmup" in recipe.inputs or settings.warmup is not None:
            raise RecipeError(
                "The self-evolving mode makes its references from the pool's slices and a given reference needs none; "
                "leave --warmup away."
            )
        return cls(cleaner, settings, train)
