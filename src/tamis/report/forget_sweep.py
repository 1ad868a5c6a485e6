"""The sweep of a forget run: what each point of the grid forgets against what it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, HEAT, INK, MUTED, ON_FULL_CELL, ON_LIGHT_CELL, QUIET, RULE, draw
from tamis.report.rendering import decimal

_WIDTH, _HEIGHT = 560, 240
_ROOM = 0.06
_CELL, _ROW, _FULL = 84, 40, 0.55
"""Width and height of a cell of a heat map, and the shade from which its number is light."""

Row = Mapping[str, Any]


def front(rows: Sequence[Row]) -> list[bool]:
    """Whether no other point is wrong on more of what goes and right on more of what stays (the Pareto front).

    Examples
    --------
    >>> front([{"UA": 1.0, "RA": 9.0}, {"UA": 5.0, "RA": 8.0}, {"UA": 4.0, "RA": 7.0}])
    [True, True, False]
    """
    return [
        not any(
            other["UA"] >= row["UA"]
            and other["RA"] >= row["RA"]
            and (other["UA"], other["RA"]) != (row["UA"], row["RA"])
            for other in rows
        )
        for row in rows
    ]


def sweep_figure(rows: Sequence[Row], anew: tuple[float, float] | None, *, label: str) -> Markup | None:
    """Draw UA against RA of each point; the front joined, the chosen point filled, the retrained model as a cross.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`tamis.forget.sweep.swept` returns them.
    anew : tuple of (float, float) or None
        UA and RA of the model trained anew.
    label : str
        Text for readers who do not see the figure.

    Returns
    -------
    markupsafe.Markup or None
        None without a sweep.
    """
    if not rows:
        return None
    on_front = front(rows)
    points = [{"UA": row["UA"], "RA": row["RA"], "chosen": row["chosen"]} for row in rows]
    ends = [*points, *([{"UA": anew[0], "RA": anew[1]}] if anew else [])]
    x, y = (_axis(name, title, [each[name] for each in ends]) for name, title in
            (("UA", "UA: wrong on what is to be forgotten (%)"), ("RA", "RA: right on what stays (%)")))  # fmt: skip
    joined = sorted((point["UA"], point["RA"]) for point, ahead in zip(points, on_front, strict=True) if ahead)
    line = alt.Chart(alt.Data(values=[{"UA": ua, "RA": ra} for ua, ra in joined]))
    marks: list[Any] = [line.mark_line(color=QUIET, strokeWidth=1.5).encode(x=x, y=y)]
    for chosen in (False, True):
        own = alt.Chart(alt.Data(values=[point for point in points if point["chosen"] == chosen]))
        marks.append(own.mark_circle(size=90, color=ACCENT if chosen else MUTED, opacity=1).encode(x=x, y=y))
    if anew is not None:
        mark = alt.Chart(alt.Data(values=[{"UA": anew[0], "RA": anew[1]}]))
        marks.append(mark.mark_point(shape="cross", size=160, filled=True, color=INK, opacity=1).encode(x=x, y=y))
    padding = {"left": 20, "right": 30, "top": 8, "bottom": 4}
    return draw(alt.layer(*marks).properties(width=_WIDTH, height=_HEIGHT, padding=padding), label=label)


def _axis(name: str, title: str, values: Sequence[float]) -> Any:
    low, high = min(values), max(values)
    room = _ROOM * ((high - low) or 1.0)
    kind = alt.X if name == "UA" else alt.Y
    axis = alt.Axis(tickCount=6, format="~g", grid=True, gridOpacity=0.6, domain=False, ticks=False)
    return kind(
        f"{name}:Q", scale=alt.Scale(domain=[low - room, high + room], nice=False, zero=False), axis=axis, title=title
    )


def sweep_heat_maps(rows: Sequence[Row]) -> Markup | None:
    """Draw the distance from the aim over alpha and rate, a map for each p; None without a sweep.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`tamis.forget.sweep.swept` returns them.
    """
    if not rows:
        return None
    known = [row["distance"] for row in rows if row["distance"] is not None]
    ends = min(known, default=0.0), max(known, default=0.0)
    maps = [_heat_map([row for row in rows if row["p"] == p], p, ends) for p in sorted({row["p"] for row in rows})]
    label = f"Distance from the aim over alpha and rate, {len(maps)} heat maps. {sweep_label(rows)}"
    return draw(
        alt.hconcat(*maps, spacing=36).properties(padding={"left": 20, "right": 30, "top": 8, "bottom": 4}), label=label
    )


def _heat_map(rows: Sequence[Row], p: float, ends: tuple[float, float]) -> Any:
    alphas, rates = (
        [_written(each) for each in sorted({row[name] for row in rows})] for name in ("alpha", "learning_rate")
    )

    def shade(distance: float | None) -> float:
        return 0.0 if distance is None else (distance - ends[0]) / ((ends[1] - ends[0]) or 1.0)

    cells = [
        {
            "alpha": _written(row["alpha"]), "rate": f"{row['learning_rate']:g}", "chosen": row["chosen"],
            "shade": shade(row["distance"]),
            "text": "✕" if row["distance"] is None else decimal(row["distance"], 2),
            "ink": ON_FULL_CELL if shade(row["distance"]) > _FULL else ON_LIGHT_CELL,
        }
        for row in rows
    ]  # fmt: skip
    look: dict[str, Any] = {"domain": False, "ticks": False, "labelAngle": 0}
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("rate:N", sort=rates, axis=alt.Axis(**look), title="learning rate"),
        y=alt.Y("alpha:N", sort=alphas, axis=alt.Axis(**look), title="alpha"),
    )
    inside: Any = base.mark_rect(fill=HEAT, stroke=RULE, strokeWidth=1).encode(
        fillOpacity=alt.FillOpacity("shade:Q", scale=None)
    )
    inside += base.transform_filter("datum.chosen").mark_rect(fill="none", stroke=INK, strokeWidth=2)
    inside += base.mark_text(fontSize=12).encode(text="text:N", color=alt.Color("ink:N", scale=None))
    title = alt.Title(
        f"p = {p:g}", anchor="start", frame="group", offset=6, color=MUTED, fontSize=12, fontWeight="normal"
    )
    return inside.properties(width=_CELL * len(rates), height=_ROW * len(alphas), title=title)


def _written(alpha: float | str) -> str:
    return alpha if isinstance(alpha, str) else f"{alpha:g}"


def sweep_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of the table: the grid, the nearest to the aim first, what diverged last."""
    order = sorted(rows, key=lambda row: (row["distance"] is None, row["distance"] or 0.0))
    return [
        {
            "alpha": _written(row["alpha"]),
            "p": f"{row['p']:g}",
            "rate": f"{row['learning_rate']:g}",
            "distance": "diverged" if row["distance"] is None else decimal(row["distance"], 2),
            "UA": decimal(row["UA"], 1),
            "RA": decimal(row["RA"], 1),
            "seconds": row["seconds"],
            "chosen": row["chosen"],
        }
        for row in order
    ]


def sweep_label(rows: Sequence[Row]) -> str:
    """Text of the figure for readers who do not see it."""
    said = [f"alpha {row['alpha']}, p {row['p']}, rate {row['learning_rate']}: UA {decimal(row['UA'], 1)}, "
            f"RA {decimal(row['RA'], 1)}{', chosen' if row['chosen'] else ''}" for row in rows]  # fmt: skip
    return f"UA against RA of {len(rows)} points. {'; '.join(said)}."
