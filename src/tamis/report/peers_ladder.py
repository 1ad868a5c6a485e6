"""The ladder of workers: every score with its interval, beside what pasted answers reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, draw
from tamis.report.peers_charts import drawable

MAX_NAMED = 40
"""Workers up to which each row carries a name."""
_PAGE = "var(--page)"
_WIDTH = 500
_HEIGHT = 640
_PADDING = {"left": 16, "right": 20, "top": 4, "bottom": 4}
"""Room at the sides: fonts of the page may be wider than those that the picture was laid out with."""
_SIDES = {"keep": "kept", "review": "flagged", "re-collect": "flagged"}

Channel = Callable[[str], Any]
"""From the name of a field to where it is drawn; all layers share it."""
Interval = Sequence[float | None]
"""``[value, low, high]``, None for what is not defined."""


def worker_ladder(
    rows: Sequence[Mapping[str, Any]],
    *,
    n_workers: int,
    threshold: Interval | None,
    band: tuple[float, float] | None,
    title: str,
    words: str,
    label: str,
) -> Markup:
    """Draw workers under each other by score, the lowest on top, each with its interval.

    Flagged workers are accented: filled where answers are to be collected again, a ring where they are to be reviewed.
    Kept ones are quiet, undecided ones quiet rings. Up to 40 rows carry names; more of them carry places.

    Parameters
    ----------
    rows : sequence of mapping
        ``place`` (0 = lowest score), ``worker, score, low, high, action``, in order of place.
    n_workers : int
        Workers that have a place; ``rows`` may hold some of them only.
    threshold : Interval or None
        Drawn as a dashed line, its interval on top of it.
    band : (float, float) or None
        Shaded.
    title : str
        Of the axis of scores.
    words : str
        Written at the threshold.
    label : str
        Text for readers who do not see the figure.
    """
    height = _height(n_workers)
    ends = [
        0.0,
        *(v for row in rows for v in _ends(row)),
        *(band or ()),
        *(v for v in threshold or () if v is not None),
    ]
    low, high = min(ends), max(ends)
    pad = 0.03 * (high - low or 1.0)
    x, y = _score_axis(low - pad, high + pad, title), _place_axis(rows, n_workers)
    marks = [_frame(n_workers).mark_rule(color=QUIET).encode(x=x("zero"), y=y("top"), y2="bottom:Q")]
    if band is not None:
        shade = alt.Chart(alt.Data(values=[{"low": band[0], "high": band[1]}]))
        marks.insert(0, shade.mark_rect(fill=QUIET, fillOpacity=0.22).encode(x=x("low"), x2="high:Q"))
    marks += [*_worker_marks(rows, x, y, height / max(1, len(rows))), *_side_words(rows, y)]
    if threshold is not None and threshold[0] is not None:
        left = threshold[0] < (low + high) / 2
        marks += _threshold_marks(threshold, x, words, align="left" if left else "right")
    figure = alt.layer(*marks).properties(width=_WIDTH, height=height, padding=_PADDING)
    return draw(figure, label=label)


def _score_axis(low: float, high: float, title: str) -> Channel:
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    axis = alt.Axis(tickCount=7, format="~g", grid=True, gridOpacity=0.6, domain=False)
    return lambda field: alt.X(f"{field}:Q", scale=scale, axis=axis, title=title)


def _place_axis(rows: Sequence[Mapping[str, Any]], n_workers: int) -> Channel:
    scale = alt.Scale(domain=[n_workers - 0.5, -0.5], nice=False, zero=False)
    axis, title = _places(rows, n_workers), None if _named(n_workers) else "place, from the lowest score"
    return lambda field: alt.Y(f"{field}:Q", scale=scale, axis=axis, title=title)


def _frame(n_workers: int) -> Any:
    return alt.Chart(alt.Data(values=[{"zero": 0, "top": -0.5, "bottom": n_workers - 0.5}]))


def _named(n_workers: int) -> bool:
    return n_workers <= MAX_NAMED


def _height(n_workers: int) -> int:
    return max(60, (30 if n_workers <= 8 else 17) * n_workers) if _named(n_workers) else _HEIGHT


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    """Ends of a worker's interval; a missing one is the score."""
    low, high = (row["score"] if row[end] is None else row[end] for end in ("low", "high"))
    return low, high


