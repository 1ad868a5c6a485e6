"""The figures about judges, as functions of plain values; colours and fonts come from the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.charts import merge_bins
from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, RULE, draw

_WIDTH = 650
_NAMES = 110

Interval = Sequence[float | None]
"""``[value, low, high]``, None for what is not defined."""


@dataclass(frozen=True)
class Rung:
    """One small picture of the ladder: one quantity, all judges.

    Attributes
    ----------
    title : str
    points : sequence of (judge, Interval)
        Several for a judge are drawn on one line; a judge without any is written as "not known".
    signed : bool
        Whether the quantity runs from -1 to 1; else from 0 to 1.
    """

    title: str
    points: Sequence[tuple[str, Interval]]
    signed: bool = False


def judge_ladder(judges: Sequence[str], rungs: Sequence[Rung], *, label: str) -> Markup:
    """Draw judges under each other and quantities side by side, each point with its interval.

    Parameters
    ----------
    judges : sequence of str
    rungs : sequence of Rung
    label : str
        Text for readers who do not see the figure.
    """
    width = (_WIDTH - _NAMES) // len(rungs) - 26
    height = 34 * len(judges)
    parts = [_rung(judges, rung, width, height, names=i == 0) for i, rung in enumerate(rungs)]
    return draw(alt.hconcat(*parts, spacing=26), label=label)


def _rung(judges: Sequence[str], rung: Rung, width: int, height: int, *, names: bool) -> Any:
    shown = [(judge, found) for judge, found in rung.points if found[0] is not None]
    alone = {judge for judge in judges if sum(j == judge for j, _ in shown) == 1}
    rows: list[dict[str, Any]] = [
        {"judge": judge, "value": v[0], "low": v[0] if v[1] is None else v[1],
         "high": v[0] if v[2] is None else v[2], "text": f"{v[0]:.2f}" if judge in alone else ""}
        for judge, v in shown
    ]  # fmt: skip
    low = -1.0 if rung.signed and any((v[1] if v[1] is not None else v[0] or 0.0) < 0 for _, v in shown) else 0.0
    sort = list(judges)
    labels = alt.Axis(domain=False, ticks=False, labelColor=INK, labelFontSize=12, title=None, labelLimit=_NAMES)
    y = alt.Y("judge:N", sort=sort, axis=labels if names else None, scale=alt.Scale(domain=sort))
    axis = alt.Axis(values=[-1, 0, 1] if low else [0, 0.5, 1], format="~g", orient="top", titlePadding=10)
    x = alt.X("value:Q", scale=alt.Scale(domain=[low, 1], nice=False), axis=axis, title=rung.title)
    lines = alt.Chart(alt.Data(values=[{"judge": name, "low": low, "high": 1} for name in sort]))
    chart: Any = lines.mark_rule(color=RULE).encode(y=y, x=alt.X("low:Q", title=rung.title), x2="high:Q")
    unknown = [{"judge": j, "value": low} for j in judges if not any(name == j for name, _ in shown)]
    if unknown:
        words = alt.Chart(alt.Data(values=unknown)).mark_text(align="left", dx=3, dy=-8, fontSize=10.5, color=MUTED)
        chart += words.encode(y=y, x=x, text=alt.value("not known"))
    if rows:
        base = alt.Chart(alt.Data(values=rows)).encode(y=y)
        chart += base.mark_rule(color=ACCENT, strokeWidth=3).encode(x=alt.X("low:Q", title=rung.title), x2="high:Q")
        chart += base.mark_circle(color=ACCENT, size=60, opacity=1).encode(x=x)
        chart += base.mark_text(dy=-10, fontSize=10.5, color=INK).encode(x=x, text="text:N")
    return chart.properties(width=width, height=height)


def rating_bars(edges: Sequence[float], counts: Sequence[int], mode: float, *, label: str) -> Markup:
    """Draw how often each rating was given, the one used most in the accent colour.

    Parameters
    ----------
    edges : sequence of float, length B + 1
    counts : sequence of int, length B
    mode : float
        The rating used most.
    label : str
        Text for readers who do not see the figure.
    """
    bounds, (merged,) = merge_bins(edges, counts)
    rows = [
        {"low": a, "high": b, "n": n, "most": a <= mode < b or (b == bounds[-1] and mode == b)}
        for (a, b), n in zip(pairwise(bounds), merged, strict=True)
    ]
    start, stop = bounds[0], bounds[-1]
    whole = all(b - a == 1 for a, b in pairwise(bounds)) and len(rows) <= 12
    ticks = [a + 0.5 for a in bounds[:-1]] if whole else alt.Undefined
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(binSpacing=3)
        .encode(
            x=alt.X(
                "low:Q",
                bin="binned",
                title="rating",
                axis=alt.Axis(values=ticks, labelExpr="'' + datum.value"),  # a number format would write 10 as 1e+1
                scale=alt.Scale(domain=[start, stop], nice=False),
            ),
            x2="high:Q",
            y=alt.Y(
                "n:Q",
                title="ratings",
                axis=alt.Axis(tickCount=max(1, min(3, max(merged, default=0))), format=",d", domain=False),
            ),
            color=alt.Color(
                "most:N", scale=alt.Scale(domain=[False, True], range=[QUIET, ACCENT]), legend=None, sort=None
            ),
        )
    )
    return draw(chart.properties(width=_WIDTH, height=120), label=label)


def repeat_by_class(rows: Sequence[dict[str, Any]], *, label: str) -> Markup:
    """Draw, class by class, how often a rating is given again: as the matrix implies, and as measured.

    Parameters
    ----------
    rows : sequence of dict
        ``class``, ``measured`` and ``implied``; either may be None.
    label : str
        Text for readers who do not see the figure.
    """
    points = [
        {"class": row["class"], "which": which, "share": row[which]}
        for row in rows
        for which in ("implied", "measured")
        if row[which] is not None
    ]
    spans = [row for row in rows if row["measured"] is not None and row["implied"] is not None]
    names = [row["class"] for row in rows]
    y = alt.Y(
        "class:N",
        sort=names,
        title="class",
        scale=alt.Scale(domain=names),
        axis=alt.Axis(domain=False, ticks=False, labelColor=INK),
    )
    scale, axis = alt.Scale(domain=[0, 1], nice=False), alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format="~g")
    title = "share of second ratings in the class of the first"
    circles = (
        alt.Chart(alt.Data(values=points))
        .mark_circle(size=70, opacity=1)
        .encode(
            y=y,
            x=alt.X("share:Q", scale=scale, axis=axis, title=title),
            color=alt.Color(
                "which:N", scale=alt.Scale(domain=["implied", "measured"], range=[QUIET, ACCENT]), legend=None
            ),
        )
    )
    chart: Any = circles
    if spans:
        bars = alt.Chart(alt.Data(values=spans)).mark_rule(color=RULE, strokeWidth=2)
        chart = bars.encode(y=y, x=alt.X("implied:Q", scale=scale, title=title), x2="measured:Q") + circles
    return draw(chart.properties(width=_WIDTH - 80, height=max(90, 26 * len(names))), label=label)
