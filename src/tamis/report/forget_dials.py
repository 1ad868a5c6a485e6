"""The signature figure of forgetting: where three models stand on scales from 0 to 100."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, RULE, draw

_WIDTH, _HEIGHT = 660, 44
_ORIGINAL, _EDITED = 11, 31
"""Lanes of the two models, so that their marks never hide each other."""
_PADDING = {"left": 8, "right": 30, "top": 4, "bottom": 4}
_PAGE = "var(--page)"

Interval = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Dial:
    """One metric of the models, in percent.

    Attributes
    ----------
    name, words : str
        The metric, and what it measures.
    values : str
        What is written below: the numbers, or why there are none.
    original : float or None
        None for a metric that was not measured: the scale is drawn empty.
    edited : tuple of float or None
        Value, low, high.
    retrained : tuple of float or None
        The mark to come close to; None without a model trained anew.
    middle : str
        What 50 means, written at a dotted line; empty for none.
    """

    name: str
    words: str
    values: str
    original: float | None = None
    edited: Interval | None = None
    retrained: Interval | None = None
    middle: str = ""


def dials(shown: Sequence[Dial], *, label: str) -> Markup:
    """Draw metrics below each other on one scale from 0 to 100.

    Parameters
    ----------
    shown : sequence of Dial
    label : str
        Text for readers who do not see the figure.
    """
    parts = [_dial(dial) for dial in shown]
    return draw(alt.vconcat(*parts, spacing=20).properties(padding=_PADDING), label=label)


def _x(field: str) -> Any:
    axis = alt.Axis(values=[0, 25, 50, 75, 100], format="d", grid=True, gridOpacity=0.7, domain=False, ticks=False,
                    labelFontSize=11)  # fmt: skip
    return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, 100], nice=False, clamp=True), axis=axis, title=None)


def _dial(dial: Dial) -> Any:
    marks: list[Any] = []
    edges = alt.Chart(alt.Data(values=[{"from": 0, "to": 100}]))
    for lane in (_ORIGINAL, _EDITED):
        marks.append(_rule(edges, RULE, 1, x=_x("from"), x2="to:Q", y=alt.value(lane)))
    if dial.middle and dial.edited is not None:
        half = alt.Chart(alt.Data(values=[{"at": 50, "words": dial.middle}]))
        marks.append(_rule(half, MUTED, 1, x=_x("at"), y=alt.value(0), y2=alt.value(_HEIGHT), dash=[2, 3]))
    if dial.retrained is not None:
        marks += _target(dial.retrained)
    if dial.edited is not None and dial.original is not None:
        marks += _models(dial.original, dial.edited)
    else:
        words = alt.Chart(alt.Data(values=[{"at": 50, "words": "not measured"}]))
        marks.append(words.mark_text(fontSize=12, color=MUTED).encode(
            x=_x("at"), y=alt.value((_ORIGINAL + _EDITED) / 2), text="words:N"))  # fmt: skip
    title = alt.Title(
        f"{dial.name}: {dial.words}", subtitle=dial.values, anchor="start", frame="group", offset=6, limit=_WIDTH,
        color=INK, fontSize=13, fontWeight="bold", subtitleColor=MUTED, subtitleFontSize=12,
    )  # fmt: skip
    return alt.layer(*marks).properties(width=_WIDTH, height=_HEIGHT, title=title)


def _target(retrained: Interval) -> list[Any]:
    value, low, high = retrained
    row = {"at": value, "low": value if low is None else low, "high": value if high is None else high}
    base = alt.Chart(alt.Data(values=[row]))
    band = base.mark_rect(fill=QUIET, fillOpacity=0.4).encode(
        x=_x("low"), x2="high:Q", y=alt.value(0), y2=alt.value(_HEIGHT)
    )
    return [band, _rule(base, INK, 2, x=_x("at"), y=alt.value(0), y2=alt.value(_HEIGHT))]


def _models(original: float, edited: Interval) -> list[Any]:
    """A hollow mark for the original, a thread to the edited one, a full mark with its interval."""
    value, low, high = edited
    row = {"before": original, "at": value, "low": value if low is None else low,
           "high": value if high is None else high}  # fmt: skip
    base = alt.Chart(alt.Data(values=[row]))
    first, second = alt.value(_ORIGINAL), alt.value(_EDITED)
    return [
        _rule(base, ACCENT, 1.5, x=_x("before"), x2="at:Q", y=first, y2=second, opacity=0.5),
        base.mark_circle(color=MUTED, size=110, opacity=1).encode(x=_x("before"), y=first),
        base.mark_circle(color=_PAGE, size=44, opacity=1).encode(x=_x("before"), y=first),
        _rule(base, ACCENT, 4, x=_x("low"), x2="high:Q", y=second, opacity=0.6),
        base.mark_circle(color=ACCENT, size=110, opacity=1).encode(x=_x("at"), y=second),
    ]


def _rule(base: Any, color: str, width: float, *, dash: Sequence[int] = (), opacity: float = 1.0, **where: Any) -> Any:
    dashed = {"strokeDash": list(dash)} if dash else {}
    return base.mark_rule(color=color, strokeWidth=width, opacity=opacity, **dashed).encode(**where)
