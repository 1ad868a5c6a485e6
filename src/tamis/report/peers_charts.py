"""The figures about a crowd, as functions of plain values; colours and fonts come from the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, HEAT, INK, MUTED, ON_FULL_CELL, ON_LIGHT_CELL, QUIET, RULE, draw

MAPS_IN_A_ROW = 4
_WIDTH = 650
_FULL_CELL = 0.71


def stratum_maps(strata: Sequence[Mapping[str, Any]], classes: Sequence[str], *, label: str) -> Markup:
    """Draw, stratum by stratum, which pairs of answers are more and which less frequent than independence makes them.

    Parameters
    ----------
    strata : sequence of mapping
        ``label`` (what the LLM said), ``n_tasks``, ``difference`` and ``sign`` (both K x K).
    classes : sequence of str, length K
    label : str
        Text for readers who do not see the figure.

    Notes
    -----
    The colour is the strength of ``P(x, y) - Q(x) Q(y)``, against the strongest cell of the figure; what is written is
    the sign that scores are made of.
    """
    K = len(classes)
    columns = -(-len(strata) // -(-len(strata) // MAPS_IN_A_ROW))
    cell = min(56, (_WIDTH - 90 - 20 * (columns - 1)) // (columns * K))
    strongest = max((abs(v) for stratum in strata for row in stratum["difference"] for v in row), default=0.0) or 1.0
    maps = [_map(each, classes, cell, strongest, first=i % columns == 0) for i, each in enumerate(strata)]
    grid = [alt.hconcat(*maps[i : i + columns], spacing=20) for i in range(0, len(maps), columns)]
    return draw(
        alt.vconcat(*grid, spacing=18).properties(padding={"left": 10, "right": 10, "top": 4, "bottom": 4}), label=label
    )


def _map(stratum: Mapping[str, Any], classes: Sequence[str], cell: int, strongest: float, *, first: bool) -> Any:
    K = len(classes)
    names = [drawable(name) for name in classes]
    cells = []
    for i in range(K):
        for j in range(K):
            strength = stratum["difference"][i][j] / strongest
            dark = strength > _FULL_CELL
            cells.append(
                {"one": i, "other": j, "strength": abs(strength), "fill": HEAT if strength > 0 else QUIET,
                 "sign": sign_text(stratum["sign"][i][j]), "ink": ON_FULL_CELL if dark else ON_LIGHT_CELL}
            )  # fmt: skip
    spoken = f"{json.dumps(names)}[datum.value]"
    slanted = max(map(len, names)) * 6.5 > cell
    look: dict[str, Any] = {"domain": False, "ticks": False, "title": None, "labelExpr": spoken, "labelColor": INK,
                            "labelFontSize": 11, "labelOverlap": False}  # fmt: skip
    across = alt.Axis(
        **look, labelAngle=(-90 if cell < 24 else -45) if slanted else 0, labelLimit=72 if slanted else cell
    )
    down = alt.Axis(**look, labelLimit=84) if first else None
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("other:O", axis=across, title=None), y=alt.Y("one:O", axis=down, title=None)
    )
    rects = base.mark_rect(stroke=RULE, strokeWidth=1).encode(
        fill=alt.Fill("fill:N", scale=None), fillOpacity=alt.FillOpacity("strength:Q", scale=None)
    )
    signs = base.mark_text(fontSize=max(9, min(14, round(0.45 * cell)))).encode(
        text="sign:N", color=alt.Color("ink:N", scale=None)
    )
    title = alt.Title(
        f"LLM said {drawable(stratum['label'])}",
        subtitle=f"{stratum['n_tasks']:,} tasks",
        **{"anchor": "start", "frame": "group", "offset": 6, "limit": max(96, cell * K + 12)},
        **{"color": INK, "fontSize": 12, "fontWeight": "normal", "subtitleColor": MUTED, "subtitleFontSize": 11},
    )
    return (rects + signs).properties(width=cell * K, height=cell * K, title=title)


def sign_text(sign: float) -> str:
    """Write an entry of the sign matrix; ordered classes have fractions.

    Examples
    --------
    >>> sign_text(1.0), sign_text(-1.0), sign_text(0.0), sign_text(0.5)
    ('+', '−', '0', '+.5')
    """
    if abs(sign) in (0.0, 1.0):
        return {1.0: "+", -1.0: "−", 0.0: "0"}[sign + 0.0]
    return f"{'+' if sign > 0 else '−'}{abs(sign):.1f}".replace("0.", ".")


def coverage_lines(curve: Mapping[str, Sequence[float]], flagged: int | None, *, label: str) -> Markup:
    """Draw the share of tasks that keep at least one and at least two answers as workers are removed.

    Parameters
    ----------
    curve : mapping
        ``removed``, ``one`` and ``two``, of the same length.
    flagged : int or None
        Marked by a dashed line; None marks nothing.
    label : str
        Text for readers who do not see the figure.
    """
    rows = [
        {"removed": r, "one": a, "two": b}
        for r, a, b in zip(*(curve[k] for k in ("removed", "one", "two")), strict=True)
    ]
    most = max(1, *curve["removed"])
    scale = alt.Scale(domain=[0, most], nice=False)

    def x(field: str) -> Any:
        axis = alt.Axis(tickCount=min(8, int(most)), format=",d", labelFlush=False)
        return alt.X(f"{field}:Q", scale=scale, axis=axis, title="workers removed, lowest score first")

    def y(field: str) -> Any:
        axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".0%", grid=True, gridOpacity=0.6, domain=False)
        return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, 1]), axis=axis, title="tasks")

    base = alt.Chart(alt.Data(values=rows))
    chart: Any = base.mark_line(color=MUTED, strokeWidth=2, strokeDash=[2, 4]).encode(x=x("removed"), y=y("one"))
    chart += base.mark_line(color=ACCENT, strokeWidth=2).encode(x=x("removed"), y=y("two"))
    if flagged is not None:
        mark = alt.Chart(alt.Data(values=[{"removed": flagged, "words": f"{flagged:,} flagged"}]))
        chart += mark.mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.2).encode(x=x("removed"))
        side = "left" if flagged < 0.8 * most else "right"
        text = mark.mark_text(align=side, dy=-9, fontSize=12, color=INK)
        chart += text.encode(x=x("removed"), y=alt.value(0), text="words:N")
    return draw(chart.properties(width=_WIDTH - 60, height=190), label=label)


def drawable(name: str) -> str:
    r"""Return a name with what no picture can hold, such as control characters, replaced.

    Examples
    --------
    >>> drawable("w\x001\n")
    'w�1�'
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)
