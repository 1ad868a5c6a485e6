"""The figures of the report, as functions of plain values; colours and fonts come from the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, HEAT, INK, MUTED, ON_FULL_CELL, ON_LIGHT_CELL, QUIET, RULE, draw

MAX_BARS = 40
MAX_INTERVALS = 10
"""Classes up to which the cells of a matrix have room for their intervals."""
_MAX_VALUES = 16
_WIDTH = 650
_GOLDEN = 0.6180339887498949
_FULL_CELL = 0.71
"""Opacity at which a cell is as far from black as from white, in both themes: its text changes colour there."""


def merge_bins(
    edges: Sequence[float], *counts: Sequence[int], limit: int = MAX_BARS
) -> tuple[list[float], list[list[int]]]:
    """Join neighbouring bins until at most ``limit`` are left.

    Examples
    --------
    >>> merge_bins([0, 1, 2, 3], [5, 6, 7], limit=2)
    ([0, 2, 3], [[11, 7]])
    """
    n = len(edges) - 1
    step = -(-n // limit)
    starts = range(0, n, step)
    return [*(edges[i] for i in starts), edges[-1]], [[sum(c[i : i + step]) for i in starts] for c in counts]


def histogram(edges: Sequence[float], counts: Sequence[int], kept: Sequence[int], *, x: str, label: str) -> Markup:
    """Draw the ratings as they came in, and those of the kept records in front of them.

    Parameters
    ----------
    edges : sequence of float, length B + 1
    counts, kept : sequence of int, length B
    x : str
        Axis title.
    label : str
        Text for readers who do not see the figure.
    """
    bounds, (pool, chosen) = merge_bins(edges, counts, kept)
    rows = [
        {"low": a, "high": b, "pool": p, "kept": k}
        for a, b, p, k in zip(bounds[:-1], bounds[1:], pool, chosen, strict=True)
    ]
    whole = all(b - a == 1 for a, b in pairwise(bounds))
    values = [a + 0.5 for a in bounds[:-1]] if whole and len(rows) <= 12 else alt.Undefined
    axis = alt.Axis(values=values, format="~g") if whole else alt.Axis(format="~g", tickCount=8)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("low:Q", bin="binned", title=x, axis=axis, scale=alt.Scale(domain=[bounds[0], bounds[-1]], nice=False)),
        x2="high:Q",
    )
    y = alt.Y("pool:Q", title="records", axis=_count_axis(max(pool, default=0)))
    layers = base.mark_bar(color=QUIET, binSpacing=3).encode(y=y) + base.mark_bar(color=ACCENT, binSpacing=3).encode(
        y=alt.Y("kept:Q", title="records")
    )
    return draw(layers.properties(width=_WIDTH, height=180), label=label)


def class_counts(
    names: Sequence[str], counts: dict[str, Sequence[int]], *, x: str, label: str, overlay: bool = False
) -> Markup:
    """Draw one or two counts for each class.

    Parameters
    ----------
    names : sequence of str, length K
    counts : dict of str to sequence of int
        The quiet series first, the accented one second.
    x, label : str
        Axis title, and text for readers who do not see the figure.
    overlay : bool, default False
        Whether the second series is a part of the first, drawn in front of it, instead of standing beside it.
    """
    series = list(counts)
    rows = [
        {"i": i, "class": name, "series": which, "n": counts[which][i]}
        for which in series
        for i, name in enumerate(names)
    ]
    narrow = len(names) > 12
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("class:N", sort=list(names), title=x, axis=alt.Axis(labelAngle=-60 if narrow else 0, ticks=False)),
        y=alt.Y(
            "n:Q",
            title="ratings",
            stack=None,
            axis=_count_axis(max((n for values in counts.values() for n in values), default=0)),
        ),
        color=alt.Color("series:N", scale=alt.Scale(domain=series, range=[QUIET, ACCENT]), legend=None),
    )
    if not overlay:
        base = base.encode(xOffset=alt.XOffset("series:N", sort=series))
    chart = base.mark_bar()
    if not narrow and not overlay:
        chart = chart + base.mark_text(dy=-6, fontSize=10).encode(
            text=alt.Text("n:Q", format=","), color=alt.value(MUTED)
        )
    return draw(chart.properties(width=_WIDTH, height=180), label=label)


def transition_heatmap(
    T: Sequence[Sequence[float]],
    p: Sequence[float],
    low: Sequence[Sequence[float]] | None,
    high: Sequence[Sequence[float]] | None,
    names: Sequence[str],
    *,
    unidentified: Sequence[int] = (),
    label: str,
) -> Markup:
    """Draw the transition matrix, each cell with its interval, and the estimated share of each true class beside it.

    Parameters
    ----------
    T : K x K
        Row = true class, column = observed class.
    p : length K
        Prior of the true class.
    low, high : K x K or None
        95 % interval of each cell. Written into the cells of up to 10 classes; values up to 16 classes.
    names : length K
    unidentified : sequence of int
        Rows that are marked with a cross.
    label : str
        Text for readers who do not see the figure.
    """
    K = len(names)
    column, row = max(16, min(90, 540 // K)), 46 if K <= MAX_INTERVALS else max(14, 460 // K)
    titles = [f"✕ {name}" if i in unidentified else name for i, name in enumerate(names)]
    cells = [
        {
            "true": titles[i],
            "observed": names[j],
            "value": T[i][j],
            "text": f"{T[i][j]:.2f}",
            "interval": "" if low is None or high is None else f"{low[i][j]:.2f}–{high[i][j]:.2f}",
            "ink": ON_FULL_CELL if T[i][j] > _FULL_CELL else ON_LIGHT_CELL,
            "own": i == j,
        }
        for i in range(K)
        for j in range(K)
    ]
    y = alt.Y("true:N", sort=titles, title="true class, as estimated", axis=_band_axis(apart=14))
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("observed:N", sort=list(names), title="observed: what the rater wrote", axis=_band_axis(top=True)), y=y
    )
    inside: Any = base.mark_rect(fill=HEAT, stroke=RULE, strokeWidth=1).encode(
        fillOpacity=alt.FillOpacity("value:Q", scale=None)
    )
    inside += base.transform_filter("datum.own").mark_rect(fill="none", stroke=INK, strokeWidth=1.5)
    if K <= _MAX_VALUES:
        inside += _cell_text(
            base, "text", size=13 if K <= MAX_INTERVALS else 10, dy=-6 if low is not None and K <= MAX_INTERVALS else 0
        )
    if K <= MAX_INTERVALS and low is not None:
        inside += _cell_text(base, "interval", size=9.5, dy=10)
    heat = inside.properties(width=column * K, height=row * K)
    return draw(alt.hconcat(heat, _priors(titles, p, row * K), spacing=24), label=label)


def _priors(titles: Sequence[str], p: Sequence[float], height: int) -> Any:
    rows = [{"true": t, "p": v, "text": f"{100 * v:.0f} %"} for t, v in zip(titles, p, strict=True)]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("true:N", sort=list(titles), axis=None),
        x=alt.X(
            "p:Q", title="share of true class", axis=_band_axis(top=True, labels=False), scale=alt.Scale(nice=False)
        ),
    )
    bars = base.mark_bar(color=QUIET, height={"band": 0.45})
    words = base.mark_text(align="left", dx=4, fontSize=11, color=MUTED).encode(text="text:N")
    return (bars + words).properties(width=70, height=height)


def _cell_text(base: Any, field: str, *, size: float, dy: float) -> Any:
    return base.mark_text(fontSize=size, dy=dy).encode(text=f"{field}:N", color=alt.Color("ink:N", scale=None))


def threshold_line(points: Sequence[tuple[float, int]], chosen: float, *, label: str) -> Markup:
    """Draw how many ratings would change at each threshold; the rule marks the one that was used."""
    rows = [{"threshold": t, "n": n} for t, n in points]
    ends = [min(points[0][0], chosen) - 0.05, max(points[-1][0], chosen) + 0.05]
    x = alt.X(
        "threshold:Q",
        title="confidence threshold",
        axis=alt.Axis(values=[t for t, _ in points], format=".1f"),
        scale=alt.Scale(domain=ends, nice=False, zero=False),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x,
        y=alt.Y(
            "n:Q",
            title="ratings changed",
            axis=_count_axis(max(n for _, n in points)),
            scale=alt.Scale(domainMin=0, domainMax=max(1, round(1.15 * max(n for _, n in points)))),
        ),
    )
    used = alt.Chart(alt.Data(values=[{"threshold": chosen}])).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x=x)
    words = base.mark_text(dx=6, dy=-9, align="left", fontSize=11, color=MUTED).encode(text=alt.Text("n:Q", format=","))
    line = base.mark_line(color=ACCENT, strokeWidth=2)
    dots = base.mark_circle(color=ACCENT, size=40, opacity=1)
    return draw((used + line + dots + words).properties(width=_WIDTH, height=150), label=label)


def score_rarity(points: Sequence[Sequence[float]], names: Sequence[str] | None, *, label: str) -> Markup:
    """Draw score against rarity, dropped records behind kept ones.

    Parameters
    ----------
    points : sequence of (score, rarity, kept)
        Scores are class indices 0..K-1 or means of them; each point is moved sideways by less than 0.36 so that
        records of one class do not hide each other, always the same way for the same input.
    names : sequence of str, length K, or None
        Class names for the axis; None writes the indices.
    label : str
        Text for readers who do not see the figure.
    """
    rows = [
        {"score": s + 0.72 * ((i * _GOLDEN) % 1 - 0.5), "rarity": r, "which": "kept" if k else "dropped"}
        for i, (s, r, k) in enumerate(points)
    ]
    rows.sort(key=lambda row: str(row["which"]))  # dropped first: kept points are drawn in front
    top = len(names) - 1 if names else max((p[0] for p in points), default=1)
    spoken = {str(i): name for i, name in enumerate(names or [])}
    words = f"{json.dumps(spoken)}[format(datum.value, 'd')]" if names else alt.Undefined
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_circle(size=14, opacity=0.75)
        .encode(
            x=alt.X(
                "score:Q",
                title="curated score",
                axis=alt.Axis(values=list(range(int(top) + 1)), labelExpr=words, format="d"),
                scale=alt.Scale(domain=[-0.5, top + 0.5], nice=False),
            ),
            y=alt.Y("rarity:Q", title="rarity", axis=alt.Axis(tickCount=5, format="~g"), scale=alt.Scale(zero=False)),
            color=alt.Color("which:N", scale=alt.Scale(domain=["dropped", "kept"], range=[QUIET, ACCENT]), legend=None),
        )
    )
    return draw(chart.properties(width=_WIDTH, height=280), label=label)


def _count_axis(largest: float) -> Any:
    return alt.Axis(tickCount=max(1, min(4, int(largest))), format="~s" if largest >= 10_000 else ",d", domain=False)


def _band_axis(*, top: bool = False, labels: bool = True, apart: int = 8) -> Any:
    where = {"orient": "top"} if top else {}
    return alt.Axis(
        **where, domain=False, ticks=False, labels=labels, labelAngle=0, labelColor=INK, tickCount=2, titlePadding=apart
    )
