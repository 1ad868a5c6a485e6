"""The figures about tokens, as functions of plain values; colours and fonts come from the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, draw
from tamis.report.rendering import count, share
from tamis.report.tokens_strips import nats, plain

NEAR = 0.01
"""Half the width, in nats, of the band around the cut."""
_WIDTH = 640
_NAMES = 150
"""Room for the names of groups, the same in every figure so that their shares can be compared."""
_PADDING = {"left": 14, "right": 20, "top": 4, "bottom": 4}
"""Room at the sides: fonts of the page may be wider than those that the picture was laid out with."""

Channel = Callable[[str], Any]
Row = Mapping[str, Any]


def score_density(
    edges: Sequence[float], counts: Sequence[int], cut: float | None, *, title: str, label: str
) -> Markup | None:
    """Draw how many tokens have which score, kept ones accented, with the cut and what lies near it.

    Parameters
    ----------
    edges : sequence of float, length B + 1
    counts : sequence of int, length B
    cut : float or None
        Score of the last kept token; None where there is not one for all tokens, and then nothing is accented.
    title : str
        Of the axis of scores.
    label : str
        Text for readers who do not see the figure.

    Returns
    -------
    markupsafe.Markup or None
        None if all scores are alike, so that there is no density.
    """
    if edges[0] >= edges[-1] or not any(counts):
        return None
    ends = [*edges, *([] if cut is None else [cut])]
    scale = alt.Scale(domain=[min(ends), max(ends)], nice=False, zero=False)

    def x(field: str) -> Any:
        return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(tickCount=8, format="~g"), title=title)

    most = max(counts)
    axis = alt.Axis(tickCount=4, format="~s" if most >= 10_000 else ",d", domain=False, grid=True, gridOpacity=0.6)
    y = alt.Y("n:Q", axis=axis, scale=alt.Scale(domain=[0, 1.05 * most], nice=False), title="tokens")
    quiet, accented = _split(edges, counts, cut)
    marks = [
        alt.Chart(alt.Data(values=some)).mark_area(color=color, interpolate="step-after").encode(x=x("score"), y=y)
        for some, color in ((quiet, QUIET), (accented, ACCENT))
        if some
    ]
    if cut is not None:
        marks += _cut_marks(cut, min(ends), max(ends), x)
    return draw(alt.layer(*marks).properties(width=_WIDTH - 60, height=220, padding=_PADDING), label=label)


def _split(
    edges: Sequence[float], counts: Sequence[int], cut: float | None
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Steps of the tokens below the cut, and of those from it on."""
    steps = [{"score": e, "n": n} for e, n in zip(edges, [*counts, counts[-1]], strict=True)]
    if cut is None or cut >= edges[-1]:
        return steps, []
    if cut <= edges[0]:
        return [], steps
    inside = [step["n"] for step in steps if step["score"] <= cut][-1]
    middle = {"score": cut, "n": inside}
    return [s for s in steps if s["score"] < cut] + [middle], [middle] + [s for s in steps if s["score"] > cut]


def _cut_marks(cut: float, low: float, high: float, x: Channel) -> list[Any]:
    band = {"low": max(low, cut - NEAR), "high": min(high, cut + NEAR)}
    words = {"cut": cut, "words": f"cut {nats(cut)}", "left": "← masked", "right": "kept →", **band}
    base = alt.Chart(alt.Data(values=[words]))
    shade = alt.Chart(alt.Data(values=[band])).mark_rect(fill=INK, fillOpacity=0.16)
    line = base.mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.2).encode(x=x("cut"))
    place = (cut - low) / (high - low)
    align = "center" if 0.12 < place < 0.88 else "left" if place <= 0.12 else "right"
    marks = [
        shade.encode(x=x("low"), x2="high:Q"),
        line,
        base.mark_rule(color=INK, strokeWidth=4).encode(x=x("low"), x2="high:Q", y=alt.value(-4)),
        base.mark_text(align=align, dy=-30, fontSize=12, color=INK).encode(x=x("cut"), y=alt.value(0), text="words:N"),
    ]
    sides = (("left", -8, MUTED, place > 0.12, "right"), ("right", 8, ACCENT, place < 0.88, "left"))
    for field, dx, color, room, end in sides:
        if room:
            text = base.mark_text(align=end, dx=dx, dy=-14, fontSize=12, color=color)
            marks.append(text.encode(x=x("cut"), y=alt.value(0), text=f"{field}:N"))
    return marks


def kept_by_name(rows: Sequence[Row], overall: float | None, *, label: str) -> Markup:
    """Draw the kept share of groups under each other, each with its interval.

    Parameters
    ----------
    rows : sequence of mapping
        ``name, tokens, kept`` with ``kept = [share, low, high]``.
    overall : float or None
        Share of all ranked tokens; a dashed line.
    label : str
        Text for readers who do not see the figure.
    """
    names = [plain(row["name"]) for row in rows]
    spoken = f"{json.dumps(names)}[datum.value]"
    axis = alt.Axis(values=list(range(len(rows))), labelExpr=spoken, labelColor=INK, labelLimit=_NAMES - 16,
                    domain=False, ticks=False, labelOverlap=False, labelPadding=10, minExtent=_NAMES,
                    maxExtent=_NAMES)  # fmt: skip
    scale = alt.Scale(domain=[len(rows) - 0.5, -0.5], nice=False, zero=False)

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q", scale=scale, axis=axis, title=None)

    x = _shares(alt.X, "share of tokens kept")
    values = [
        {**_ends(row), "place": i, "words": f"{share(row['kept'][0], 0)} of {count(row['tokens'])}"}
        for i, row in enumerate(rows)
    ]
    base = alt.Chart(alt.Data(values=values))
    known = alt.Chart(alt.Data(values=[value for value in values if value["kept"] is not None]))
    width = _WIDTH - _NAMES - 130
    marks = [
        known.mark_rule(color=ACCENT, strokeWidth=2).encode(y=y("place"), x=x("low"), x2="high:Q"),
        known.mark_circle(color=ACCENT, size=64, opacity=1).encode(y=y("place"), x=x("kept")),
        base.mark_text(align="left", fontSize=12, color=MUTED).encode(
            y=y("place"), x=alt.value(width + 12), text="words:N"
        ),
    ]
    marks += _overall(overall, x, "x")
    figure = alt.layer(*marks).properties(width=width, height=max(44, 26 * len(rows)), padding=_PADDING)
    return draw(figure, label=label)


