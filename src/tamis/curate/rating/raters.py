"""Raters by their command-line name: ``[NAME=]SCHEME:REST``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.curate.rating.settings import RatingSettings
from tamis.errors import RecipeError, did_you_mean
from tamis.models.causal_lm import SMOLLM2
from tamis.models.judging import ChatJudge, ScoringJudge
from tamis.registry import JUDGES

RECORDED = "columns"
_SPEC = re.compile(r"(?:(?P<name>[\w.-]+)=)?(?P<scheme>[A-Za-z]+):(?P<rest>.*)", re.DOTALL)
_KEY = re.compile(r"sk-[\w-]{8,}")


@dataclass(frozen=True)
class Rater:
    """Who rates.

    Attributes
    ----------
    name : str
        What the signal calls the rater.
    spec : str
        As the user wrote it.
    kind : {"chat", "scoring", "recorded"}
        A judge behind calls, a judge computed here, or ratings that the pool already holds.
    judge : ChatJudge, ScoringJudge or None
        None for recorded ratings.
    samples : int
        Ratings of each row.
    columns : tuple of str
        Columns of recorded ratings, one a sample.
    """

    name: str
    spec: str
    kind: str
    judge: ChatJudge | ScoringJudge | None
    samples: int
    columns: tuple[str, ...] = ()


def parse_rater(spec: str, settings: RatingSettings, *, timeout: float = 60.0, seed: int = 0) -> Rater:
    """Return the rater that ``spec`` names.

    Parameters
    ----------
    spec : str
        ``openai:MODEL[@BASE_URL]``, ``hf:NAME_OR_FOLDER``, ``scripted:OPTIONS`` or ``columns:A,B`` (ratings that the
        pool holds, each column a sample), perhaps behind ``NAME=``.
    settings : RatingSettings
    timeout : float
        Seconds to wait for one reply of an endpoint.
    seed : int
        Seed of sampled replies.

    Raises
    ------
    RecipeError
        If the text has no scheme, an unknown one, or names no model.
    MissingExtraError
        If the judge needs a package that is not installed.

    Examples
    --------
    >>> parse_rater("gpt4=columns:first,second", RatingSettings(("x",))).samples
    2
    """
    name, scheme, rest = _split(spec)
    if scheme == RECORDED:
        columns = tuple(name.strip() for name in rest.split(",") if name.strip())
        if not columns:
            raise RecipeError(f"The rater {spec!r} names no column; write columns:A or columns:A,B.")
        return Rater(name or columns[0], spec, "recorded", None, len(columns), columns)
    judge_class = JUDGES[scheme].load()
    samples, kind = settings.samples, "chat"
    if scheme == "openai":
        judge = judge_class.parse(
            rest,
            temperature=settings.heat,
            max_tokens=settings.max_tokens,
            structured=settings.structured,
            timeout=timeout,
            seed=seed,
        )
    elif scheme == "hf":
        judge = judge_class.parse(
            rest, scoring=settings.scoring, temperature=settings.heat, max_tokens=settings.max_tokens, seed=seed
        )
        kind = "scoring"
        # an expected score samples nothing: asking again gives the same number
        samples = 1 if settings.scoring == "expected" else settings.samples
    else:
        judge = judge_class.parse(rest)
    return Rater(name or judge.name, spec, kind, judge, samples)


def parse_raters(
    specs: Sequence[str], settings: RatingSettings, *, timeout: float = 60.0, seed: int = 0
) -> list[Rater]:
    """Return all raters.

    Raises
    ------
    RecipeError
        As :func:`parse_rater`, and if two raters have the same name or are the same judge.
    """
    raters = [parse_rater(spec, settings, timeout=timeout, seed=seed) for spec in specs]
    names = [rater.name for rater in raters]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"Two raters are called {name!r}; tell them apart: --rater NAME=SCHEME:...")
    name_of: dict[str, str] = {}
    for rater in raters:
        if rater.judge is None:
            continue
        other = name_of.setdefault(rater.judge.fingerprint, rater.name)
        if other != rater.name:
            raise RecipeError(
                f"The raters {other!r} and {rater.name!r} are the same judge, which would be asked once and agree with "
                "itself; leave one out, and have it rate each row several times with --samples."
            )
    return raters


def absolute_spec(spec: str) -> str:
    """Return the rater's text with every relative path in it made absolute, so that it means the same elsewhere.

    Raises
    ------
    RecipeError
        If the text has no scheme or an unknown one, or holds a key: it is going to be written down.

    Examples
    --------
    >>> absolute_spec("a=hf:smollm2"), absolute_spec("scripted:diagonal=0.7,seed=3")
    ('a=hf:smollm2', 'scripted:diagonal=0.7,seed=3')
    """
    name, scheme, rest = _split(spec)
    if scheme == "openai" and _KEY.search(rest):
        raise RecipeError("An openai: rater holds a key; keys come from the environment variable OPENAI_API_KEY.")
    if scheme == "hf" and rest != SMOLLM2:
        rest = _absolute(rest)
    elif scheme == "scripted":
        parts = (part.partition("=") for part in rest.split(","))
        rest = ",".join(
            f"{option}={_absolute(value.strip())}" if option.strip() == "matrix" else f"{option}{equals}{value}"
            for option, equals, value in parts
        )
    return f"{'' if name is None else name + '='}{scheme}:{rest}"


def _absolute(path: str) -> str:
    found = Path(path).expanduser()
    return str(found.absolute()) if path and found.exists() else path


def _split(spec: str) -> tuple[str | None, str, str]:
    """Name (None without one), scheme and rest. What looks like a key is not shown in the message."""
    found = _SPEC.fullmatch(spec.strip())
    known = [*JUDGES, RECORDED]
    if not found or found["scheme"] not in known:
        shown = _KEY.sub("sk-...", spec)
        raise RecipeError(
            f"The rater {shown!r} must be SCHEME:NAME, e.g. hf:smollm2, openai:MODEL@http://127.0.0.1:8000/v1 or "
            f"columns:rating.{did_you_mean(found['scheme'] if found else shown, known)}"
        )
    return found["name"], found["scheme"], found["rest"]
