"""Everything that a prune recipe says."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from tamis.errors import RecipeError, did_you_mean, parameter_error
from tamis.models.causal_lm import DTYPES
from tamis.prune.criteria_list import CRITERIA, FROM_FILE, PROTECTED_BY_DEFAULT
from tamis.prune.layer_ranges import read_ranges
from tamis.prune.pruner import LayerPruner

TIED = ("tune", "untie", "refuse")
FIDELITIES = ("product", "paper")
_HEAL = re.compile(r"none|head|lora|last[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class PruneSettings:
    """Parameters of a prune run beside those of the healing.

    Parameters
    ----------
    model : str
        As :func:`tamis.models.causal_lm.find_model` names it.
    ratio : float, default=0.25
        Share of the layers to drop; the number is its floor.
    n_drop, n_layers : int, optional
        How many layers go, or how many stay, instead of a ratio.
    drop, keep : str, optional
        Which layers go, or stay, as ranges: nothing is scored then.
    criterion : str, default="auto"
        One of :data:`tamis.prune.criteria_list.CRITERIA`.
    candidates : list of str, optional
        What ``auto`` chooses from.
    n_windows, seq_len : int
        Calibration: windows, and tokens of each.
    magnitude_reduction, magnitude_p, taylor_absolute
        See :mod:`tamis.prune.criteria`.
    protect_first, protect_last : int, optional
        Layers at either end that stay. Default: by criterion, see
        :data:`tamis.prune.criteria_list.PROTECTED_BY_DEFAULT`.
    protect : str, optional
        Further layers that stay, as ranges.
    heal : str, optional
        ``none``, ``head`` (norm and head), ``lastN`` (these and the last N layers) or ``lora``. Default: ``last3`` if
        there are data, else ``none``.
    tied : {"tune", "untie", "refuse"}, default="tune"
        What to do when the head that should learn is the embedding matrix too: let both change, make a copy (which adds
        as many weights as the vocabulary has embeddings), or stop.
    distill, temperature : float
        Share of the loss that is the divergence from the parent's predictions, and how soft these are made.
    max_length : int, default=256
        Tokens after which a record to heal with is cut.
    limit : int, optional
        Take only the first N records of the data.
    held_records : int, default=64
        Records that are held out to measure with; 24 more are held out to choose with.
    questions : int, default=20
        Sums, and as many bracket questions, that the models are asked.
    tasks, task_folder, task_limit
        Tasks of the LM evaluation harness; see :func:`tamis.evidence.lm_tasks.task_scores`.
    curve : int, default=3
        How many layers beyond those that go the curve of perplexity is drawn for.
    speed : bool, default=True
        Measure tokens a second of both models.
    config : list of str
        ``KEY=JSON`` entries of the model's configuration that depend on the layers and that tamis does not know.
    allow_post_norm : bool, default=False
        Cut a model whose layers are normed behind and not before.
    cut : bool, default=True
        False to score and choose only.
    fidelity : {"product", "paper"}, default="product"
        ``paper``: reverse order, no protection, 1e-5 for LoRA too.
    dtype : str, default="auto"
        That the model is scored and measured in.
    """

    model: str
    ratio: float = 0.25
    n_drop: int | None = None
    n_layers: int | None = None
    drop: str | None = None
    keep: str | None = None
    criterion: str = "auto"
    candidates: tuple[str, ...] = ("reverse", "bi", "angular")
    n_windows: int = 10
    seq_len: int = 128
    magnitude_reduction: str = "norm_sum"
    magnitude_p: int = 1
    taylor_absolute: str = "total"
    protect_first: int | None = None
    protect_last: int | None = None
    protect: str | None = None
    heal: str | None = None
    tied: str = "tune"
    distill: float = 0.0
    temperature: float = 1.0
    max_length: int = 256
    limit: int | None = None
    held_records: int = 64
    questions: int = 20
    tasks: tuple[str, ...] = ()
    task_folder: str | None = None
    task_limit: int | None = None
    curve: int = 3
    speed: bool = True
    config: tuple[str, ...] = ()
    allow_post_norm: bool = False
    cut: bool = True
    fidelity: str = "product"
    dtype: str = "auto"

    def validate(self) -> None:
        """Raise RecipeError for the first parameter that is wrong, or for two that do not go together."""
        name = "a prune recipe"
        if not isinstance(self.model, str):
            raise parameter_error(name, "model", "the name of a model", self.model)
        if isinstance(self.criterion, str) and self.criterion not in CRITERIA:
            raise _unknown(self.criterion)
        for parameter, known in _CHOICES.items():
            if getattr(self, parameter) not in known:
                expected = f"one of {', '.join(map(repr, known))}"
                raise parameter_error(name, parameter, expected, getattr(self, parameter))
        for parameter, least in _WHOLE.items():
            value = getattr(self, parameter)
            if value is None and parameter in _OPEN:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise parameter_error(name, parameter, f"an int in [{least}, inf)", value)
        for parameter in ("drop", "keep", "protect", "heal", "task_folder"):
            value = getattr(self, parameter)
            if value is not None and not isinstance(value, str):
                raise parameter_error(name, parameter, "text", value)
        for parameter in ("speed", "allow_post_norm", "cut"):
            if not isinstance(getattr(self, parameter), bool):
                raise parameter_error(name, parameter, "a bool", getattr(self, parameter))
        for parameter in ("candidates", "tasks", "config"):
            value = getattr(self, parameter)
            if not isinstance(value, tuple) or not all(isinstance(each, str) for each in value):
                raise parameter_error(name, parameter, "a list of texts", value)
        for each in self.candidates:
            if each not in CRITERIA or each == "auto":
                raise _unknown(each)
        if not self.candidates or len(set(self.candidates)) < len(self.candidates):
            raise parameter_error(name, "candidates", "at least one criterion, each once", list(self.candidates))
        if self.heal is not None and not _HEAL.fullmatch(self.heal):
            raise parameter_error(name, "heal", "'none', 'head', 'lastN' such as 'last3', or 'lora'", self.heal)
        if not _number(self.distill) or not 0 <= self.distill <= 1:
            raise parameter_error(name, "distill", "a float in [0, 1]", self.distill)
        if not _number(self.temperature) or self.temperature <= 0:
            raise parameter_error(name, "temperature", "a float > 0", self.temperature)
        if not _number(self.ratio) or not 0 < self.ratio < 1:
            raise parameter_error(name, "ratio", "a float in (0, 1)", self.ratio)
        self.config_values()
        said = [each for each in ("n_drop", "n_layers", "drop", "keep") if getattr(self, each) is not None]
        if len(said) > 1:
            raise RecipeError(f"A prune recipe takes {said[0]!r} or {said[1]!r}, not both.")

    def config_values(self) -> dict[str, Any]:
        """Entries of the configuration that the user gives.

        Raises
        ------
        RecipeError
            If one is no ``KEY=JSON``.
        """
        found: dict[str, Any] = {}
        for each in self.config:
            key, sign, value = each.partition("=")
            try:
                found[key] = json.loads(value)
            except ValueError:
                sign = ""
            if not sign or not key:
                raise parameter_error("a prune recipe", "config", "entries KEY=JSON", each)
        return found

    def given(self, n_layers: int) -> tuple[int, ...] | None:
        """Layers that the recipe itself tells to drop; None if a criterion decides."""
        if self.drop is not None:
            return read_ranges(self.drop, n_layers)
        if self.keep is not None:
            kept = set(read_ranges(self.keep, n_layers))
            return tuple(layer for layer in range(n_layers) if layer not in kept)
        return None

    def pruner(self, criterion: str, n_layers: int, seed: int) -> LayerPruner:
        """The estimator, with the protection that this criterion needs by default."""
        name = criterion.removesuffix(f", {FROM_FILE}")  # scores from a file spare what the same scores spared before
        first, last = (0, 0) if self.fidelity == "paper" else PROTECTED_BY_DEFAULT.get(name, (0, 0))
        first = first if self.protect_first is None else self.protect_first
        last = last if self.protect_last is None else self.protect_last
        n_drop = self.n_drop
        if self.n_layers is not None:
            if self.n_layers >= n_layers:
                raise RecipeError(
                    f"{self.n_layers} layers are to stay, but the model has {n_layers}; give a smaller number."
                )
            n_drop = n_layers - self.n_layers
        protect = () if self.protect is None else read_ranges(self.protect, n_layers)
        given = self.given(n_layers)
        if given is not None:
            if not 0 < len(given) < n_layers:
                raise RecipeError(
                    f"Of {n_layers} layers, {len(given)} are to go; at least one has to go and at least one to stay."
                )
            n_drop, first, last, protect = len(given), 0, 0, ()
        return LayerPruner(
            ratio=self.ratio, n_drop=n_drop, protect_first=first, protect_last=last, protect=protect,
            rank_by=criterion if criterion in ("reverse", "random") else "score", seed=seed,
        )  # fmt: skip


_CHOICES: dict[str, tuple[Any, ...]] = {
    "criterion": tuple(CRITERIA), "tied": TIED, "fidelity": FIDELITIES, "dtype": ("auto", *DTYPES),
    "magnitude_reduction": ("norm_sum", "pow_sum", "concat"), "magnitude_p": (1, 2),
    "taylor_absolute": ("total", "window"),
}  # fmt: skip
_WHOLE = {"n_drop": 1, "n_layers": 1, "n_windows": 1, "seq_len": 2, "protect_first": 0, "protect_last": 0,
          "max_length": 2, "limit": 2, "held_records": 1, "questions": 0, "task_limit": 1, "curve": 0}  # fmt: skip
_OPEN = ("n_drop", "n_layers", "protect_first", "protect_last", "limit", "task_limit")
"""Numbers that need not be said."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _unknown(criterion: str) -> RecipeError:
    return RecipeError(f"There is no criterion called {criterion!r}.{did_you_mean(criterion, CRITERIA)}")
