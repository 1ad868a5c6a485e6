"""The figure of what a cut model costs and saves beside the uncut one: size, speed, perplexity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, RULE, draw
from tamis.report.prune_charts import log_ticks

WIDE = 2.0
"""Times the uncut model's perplexity from which the quality is drawn on a log scale."""
_NAMES, _VALUES, _WIDTH = 150, 150, 640
_PADDING = {"left": 8, "right": 44, "top": 4, "bottom": 4}


@dataclass(frozen=True)
class Ratio:
    """One quantity of the cut model, the uncut model's being 1.

    Attributes
    ----------
    name : str
    value : tuple of float
        Value, low, high; alike where it is counted.
    words : str
        What is written beside it.
    quiet : bool
        Whether it is about the model before healing.
    """

    name: str
    value: tuple[float, float, float]
    words: str
    quiet: bool = False


def ratio_figure(groups: Sequence[tuple[str, Sequence[Ratio]]], *, label: str) -> Markup | None:
    """Draw groups of ratios below each other, each ratio as a dot on a thread that begins at the uncut model.

    Parameters
    ----------
    groups : sequence of (title, ratios)
        All are drawn on one linear scale, but a group with a ratio above :data:`WIDE` has a log scale of its own.
    label : str
        Text for readers who do not see the figure.
    """
    shown = [(title, rows) for title, rows in groups if rows]
    if not shown:
        return None
    common = [row.value[2] for _, rows in shown for row in rows if not _is_wide(rows)]
    most = max(1.1, 1.04 * max(common, default=1.0))
    last = max((i for i, (_, rows) in enumerate(shown) if not _is_wide(rows)), default=0)
    parts = [_group(title, rows, most, labels=i >= last) for i, (title, rows) in enumerate(shown)]
    return draw(alt.vconcat(*parts, spacing=22).properties(padding=_PADDING), label=label)


def _is_wide(rows: Sequence[Ratio]) -> bool:
    return max(row.value[2] for row in rows) > WIDE


def _group(title: str, ratios: Sequence[Ratio], most: float, *, labels: bool) -> Any:
    width, wide = _WIDTH - _NAMES - _VALUES, _is_wide(ratios)
    names = f"{json.dumps([row.name for row in ratios])}[datum.value]"
    side = alt.Axis(values=list(range(len(ratios))), labelExpr=names, labelColor=INK, labelLimit=_NAMES - 10,
                    domain=False, ticks=False, labelOverlap=False, labelPadding=10, minExtent=_NAMES,
                    maxExtent=_NAMES)  # fmt: skip
    y = alt.Y("place:Q", scale=alt.Scale(domain=[len(ratios) - 0.5, -0.5], nice=False, zero=False), axis=side,
              title=None)  # fmt: skip
    if wide:
        low = min(1.0, *(row.value[1] for row in ratios))
        domain = [0.8 * low, 1.25 * max(row.value[2] for row in ratios)]
        ticks, form = [tick for tick in log_ticks(*domain) if tick >= low], "~s" if domain[1] >= 10_000 else "~g"
        scale = alt.Scale(type="log", domain=domain, nice=False)
        axis = alt.Axis(values=ticks, labelExpr=f"'× ' + format(datum.value, '{form}')", grid=True,
                        gridOpacity=0.6, domain=False, ticks=False)  # fmt: skip
    else:
        scale = alt.Scale(domain=[0, most], nice=False)
        axis = alt.Axis(values=[v for v in (0, 0.5, 1, 1.5, 2, 2.5, 3) if v <= most], format=".0%", grid=True,
                        gridOpacity=0.6, domain=False, ticks=False, labels=labels)  # fmt: skip

    def x(field: str) -> Any:
        return alt.X(f"{field}:Q", scale=scale, axis=axis, title=None)

    rows = [{"place": i, "uncut": 1, "value": row.value[0], "low": row.value[1], "high": row.value[2],
             "words": row.words, "quiet": row.quiet} for i, row in enumerate(ratios)]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows))
    marks = [
        base.mark_rule(color=RULE, strokeWidth=3).encode(x=x("uncut"), x2="value:Q", y=y),
        alt.Chart(alt.Data(values=[{"uncut": 1}])).mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1).encode(
            x=x("uncut")),
        base.mark_text(align="left", fontSize=12, color=MUTED).encode(y=y, x=alt.value(width + 14), text="words:N"),
    ]  # fmt: skip
    for quiet, color in ((True, QUIET), (False, ACCENT)):
        some = alt.Chart(alt.Data(values=[row for row in rows if row["quiet"] == quiet]))
        if any(row["quiet"] == quiet for row in rows):
            marks.append(some.mark_rule(color=color, strokeWidth=2).encode(y=y, x=x("low"), x2="high:Q"))
            marks.append(some.mark_circle(color=color, size=64, opacity=1).encode(y=y, x=x("value")))
    head = alt.Title(title, anchor="start", frame="group", offset=6, color=MUTED, fontSize=12, fontWeight="normal")
    return alt.layer(*marks).properties(width=width, height=26 * len(ratios), title=head)
