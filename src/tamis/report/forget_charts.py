"""Two figures of a forget run: confidences in the true label, and what the stop rule saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, RULE, draw
from tamis.report.forget_numbers import repair_step

TICKS = (0.0, 0.1, 0.5, 1.0)
"""Shares that the axis of the histograms names."""
_COLORS = {"original": QUIET, "edited": ACCENT, "retrained": MUTED}
_WIDTH = 660
_PADDING = {"left": 20, "right": 30, "top": 4, "bottom": 4}
_EXTENT = 46
"""Room for the labels of vertical axes, the same in all panels so that they stand below each other."""
_SIDE, _BETWEEN, _TALL = 124, 24, 72
"""Of the histograms: room for names and labels at the left, distance of columns, height."""

Counts = Mapping[str, Mapping[str, Sequence[int]]]


def confidence_histograms(
    counts: Counts, models: Mapping[str, str], splits: Mapping[str, str], *, label: str
) -> Markup | None:
    """Draw how sure each model is of the true label: a row for each model, a column for each split.

    Parameters
    ----------
    counts : mapping of model to mapping of split to sequence of int
        Examples in bins of equal width from 0 to 1.
    models, splits : mapping of str to str
        What is drawn, in order, and its heading.
    label : str
        Text for readers who do not see the figure.

    Returns
    -------
    markupsafe.Markup or None
        None if nothing was counted.
    """
    rows, columns = [m for m in models if m in counts], [s for s in splits if any(s in own for own in counts.values())]
    if not rows or not columns:
        return None
    width = (_WIDTH - _SIDE - _BETWEEN * (len(columns) - 1)) / len(columns)
    panels = [
        _histogram(
            counts[model].get(split, []), _COLORS.get(model, QUIET), width,
            head=splits[split] if model == rows[0] else "", side=models[model] if split == columns[0] else None,
            last=model == rows[-1],
        )
        for model in rows for split in columns
    ]  # fmt: skip
    grid = alt.concat(*panels, columns=len(columns), bounds="flush", spacing={"row": 20, "column": _BETWEEN})
    return draw(grid.properties(padding=_PADDING), label=label)


def _histogram(counts: Sequence[int], color: str, width: float, *, head: str, side: str | None, last: bool) -> Any:
    n, total = len(counts), sum(counts)
    rows = [{"from": (i + 0.08) / n, "to": (i + 0.92) / n, "floor": 0, "share": count / total}
            for i, count in enumerate(counts) if count]  # fmt: skip
    across = alt.Axis(values=[0, 0.5, 1], format="~g", labels=last, ticks=last, domain=True)
    x = alt.X("from:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=across, title=None)
    up = alt.Axis(values=list(TICKS), format=".0%", grid=True, gridOpacity=0.6, domain=False, ticks=False,
                  labels=side is not None, labelFontSize=10, labelOverlap=False)  # fmt: skip
    y = alt.Y("floor:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], nice=False), axis=up, title=None)
    bars = alt.Chart(alt.Data(values=rows)).mark_rect(fill=color).encode(x=x, x2="to:Q", y=y, y2="share:Q")
    words = alt.Chart(alt.Data(values=[{"from": 0, "head": head, "side": side or ""}]))
    marks: list[Any] = [bars]
    if head:
        marks.append(words.mark_text(align="left", dy=-14, fontSize=12, color=INK).encode(
            x=alt.value(0), y=alt.value(0), text="head:N"))  # fmt: skip
    if side:
        marks.append(words.mark_text(align="right", dx=8 - _EXTENT, fontSize=12, color=INK).encode(
            x=alt.value(0), y=alt.value(_TALL / 2), text="side:N"))  # fmt: skip
    return alt.layer(*marks).properties(width=width, height=_TALL)


def stop_curve(curve: Sequence[Mapping[str, Any]], kept: int | None, *, label: str) -> Markup | None:
    """Draw loss, gradient norm and the distance from the aim over the steps of one training, below each other.

    Parameters
    ----------
    curve : sequence of mapping
        ``step``, ``loss``, ``grad_norm``, ``held_out``, the distance, where the stop rule was asked, and ``repair``
        where descent alone followed.
    kept : int or None
        Step whose weights were kept; marked.
    label : str
        Text for readers who do not see the figure.

    Returns
    -------
    markupsafe.Markup or None
        None if fewer than two steps were done.
    """
    steps = [point["step"] for point in curve]
    if len(curve) < 2:
        return None
    ends = [min(steps), max(steps)]
    repair = repair_step(curve)
    panels = [("loss", "loss", 96), ("grad_norm", "gradient norm", 64), ("held_out", "distance (points)", 80)]
    shown = [panel for panel in panels if any(point.get(panel[0]) is not None for point in curve)]
    parts = [
        _panel(
            curve,
            field,
            title,
            height,
            ends,
            kept=kept,
            repair=repair,
            first=field == shown[0][0],
            last=field == shown[-1][0],
        )
        for field, title, height in shown
    ]
    return draw(alt.vconcat(*parts, spacing=18).properties(padding=_PADDING), label=label)


def _panel(
    curve: Sequence[Mapping[str, Any]],
    field: str,
    title: str,
    height: int,
    ends: Sequence[int],
    *,
    kept: int | None,
    repair: int | None,
    first: bool,
    last: bool,
) -> Any:
    rows = [{"step": point["step"], "value": point[field]} for point in curve if point.get(field) is not None]
    values = [row["value"] for row in rows]
    low, high = (min(0.0, *values), max(0.0, *values)) if field != "loss" else (min(values), max(values))
    room = 0.08 * ((high - low) or 1.0)
    across = alt.Axis(tickCount=8, tickMinStep=1, format="d", labels=last, ticks=last)
    x = alt.X("step:Q", scale=alt.Scale(domain=list(ends), nice=False), axis=across, title="step" if last else None)
    most = max(abs(low), abs(high))
    up = alt.Axis(tickCount=3, format="~s" if most >= 10_000 else ",~f", grid=True, gridOpacity=0.6, domain=False,
                  ticks=False, minExtent=_EXTENT, maxExtent=_EXTENT)  # fmt: skip
    domain = [low - (room if low else 0.0), high + room]
    y = alt.Y("value:Q", scale=alt.Scale(domain=domain, nice=False, zero=False), axis=up, title=None)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    marks: list[Any] = []
    kept_rule = {"color": RULE, "strokeWidth": 6}
    for step, said, rule in ((kept, "kept: step {:,}", kept_rule), (repair, "repair", {"color": MUTED})):
        if step is None:
            continue
        mark = alt.Chart(alt.Data(values=[{"step": step, "words": said.format(step)}]))
        marks.append(mark.mark_rule(**rule).encode(x=x))
        if first:
            place = (step - ends[0]) / ((ends[1] - ends[0]) or 1)
            side = "left" if place < 0.12 else "right" if place > 0.88 else "center"
            if kept is not None and repair is not None and abs(kept - repair) < 0.2 * (ends[1] - ends[0]):
                side = "right" if step == min(kept, repair) else "left"
            words = mark.mark_text(dy=-9, fontSize=12, color=INK, align=side)
            marks.append(words.encode(x=x, y=alt.value(0), text="words:N"))
    color = ACCENT if field != "grad_norm" else MUTED
    marks.append(base.mark_line(color=color, strokeWidth=1.5))
    if field == "held_out":
        marks.append(base.mark_circle(color=color, size=40, opacity=1))
    head = alt.Title(title, anchor="start", frame="group", offset=6 if not first else 14, color=MUTED, fontSize=12,
                     fontWeight="normal")  # fmt: skip
    return alt.layer(*marks).properties(width=_WIDTH - _EXTENT, height=height, title=head)
