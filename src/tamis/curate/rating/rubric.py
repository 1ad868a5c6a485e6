"""What a judge is asked to rate: criteria with anchors on one scale, from the shipped rubric or the user's YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tamis.errors import RecipeError, did_you_mean
from tamis.runs.digests import digest_json

MOST_VALUES = 30
"""Values that a scale may have: judges do not tell more apart, and each is listed in the schema of the reply."""

_FIELDS = ("name", "source", "role", "scale", "overall", "criteria")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Criterion:
    """One thing that a judge rates.

    Attributes
    ----------
    name : str
        An identifier; the key in the judge's JSON reply.
    text : str
        What it means, in a phrase.
    anchors : tuple of (int, str)
        What some values of the scale stand for, in rising order.
    """

    name: str
    text: str
    anchors: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Rubric:
    """What a judge is told to rate, and on which scale. A rubric that cannot be used cannot be made.

    Attributes
    ----------
    name : str
        What the rubric is called.
    role : str
        What the judge is told that it is and does.
    criteria : tuple of Criterion
        In the order in which they are asked; the overall one stands last.
    low, high : int
        Ends of the scale, the same for all criteria.
    overall : str
        Name of the criterion that decides.
    source : str
        Where the rubric comes from.

    Raises
    ------
    RecipeError
        If there is no criterion, one is unnamed, without text or named twice, an anchor lies outside the scale, the
        scale has fewer than 2 or more than 30 values, or ``overall`` is not the last criterion.
    """

    name: str
    role: str
    criteria: tuple[Criterion, ...]
    low: int = 1
    high: int = 10
    overall: str = "overall"
    source: str = ""

    def __post_init__(self) -> None:
        _check_scale(self)
        _check_criteria(self)

    @classmethod
    def default(cls) -> Rubric:
        """Return DS2's rubric: rarity, complexity, informativeness and overall on 1-10.

        Examples
        --------
        >>> [criterion.name for criterion in Rubric.default().criteria]
        ['rarity', 'complexity', 'informativeness', 'overall']
        """
        text = files("tamis.curate.rating").joinpath("rubrics/ds2.yaml").read_text(encoding="utf-8")
        return cls.from_dict(yaml.safe_load(text), where="the shipped rubric")

    @classmethod
    def from_yaml(cls, path: str | Path) -> Rubric:
        r"""Read a rubric.

        Raises
        ------
        RecipeError
            If the file cannot be read, is no YAML, or holds no usable rubric; the message names the field.

        Examples
        --------
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "clear.yaml"
        >>> _ = path.write_text("role: You judge prose.\ncriteria: [{name: overall, text: how clear it is}]")
        >>> Rubric.from_yaml(path).name
        'clear'
        """
        path = Path(path)
        where = f"The rubric {path}"
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"{where} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"{where} is no UTF-8 text; save it as UTF-8.") from error
        except yaml.YAMLError as error:
            raise RecipeError(f"{where} is not valid YAML: {str(error).splitlines()[0]}.") from error
        if isinstance(given, dict):
            given = {"name": path.stem, **given}
        return cls.from_dict(given, where=where)

    @classmethod
    def from_dict(cls, given: Any, *, where: str = "The rubric") -> Rubric:
        """Return the rubric that JSON or YAML values describe; the overall criterion is put last.

        Raises
        ------
        RecipeError
            If they describe none; the message starts with ``where``.
        """
        if not isinstance(given, Mapping) or not given:
            raise RecipeError(f"{where} must hold the fields role and criteria. Got {_shown(given)} instead.")
        _refuse_unknown(given, _FIELDS, where)
        low, high = _scale(given.get("scale", {"min": 1, "max": 10}), where)
        overall = _text(given.get("overall", "overall"), "overall", where)
        criteria = _criteria(given.get("criteria"), where)
        try:
            return cls(
                name=_text(given.get("name", "rubric"), "name", where),
                role=_text(given.get("role"), "role", where),
                criteria=tuple(sorted(criteria, key=lambda criterion: criterion.name == overall)),
                low=low,
                high=high,
                overall=overall,
                source=str(given.get("source") or ""),
            )
        except RecipeError as error:
            raise RecipeError(str(error).replace("The rubric", where, 1)) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the rubric as JSON values, as :meth:`from_dict` takes them.

        Examples
        --------
        >>> Rubric.from_dict(Rubric.default().to_dict()) == Rubric.default()
        True
        """
        return {
            "name": self.name,
            "source": self.source,
            "role": self.role,
            "scale": {"min": self.low, "max": self.high},
            "overall": self.overall,
            "criteria": [
                {"name": c.name, "text": c.text, "anchors": {str(value): text for value, text in c.anchors}}
                for c in self.criteria
            ],
        }

    @property
    def digest(self) -> str:
        """Digest of what ratings depend on: everything but the name and the source."""
        return digest_json({k: v for k, v in self.to_dict().items() if k not in ("name", "source")})


