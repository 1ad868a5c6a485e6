"""What a rating run is told: who rates, how often, on what terms. Checked before anything is spent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tamis.errors import RecipeError, did_you_mean, parameter_error
from tamis.recipe.pool import READ_OPTIONS

_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*")
SCORINGS = ("expected", "generate")
STRUCTURED = ("auto", "schema", "json", "off")


@dataclass(frozen=True)
class RatingSettings:
    """What the ratings depend on.

    Parameters
    ----------
    raters : tuple of str
        Judges, each ``[NAME=]SCHEME:REST``; see :func:`tamis.curate.rating.raters.parse_rater`.
    samples : int
        Ratings of each row by each judge that samples its replies.
    limit : int or None
        Rate only the first ``limit`` rows of the pool.
    scoring : {"expected", "generate"}
        How a local model rates: the expected score under the probabilities of the rating tokens, or by writing a reply.
    temperature : float or None
        None takes 0 for one sample and 1 for several.
    max_tokens : int
        Longest reply that is written.
    max_chars : int
        Longest sample; longer ones are cut in the middle and flagged.
    structured : {"auto", "schema", "json", "off"}
        What an endpoint is asked to hold a reply to.
    truth : str or None
        Column of true ratings, for scripted judges only.
    embedder : str or None
        Embedder of the neighbours from which each judge's transition matrix is estimated; None leaves it out.
    """

    raters: tuple[str, ...]
    samples: int = 1
    limit: int | None = None
    scoring: str = "expected"
    temperature: float | None = None
    max_tokens: int = 128
    max_chars: int = 8000
    structured: str = "auto"
    truth: str | None = None
    embedder: str | None = "minilm"

    def __post_init__(self) -> None:
        if not self.raters:
            raise RecipeError("A rating needs a judge: give --rater, e.g. --rater hf:smollm2 or --rater openai:MODEL.")
        for rater in self.raters:
            if not isinstance(rater, str):
                raise parameter_error("rate", "raters", "a list of texts such as 'hf:smollm2'", rater)
        for name, low in (("samples", 1), ("limit", 1), ("max_tokens", 1), ("max_chars", 200)):
            _require_whole(name, getattr(self, name), low=low, optional=name == "limit")
        for name in ("truth", "embedder"):
            if not isinstance(getattr(self, name), str | None):
                raise parameter_error("rate", name, "text or None", getattr(self, name))
        for name, known in (("scoring", SCORINGS), ("structured", STRUCTURED)):
            if getattr(self, name) not in known:
                raise parameter_error("rate", name, f"one of {', '.join(known)}", getattr(self, name))
        if self.temperature is not None and not (_is_number(self.temperature) and 0 <= self.temperature <= 2):
            raise parameter_error("rate", "temperature", "a float in [0, 2]", self.temperature)

    @property
    def heat(self) -> float:
        """The temperature that is used."""
        return self.temperature if self.temperature is not None else float(self.samples > 1)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RatingSettings:
        """Take the settings out of a recipe's parameters, which may also say how the pool is read.

        Raises
        ------
        RecipeError
            If a name is unknown or a value is none that the setting can have.
        """
        known = [f.name for f in fields(cls)]
        _require_known("params", params, [*known, *READ_OPTIONS])
        given = {name: params[name] for name in known if name in params}
        raters = given.get("raters") or ()
        if not isinstance(raters, str | list | tuple):
            raise parameter_error("rate", "raters", "a list of texts such as 'hf:smollm2'", raters)
        return cls(**{**given, "raters": (raters,) if isinstance(raters, str) else tuple(raters)})

    def to_params(self) -> dict[str, Any]:
        """Return the settings as a recipe's parameters."""
        return {**asdict(self), "raters": list(self.raters)}


@dataclass(frozen=True)
class RatingLimits:
    """What bounds and paces a rating run without changing a rating.

    Parameters
    ----------
    budget_usd, budget_tokens : float, int or None
        No call is begun that could exceed them. What the run spent before it was resumed counts.
    max_missing : float
        Share of ratings that may be unmeasured before the run counts as failed (exit code 3).
    concurrency : int
        Most calls of an endpoint at once; fewer are made while it is slow or refuses.
    timeout : float
        Seconds to wait for a reply.
    attempts : int
        Calls for one rating whose replies cannot be used.
    patience : int
        Calls for one rating that fail for a reason that may pass.
    first_wait : float
        Seconds to wait at most after the first such call; doubled after each further one.
    batch : bool
        Whether endpoints are asked through their batch interface.
    """

    budget_usd: float | None = None
    budget_tokens: int | None = None
    max_missing: float = 0.01
    concurrency: int = 32
    timeout: float = 60.0
    attempts: int = 3
    patience: int = 8
    first_wait: float = 0.5
    batch: bool = False

    def __post_init__(self) -> None:
        for name in ("budget_usd", "timeout", "first_wait"):
            value = getattr(self, name)
            if not (value is None and name == "budget_usd") and not (_is_number(value) and value > 0):
                raise parameter_error("rate", name, "a positive number", value)
        for name in ("budget_tokens", "concurrency", "attempts", "patience"):
            _require_whole(name, getattr(self, name), low=1, optional=name == "budget_tokens")
        if not _is_number(self.max_missing) or not 0 <= self.max_missing <= 1:
            raise parameter_error("rate", "max_missing", "a share such as 1% or 0.01", self.max_missing)
        if not isinstance(self.batch, bool):
            raise parameter_error("rate", "batch", "true or false", self.batch)

    @classmethod
    def from_limits(cls, limits: Mapping[str, Any]) -> RatingLimits:
        """Take the limits out of a recipe, where ``max_missing`` may also be text such as ``"1%"``.

        Raises
        ------
        RecipeError
            If a name is unknown or a value is none that the limit can have.
        """
        _require_known("limits", limits, [f.name for f in fields(cls)])
        share = limits.get("max_missing")
        return cls(**{**limits, **({"max_missing": parse_share(share)} if isinstance(share, str) else {})})

    def to_limits(self) -> dict[str, Any]:
        """Return the limits as a recipe keeps them."""
        return asdict(self)


def parse_share(text: str) -> float:
    """Read a share: a percentage or a number in [0, 1].

    Raises
    ------
    RecipeError
        If the text is neither.

    Examples
    --------
    >>> parse_share("1%"), parse_share("0.05")
    (0.01, 0.05)
    """
    found = _SHARE.fullmatch(text)
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value <= 1:
        raise parameter_error("rate", "max_missing", "a share such as 1% or 0.01", text)
    return value


def _require_known(part: str, given: Mapping[str, Any], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise RecipeError(f"The {part} of a rating recipe have no {name!r}.{did_you_mean(name, known)}")


def _require_whole(name: str, value: Any, *, low: int, optional: bool) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise parameter_error("rate", name, f"an int in [{low}, inf)", value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