def kept_by_place(rows: Sequence[Row], overall: float | None, *, label: str) -> Markup:
    """Draw the kept share along the answer, from its first part to its last one.

    Parameters
    ----------
    rows : sequence of mapping
        As for :func:`kept_by_name`, in the order of the answer.
    overall : float or None
    label : str
        Text for readers who do not see the figure.
    """
    names = [plain(row["name"]) for row in rows]
    percent = all(name.endswith("%") for name in names)
    spoken = f"{json.dumps([name.rstrip('% ') if percent else name for name in names])}[datum.value]"
    title = f"part of the answer, {'% ' if percent else ''}from its beginning"
    axis = alt.Axis(values=list(range(len(rows))), labelExpr=spoken, domain=False, ticks=False, labelAngle=0)
    scale = alt.Scale(domain=[-0.5, len(rows) - 0.5], nice=False, zero=False)

    def x(field: str) -> Any:
        return alt.X(f"{field}:Q", scale=scale, axis=axis, title=title)

    y = _shares(alt.Y, "kept")
    known = alt.Chart(
        alt.Data(values=[{**_ends(row), "place": i} for i, row in enumerate(rows) if row["kept"][0] is not None])
    )
    marks = [
        known.mark_line(color=QUIET, strokeWidth=1.5).encode(x=x("place"), y=y("kept")),
        known.mark_rule(color=ACCENT, strokeWidth=2).encode(x=x("place"), y=y("low"), y2="high:Q"),
        known.mark_circle(color=ACCENT, size=64, opacity=1).encode(x=x("place"), y=y("kept")),
        *_overall(overall, y, "y"),
    ]
    return draw(alt.layer(*marks).properties(width=_WIDTH - 60, height=190, padding=_PADDING), label=label)


def _shares(channel: Any, title: str) -> Channel:
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".0%", grid=True, gridOpacity=0.6, domain=False)
    return lambda field: channel(f"{field}:Q", scale=alt.Scale(domain=[0, 1]), axis=axis, title=title)


def _ends(row: Row) -> dict[str, Any]:
    """Share and ends of its interval; a missing end is the share."""
    kept, low, high = row["kept"]
    return {"kept": kept, "low": kept if low is None else low, "high": kept if high is None else high}


def _overall(overall: float | None, along: Channel, side: str) -> list[Any]:
    if overall is None:
        return []
    base = alt.Chart(alt.Data(values=[{"all": overall}]))
    return [base.mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1).encode(**{side: along("all")})]


def warmup_curve(
    loss: Sequence[Sequence[float]], before: float | None, after: float | None, *, label: str
) -> Markup | None:
    """Draw the loss of each step of the warm-up, beside that of held-out records before and after it.

    Parameters
    ----------
    loss : sequence of (step, loss)
        A loss may be None.
    before, after : float or None
        Held-out loss a token, drawn where the warm-up begins and ends.
    label : str
        Text for readers who do not see the figure.

    Returns
    -------
    markupsafe.Markup or None
        None if fewer than two steps have a loss: a point is no curve.
    """
    steps = [{"step": step, "loss": value} for step, value in loss if value is not None]
    if len(steps) < 2:
        return None
    last = max(row["step"] for row in steps)
    held = [{"step": s, "loss": v} for s, v in ((0, before), (last, after)) if v is not None]

    def x(field: str) -> Any:
        axis = alt.Axis(tickCount=min(8, int(last)), format=",d")
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, last], nice=False), axis=axis, title="step")

    axis = alt.Axis(tickCount=4, format="~g", grid=True, gridOpacity=0.6, domain=False)
    y = alt.Y("loss:Q", axis=axis, scale=alt.Scale(zero=False, padding=14), title="loss a token, nats")
    base, other = alt.Chart(alt.Data(values=steps)), alt.Chart(alt.Data(values=held))
    marks = [base.mark_line(color=ACCENT, strokeWidth=2).encode(x=x("step"), y=y)]
    if len(steps) <= 60:
        marks.append(base.mark_circle(color=ACCENT, size=36, opacity=1).encode(x=x("step"), y=y))
    marks += [
        other.mark_line(color=MUTED, strokeWidth=2, strokeDash=[2, 4]).encode(x=x("step"), y=y),
        other.mark_circle(color=MUTED, size=64, opacity=1).encode(x=x("step"), y=y),
    ]
    return draw(alt.layer(*marks).properties(width=_WIDTH - 60, height=180, padding=_PADDING), label=label)
