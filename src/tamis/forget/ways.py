"""The ways to forget by the name that recipes and the command line use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tamis.errors import RecipeError, did_you_mean
from tamis.forget.baselines import (
    BadTeacher,
    FineTune,
    GradientAscent,
    L1Sparse,
    NegGradPlus,
    RandomLabels,
    SalUn,
    Scrub,
)
from tamis.forget.forgetter import Forgetter
from tamis.forget.ugradsl import UGradSL

UGRADSL_ONLY = ("alpha", "p", "repair", "schedule", "ramp", "reduction", "force")
SHARED = ("learning_rate", "epochs", "batch_rows", "momentum", "weight_decay", "clip")


@dataclass(frozen=True)
class Way:
    """One way to forget.

    Attributes
    ----------
    made_by : type
    fixed : mapping
        Parameters that the name stands for.
    summary : str
    """

    made_by: type[Forgetter]
    fixed: Mapping[str, Any]
    summary: str


WAYS: dict[str, Way] = {
    "ugradsl+": Way(UGradSL, {"plus": True}, "ascent on smoothed labels beside descent; epochs over what stays"),
    "ugradsl": Way(UGradSL, {"plus": False}, "ascent on smoothed labels beside descent; epochs over what goes"),
    "fine-tune": Way(FineTune, {}, "train on what stays"),
    "ascent": Way(GradientAscent, {}, "ascent on what goes"),
    "neggrad+": Way(NegGradPlus, {}, "descent on what stays, ascent on what goes, labels as they are"),
    "random-labels": Way(RandomLabels, {}, "train on all, with wrong labels for what goes"),
    "l1-sparse": Way(L1Sparse, {}, "train on what stays with an l1 penalty that falls to 0"),
    "salun": Way(SalUn, {}, "random labels on the half of the weights that matters most for what goes"),
    "scrub": Way(Scrub, {}, "away from the old model on what goes, close to it on what stays"),
    "bad-teacher": Way(BadTeacher, {}, "follow an untrained network on what goes, the old one on what stays"),
}


def make_way(name: str, params: Mapping[str, Any], *, seed: int) -> Forgetter:
    """Make a way to forget from its name and the parameters that were given.

    Raises
    ------
    RecipeError
        If there is none of that name, or a parameter is none of its own or wrong.

    Examples
    --------
    >>> make_way("ugradsl", {"alpha": -1.0}, seed=3)
    UGradSL(plus=False, alpha=-1.0, seed=3)
    """
    if name not in WAYS:
        raise RecipeError(f"There is no way to forget called {name!r}.{did_you_mean(name, WAYS)}")
    way = WAYS[name]
    for parameter in params:
        if parameter not in way.made_by.parameter_names():
            raise RecipeError(
                f"The method {name!r} has no parameter {parameter!r}; it has "
                f"{', '.join(way.made_by.parameter_names())}."
            )
    made = way.made_by(**{**way.fixed, **params, "seed": seed})
    made.validate()
    return made
