"""Several ways to forget beside each other: the table, and the gap to training anew against the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.forget.comparison import AVERAGE, RUNTIME
from tamis.report.drawing import ACCENT, INK, MUTED, RULE, draw
from tamis.report.forget_numbers import NOT_MEASURED, SHOWN, WORDS, estimate_of, percent, row_of, written
from tamis.report.rendering import decimal
from tamis.report.tokens_strips import plain

_WIDTH, _HEIGHT = 600, 260
_LINE = 15
"""Pixels between two labels that would lie on each other."""
_LETTER = 6.6
"""Pixels of a letter, about."""

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]


def way_rows(found: Found, evidence: Rows) -> list[dict[str, Any]]:
    """Rows of the table: the original, each way, the model trained anew; none if only one way was tried."""
    if not found["beside"]:
        return []
    first = {metric: row for metric in SHOWN if (row := row_of(evidence, metric)) is not None}
    rows = [_row(WORDS["original"], {metric: written(row, before=True) for metric, row in first.items()})]
    gap = row_of(evidence, AVERAGE)
    rows[0]["gap"] = NOT_MEASURED if gap is None else written(gap, before=True)
    for group, name in _names(found).items():
        made = _row(name, _values(evidence, group))
        made["chosen"] = group == "edited"
        for key, metric in (("gap", AVERAGE), ("time", RUNTIME)):
            row = row_of(evidence, metric, group)
            made[key] = NOT_MEASURED if row is None else written(row)
        reasons = found["method"]["reasons"] if group == "edited" else found["beside"][group]["reasons"]
        made["reason"] = plain(reasons[0])
        rows.append(made)
    if "retrained" in found["metrics"]:
        anew = _row(WORDS["retrained"], _values(evidence, "retrained"))
        rows.append({**anew, "gap": "0, the measure", "time": "100 %"})
    return rows


def _names(found: Found) -> dict[str, str]:
    """Names of the ways by the group of their evidence, the one of this run first."""
    return {"edited": found["method"]["name"], **{name: name for name in found["beside"]}}


def _values(evidence: Rows, group: str) -> dict[str, str]:
    found = {metric: row_of(evidence, metric, group) for metric in SHOWN}
    return {metric: percent(estimate_of(row)) for metric, row in found.items() if row is not None}


def _row(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    return {"name": plain(name), "values": [values.get(metric, NOT_MEASURED) for metric in SHOWN], "chosen": False,
            "gap": "", "time": "", "reason": ""}  # fmt: skip


def gap_against_time(found: Found, evidence: Rows) -> Markup | None:
    """Draw each way's average gap to training anew, with its interval, against its share of the time.

    Returns
    -------
    markupsafe.Markup or None
        None if only one way was tried, or nothing was trained anew to compare with.
    """
    points = []
    for group, name in _names(found).items():
        gap, took = row_of(evidence, AVERAGE, group), row_of(evidence, RUNTIME, group)
        if gap is not None and took is not None:
            value, low, high = estimate_of(gap)
            points.append({"name": plain(name), "gap": value, "low": low, "high": high, "time": took["after"],
                           "chosen": group == "edited", "before": gap["before"]})  # fmt: skip
    if len(points) < 2:
        return None
    most = max(*(point["high"] for point in points), points[0]["before"])
    ends = [0.7 * min(point["time"] for point in points), 1.6 * max(point["time"] for point in points)]
    x = alt.X("time:Q", scale=alt.Scale(type="log", domain=ends, nice=False), title="time / time of training anew",
              axis=alt.Axis(format="~%", tickCount=6, grid=False))  # fmt: skip
    scale = alt.Scale(type="sqrt", domain=[0, 1.05 * most], nice=False)
    axis = alt.Axis(tickCount=5, format="~g", gridOpacity=0.6, domain=False, ticks=False)
    y = alt.Y("gap:Q", scale=scale, axis=axis, title="average gap (points)")
    original = alt.Chart(alt.Data(values=[{"gap": points[0]["before"], "words": WORDS["original"]}]))
    marks: list[Any] = [
        original.mark_rule(color=RULE, strokeWidth=2).encode(y=y),
        original.mark_text(align="right", dy=-7, color=MUTED, fontSize=12).encode(
            x=alt.value(_WIDTH), y=y, text="words:N"
        ),
    ]
    for chosen in (False, True):
        own = alt.Chart(alt.Data(values=[point for point in points if point["chosen"] == chosen]))
        color = ACCENT if chosen else MUTED
        marks.append(
            own.mark_rule(color=color, strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q")
        )
        marks.append(own.mark_circle(color=color, size=70, opacity=1).encode(x=x, y=y))
    for point, place in zip(points, places(points, ends, 1.05 * most), strict=True):
        word = alt.Chart(alt.Data(values=[point])).mark_text(align="left", dx=8, color=INK, fontSize=12)
        marks.append(word.encode(x=x, y=alt.value(place), text="name:N"))
    chart = alt.layer(*marks).properties(
        width=_WIDTH, height=_HEIGHT, padding={"left": 20, "right": 60, "top": 8, "bottom": 4}
    )
    return draw(chart, label=_label(points))


def places(points: Rows, ends: Sequence[float], most: float) -> list[float]:
    """Heights, in pixels, of labels at the right of their points so that none lies on another.

    Examples
    --------
    >>> points = [{"name": "a", "gap": 4.0, "time": 0.1}, {"name": "b", "gap": 4.0, "time": 0.1}]
    >>> places(points, [0.01, 1.0], 4.0)
    [0.0, 15.0]
    """

    def across(point: Mapping[str, Any]) -> tuple[float, float]:
        left = _WIDTH * log(point["time"] / ends[0]) / log(ends[1] / ends[0])
        return left, left + 8 + _LETTER * len(point["name"])

    heights = [_HEIGHT * (1 - (point["gap"] / most) ** 0.5) for point in points]
    dots = [(across(point)[0] - 6, across(point)[0] + 6, height) for point, height in zip(points, heights, strict=True)]
    found: dict[int, float] = {}
    taken: list[tuple[float, float, float]] = []
    for i in sorted(range(len(points)), key=lambda i: heights[i]):
        (left, right), height = across(points[i]), heights[i]
        for low, high, above in sorted([*taken, *dots[:i], *dots[i + 1 :]], key=lambda each: each[2]):
            if left + 8 < high and low < right and abs(height - above) < _LINE:
                height = above + _LINE
        taken.append((left + 8, right, height))
        found[i] = height
    return [found[i] for i in range(len(points))]


def _label(points: Rows) -> str:
    said = [f"{point['name']}: {decimal(point['gap'], 2)} points ({decimal(point['low'], 2)} to "
            f"{decimal(point['high'], 2)}) in {100 * point['time']:.0f} % of the time" for point in points]  # fmt: skip
    return f"Average gap to training anew against time. {'; '.join(said)}."