def _check_scale(rubric: Rubric) -> None:
    if rubric.high <= rubric.low:
        raise RecipeError(
            f"The rubric needs a scale whose max is above its min. Got min {rubric.low} and max {rubric.high} instead."
        )
    if rubric.high - rubric.low + 1 > MOST_VALUES:
        raise RecipeError(
            f"The rubric has a scale of {rubric.high - rubric.low + 1} values, {rubric.low} to {rubric.high}; "
            f"at most {MOST_VALUES} can be asked for."
        )


def _check_criteria(rubric: Rubric) -> None:
    if not rubric.criteria:
        raise RecipeError("The rubric has no criteria; list at least one, with its name and text.")
    seen: dict[str, str] = {}
    for criterion in rubric.criteria:
        if not _IDENTIFIER.fullmatch(criterion.name):
            raise RecipeError(
                f"The rubric has a criterion named {criterion.name!r}; a name is the key of the reply and must be an "
                "identifier: letters, digits and underscores, no digit first."
            )
        # replies are read without regard to case and underscores
        plain = criterion.name.replace("_", "").lower()
        if plain in seen:
            raise RecipeError(f"The rubric names the criteria {seen[plain]!r} and {criterion.name!r} alike.")
        seen[plain] = criterion.name
        for value, _ in criterion.anchors:
            if not rubric.low <= value <= rubric.high:
                raise RecipeError(
                    f"The rubric has an anchor {value} for {criterion.name!r} outside its scale "
                    f"{rubric.low} to {rubric.high}."
                )
    names = [criterion.name for criterion in rubric.criteria]
    if rubric.overall not in names:
        raise RecipeError(
            f"The rubric has no criterion {rubric.overall!r}, which 'overall' names as the one that decides."
            f"{did_you_mean(rubric.overall, names)}"
        )
    if names[-1] != rubric.overall:
        raise RecipeError(f"The rubric must have its overall criterion {rubric.overall!r} last. Got {names} instead.")


def _scale(given: Any, where: str) -> tuple[int, int]:
    if not isinstance(given, Mapping):
        raise RecipeError(f"{where} must have a scale such as {{min: 1, max: 10}}. Got {_shown(given)} instead.")
    _refuse_unknown(given, ("min", "max"), f"{where}, in its scale,")
    ends = []
    for end in ("min", "max"):
        value = given.get(end)
        if isinstance(value, bool) or not isinstance(value, int):
            raise RecipeError(f"{where} must have an int as the {end} of its scale. Got {_shown(value)} instead.")
        ends.append(value)
    return ends[0], ends[1]


def _criteria(given: Any, where: str) -> list[Criterion]:
    if not isinstance(given, list) or not given:
        raise RecipeError(f"{where} must list its criteria, each with name and text. Got {_shown(given)} instead.")
    found = []
    for number, item in enumerate(given, 1):
        here = f"{where}, in criterion {number},"
        if not isinstance(item, Mapping):
            raise RecipeError(f"{here} must have the fields name and text. Got {_shown(item)} instead.")
        _refuse_unknown(item, ("name", "text", "anchors"), here)
        name = _text(item.get("name"), "name", here)
        found.append(Criterion(name, _text(item.get("text"), "text", here), _anchors(item.get("anchors"), here)))
    return found


def _anchors(given: Any, where: str) -> tuple[tuple[int, str], ...]:
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise RecipeError(f"{where} must map anchors from values to texts. Got {_shown(given)} instead.")
    found = []
    for value, text in given.items():
        if not re.fullmatch(r"-?\d{1,9}", str(value)):
            raise RecipeError(f"{where} must have ints as the values of its anchors. Got {_shown(value)} instead.")
        found.append((int(value), _text(text, f"anchor {value}", where)))
    return tuple(sorted(found))


def _text(value: Any, field: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RecipeError(f"{where} must have a text as its {field}. Got {_shown(value)} instead.")
    return " ".join(value.split())


def _refuse_unknown(given: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise RecipeError(f"{where} has an unknown field {key!r}.{did_you_mean(str(key), known)}")


def _shown(value: Any) -> str:
    """A value as a message shows it; what is long is cut."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