def _places(rows: Sequence[Mapping[str, Any]], n_workers: int) -> Any:
    """Axis with a name in each row, or with round places."""
    look = {"domain": False, "ticks": False, "labelOverlap": False}
    if _named(n_workers):
        names = [drawable(row["worker"]) for row in rows]
        places = [row["place"] for row in rows]
        spoken = f"{json.dumps(dict(zip(map(str, places), names, strict=True)))}[format(datum.value, 'd')]"
        return alt.Axis(values=places, labelExpr=spoken, labelColor=INK, labelLimit=96, **look)
    step = next(size for size in _round_sizes() if n_workers / size <= 8)
    values = [0, *(place - 1 for place in range(step, n_workers + 1, step) if place > 1)]
    return alt.Axis(values=values, labelExpr="format(datum.value + 1, ',d')", **look)


def _round_sizes() -> Iterator[int]:
    return (factor * 10**power for power in range(12) for factor in (1, 2, 5))


def _worker_marks(rows: Sequence[Mapping[str, Any]], x: Channel, y: Channel, step: float) -> list[Any]:
    size, width = (60.0, 2.0) if step >= 15 else (34.0, 1.5) if step >= 5 else (15.0, 1.0)
    flagged = [row for row in rows if _SIDES.get(row["action"]) == "flagged"]
    others = [row for row in rows if _SIDES.get(row["action"]) != "flagged"]
    rings = [row for row in rows if row["action"] not in ("keep", "re-collect")]
    marks = []
    for some, line, dot, area in ((others, QUIET, MUTED, size), (flagged, ACCENT, ACCENT, 1.5 * size)):
        spans = [{"place": r["place"], "low": low, "high": high} for r in some for low, high in [_ends(r)]]
        bars = alt.Chart(alt.Data(values=spans)).mark_rule(color=line, strokeWidth=width)
        marks += [bars.encode(y=y("place"), x=x("low"), x2="high:Q"), _dots(some, x, y, dot, area)]
    return [*marks, _dots(rings, x, y, _PAGE, 0.45 * size)]


def _dots(rows: Sequence[Mapping[str, Any]], x: Channel, y: Channel, color: str, size: float) -> Any:
    base = alt.Chart(alt.Data(values=[{"place": row["place"], "score": row["score"]} for row in rows]))
    return base.mark_circle(color=color, size=size, opacity=1).encode(y=y("place"), x=x("score"))


def _side_words(rows: Sequence[Mapping[str, Any]], y: Channel) -> list[Any]:
    """Brackets beside the rows that say what was decided; none where decisions alternate along the ladder."""
    runs = [
        (side, [row["place"] for row in run])
        for side, run in groupby(rows, lambda row: _SIDES.get(row["action"], "undecided"))
    ]
    if len(runs) > len({side for side, _ in runs}):
        return []
    marks = []
    for side, places in runs:
        look = ACCENT if side == "flagged" else MUTED
        mark = {"top": places[0] - 0.35, "end": places[-1] + 0.35, "middle": (places[0] + places[-1]) / 2, "side": side}
        base = alt.Chart(alt.Data(values=[mark]))
        rule, text = base.mark_rule(color=look, strokeWidth=2), base.mark_text(align="left", fontSize=12, color=look)
        marks += [
            rule.encode(x=alt.value(_WIDTH + 10), y=y("top"), y2="end:Q"),
            text.encode(x=alt.value(_WIDTH + 18), y=y("middle"), text="side:N"),
        ]
    return marks


def _threshold_marks(threshold: Interval, x: Channel, words: str, *, align: str) -> list[Any]:
    value, low, high = threshold
    base = alt.Chart(alt.Data(values=[{"value": value, "low": low, "high": high, "words": words}]))
    line = base.mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.2).encode(x=x("value"))
    text = base.mark_text(align=align, dy=-16, fontSize=12, color=INK)
    marks = [line, text.encode(x=x("value"), y=alt.value(0), text="words:N")]
    if low is None or high is None:
        return marks
    return [*marks, base.mark_rule(color=INK, strokeWidth=3).encode(x=x("low"), x2="high:Q", y=alt.value(-4))]
