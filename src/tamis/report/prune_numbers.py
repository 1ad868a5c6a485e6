"""Numbers of a prune run as the page writes them, and the rows of its evidence by what they are about."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.prune.criteria_list import FROM_FILE, GIVEN
from tamis.prune.evidence import CHANGE
from tamis.prune.layer_ranges import write_ranges
from tamis.prune.settings import PruneSettings
from tamis.report.rendering import ABSENT, count, decimal

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

BY_PLACE = ("reverse", "random", GIVEN)
"""Criteria whose scores are places and measure nothing."""
_CHOICE = ("ratio", "n_drop", "n_layers", "drop", "keep", "protect_first", "protect_last", "protect", "fidelity")
_UNITS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def perplexity(value: float | None) -> str:
    """Write a perplexity with as many digits as it deserves.

    Examples
    --------
    >>> perplexity(7.126), perplexity(53.18), perplexity(3.6e7), perplexity(4.12e15), perplexity(None)
    ('7.13', '53.2', '36,000,000', '4.1·10¹⁵', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value < 1000:
        return decimal(value, 2 if value < 10 else 1)
    if value < 1e9:
        return count(value)
    power = math.floor(math.log10(value))
    return f"{value / 10.0**power:.1f}·10{str(power).translate(_RAISED)}"


def perplexity_with_interval(estimate: Sequence[float]) -> str:
    """Write a perplexity with its interval.

    Examples
    --------
    >>> perplexity_with_interval([53.18, 48.0, 59.1])
    '53.2 (48.0 to 59.1)'
    """
    return f"{perplexity(estimate[0])} ({perplexity(estimate[1])} to {perplexity(estimate[2])})"


def layers_text(layers: Collection[int]) -> str:
    """Write layers so that a line can break between them.

    Examples
    --------
    >>> layers_text([11, 13, 18, 19, 20])
    '11, 13, 18-20'
    """
    return write_ranges(sorted(layers)).replace(",", ", ")


def short(value: float | None, unit: str = "") -> str:
    """Write a large count with three digits.

    Examples
    --------
    >>> short(134515008), short(8030261248), short(269030016, "B"), short(23040, "B"), short(7)
    ('135 M', '8.03 B', '269 MB', '23.0 kB', '7')
    """
    if value is None:
        return ABSENT
    for prefix, size in _UNITS:
        if value >= size:
            scaled = value / size
            digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            prefix = "G" if unit and prefix == "B" else prefix
            return f"{scaled:.{digits}f} {prefix}{unit}"
    return f"{count(value)} {unit}".rstrip()


def times(value: float) -> str:
    """Write how many times something is.

    Examples
    --------
    >>> times(1.634), times(12.4), times(1.9e6)
    ('1.63 times', '12 times', '1,900,000 times')
    """
    return f"{perplexity(value) if value >= 1e9 else count(value) if value >= 10 else decimal(value)} times"


def times_with_interval(grew: Sequence[float]) -> str:
    """Write how many times something is, with the interval.

    Examples
    --------
    >>> times_with_interval([1.634, 1.55, 1.72])
    '1.63 times (1.55 to 1.72)'
    """
    low, high = (times(each).removesuffix(" times") for each in grew[1:])
    return f"{times(grew[0])} ({low} to {high})"


def row_of(evidence: Rows, metric: str, group: str) -> Mapping[str, Any] | None:
    """Return the row about a metric of one model; None if it was not measured."""
    return next((row for row in evidence if row["metric"] == metric and row["group"] == group), None)


def estimate_of(row: Mapping[str, Any]) -> list[float]:
    """Return ``[after, low, high]``."""
    return [row["after"], row["low"], row["high"]]


def last_model(found: Found) -> str | None:
    """Return the name of the model that the run hands over; None if none was made."""
    sizes = found["sizes"] or {}
    return next((name for name in ("healed", "cut") if name in sizes), None)


def loss_of_quality(evidence: Rows, group: str | None) -> tuple[float, float, float] | None:
    """Return by how many times the perplexity of held-out records grew, with its interval.

    The ratio of perplexities is the exponential of the change of the loss, which is paired by record.
    """
    row = None if group is None else row_of(evidence, CHANGE, group)
    if row is None:
        return None
    value, low, high = (math.exp(min(each, 700.0)) for each in estimate_of(row))
    return value, low, high


def spared(found: Found, criterion: str) -> list[int]:
    """Return the layers that a criterion may not drop: each has a protection of its own."""
    if criterion == found["criterion"]:
        return list(found["protected"])
    settings = PruneSettings(model="", **{name: found["settings"][name] for name in _CHOICE})
    n = found["model"]["layers"]
    return [int(i) for i in np.flatnonzero(settings.pruner(criterion, n, 0).protection(n))]


def goes_by(found: Found, criterion: str) -> list[int]:
    """Return the layers that a criterion drops, or would drop."""
    if criterion == found["criterion"]:
        return list(found["dropped"])
    said = next((each["dropped"] for each in found["candidates"] if each["criterion"] == criterion), None)
    if said is not None:
        return list(said)
    safe = set(spared(found, criterion))
    return sorted([i for i in found["orders"][criterion] if i not in safe][: len(found["dropped"])])


def is_by_place(criterion: str) -> bool:
    """Whether the scores of a criterion are places in an order and measure nothing.

    Examples
    --------
    >>> is_by_place("reverse"), is_by_place("reverse, file"), is_by_place("bi")
    (True, True, False)
    """
    return criterion.removesuffix(f", {FROM_FILE}") in BY_PLACE


def agreement(found: Found) -> list[dict[str, Any]]:
    """Return, for each pair of criteria, how alike they rank the layers and how many both would drop.

    The rank correlation is Spearman's, over the layers that both have ranked: a description of these layers, not an
    estimate.
    """
    names, pairs = list(found["orders"]), []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = set(found["orders"][one]) & set(found["orders"][other])
            places = [np.argsort(np.argsort([found["orders"][name].index(layer) for layer in sorted(both)]))
                      for name in (one, other)]  # fmt: skip
            alike = _correlation(*places) if len(both) > 1 else None
            shared = set(goes_by(found, one)) & set(goes_by(found, other))
            pairs.append({"one": one, "other": other, "correlation": alike, "shared": sorted(shared)})
    return pairs


def _correlation(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    """Pearson's correlation of ranks without ties."""
    a, b = one - one.mean(), other - other.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
