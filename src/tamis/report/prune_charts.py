"""The figures about a cut model, as functions of plain values; colours and fonts come from the page."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from markupsafe import Markup

from tamis.report.drawing import ACCENT, INK, MUTED, QUIET, RULE, draw
from tamis.report.tokens_strips import plain

DECADES = 3.0
"""Powers of ten from which scores are drawn on a log scale."""
_WIDTH = 640
_EXTENT = 46
"""Room for the labels of scores, the same in all panels so that layers stand below each other."""
_STRIP, _GAP = 11, 6
"""Height of the cells that say what becomes of a layer, and their distance from the bars."""
_PADDING = {"left": 8, "right": 20, "top": 4, "bottom": 4}
TALL, LOW = 96, 60
"""Heights of the panel of the criterion that decided, and of the others."""
_PAGE = "var(--page)"

Interval = Sequence[float]
"""``[value, low, high]``."""


@dataclass(frozen=True)
class Panel:
    """What one criterion says about all layers.

    Attributes
    ----------
    name, words : str
        The criterion, and what it measures.
    scores : sequence of float or None, or None
        None for a criterion that measures nothing, such as an order by place: its layers have cells and no bars.
    goes : collection of int
        Layers that this criterion drops, or would drop.
    spared : collection of int
        Protected layers.
    undecided : collection of int
        Layers without a score.
    chosen : bool
        Whether this criterion decided.
    rivals : bool, default True
        Whether there are other criteria, so that the title says which one was chosen.
    """

    name: str
    words: str
    scores: Sequence[float | None] | None
    goes: Collection[int]
    spared: Collection[int]
    undecided: Collection[int]
    chosen: bool
    rivals: bool = True


def is_log(scores: Sequence[float | None]) -> bool:
    """Whether scores span so many powers of ten that most bars would vanish on a linear scale.

    Examples
    --------
    >>> is_log([20.0, 3e6, None]), is_log([20.0, 3e3]), is_log([0.0, 3e6])
    (True, False, False)
    """
    known = [score for score in scores if score is not None]
    return bool(known) and min(known) > 0 and math.log10(max(known) / min(known)) > DECADES


def layer_panels(panels: Sequence[Panel], n_layers: int, *, label: str) -> Markup:
    """Draw the scores of all layers, one criterion below the other, with what becomes of each layer.

    Parameters
    ----------
    panels : sequence of Panel
    n_layers : int
    label : str
        Text for readers who do not see the figure.
    """
    parts = [_panel(panel, n_layers, last=panel is panels[-1]) for panel in panels]
    return draw(alt.vconcat(*parts, spacing=24).properties(padding=_PADDING), label=label)


def _panel(panel: Panel, n: int, *, last: bool) -> Any:
    width = _WIDTH - _EXTENT - 34
    height = 1 if panel.scores is None else TALL if panel.chosen else LOW
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, n) if n / step <= (26 if n <= 100 else 18))
    axis = alt.Axis(values=list(range(0, n, step)), format="d", domain=False, ticks=False, labelAngle=0,
                    offset=_STRIP + _GAP, labelOverlap=False, labelFontSize=11)  # fmt: skip
    x = alt.X("from:Q", scale=alt.Scale(domain=[-0.5, n - 0.5], nice=False, zero=False), axis=axis if last else None,
              title="layer, the first is 0")  # fmt: skip
    marks = [] if panel.scores is None else _bars(panel, x)
    marks += _cells(panel, n, x, height + _GAP, width / n)
    title = alt.Title(
        f"{plain(panel.name)}{' (chosen)' if panel.chosen and panel.rivals else ''}", subtitle=plain(panel.words),
        anchor="start", frame="group", offset=8, limit=width, color=INK if panel.chosen else MUTED, fontSize=13,
        fontWeight="bold" if panel.chosen else "normal", subtitleColor=MUTED, subtitleFontSize=11,
    )  # fmt: skip
    return alt.layer(*marks).properties(width=width, height=height, title=title)


def _bars(panel: Panel, x: Any) -> list[Any]:
    scores = panel.scores or []
    known = [score for score in scores if score is not None]
    log = is_log(scores)
    if log:
        low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
        every = -(-(high - low) // 3)
        ticks: Any = [10.0**e for e in range(low, high + 1, every)]
        floor, domain, kind = 10.0**low, [10.0**low, 10.0**high], "log"
    else:
        floor, kind, ticks = 0.0, "linear", alt.Undefined
        domain = [min(0.0, *known), max(0.0, *known) or 1.0] if known else [0.0, 1.0]
    most = max(map(abs, domain))
    axis = alt.Axis(values=ticks, tickCount=alt.Undefined if log else 2,
                    format="~s" if most >= 10_000 and (not log or floor >= 1) else "~g",
                    grid=True, gridOpacity=0.6, domain=False, ticks=False, minExtent=_EXTENT,
                    maxExtent=_EXTENT, labelOverlap=not log)  # fmt: skip
    y = alt.Y("floor:Q", scale=alt.Scale(type=kind, domain=domain, nice=False), axis=axis, title=None)
    marks = []
    for color, opacity, wanted in ((QUIET, 1.0, False), (ACCENT, _strength(panel), True)):
        rows = [{**_span(i, 0.12), "floor": floor, "score": score} for i, score in enumerate(scores)
                if score is not None and (i in panel.goes) == wanted]  # fmt: skip
        bars = alt.Chart(alt.Data(values=rows)).mark_rect(fill=color, fillOpacity=opacity)
        if rows:
            marks.append(bars.encode(x=x, x2="to:Q", y=y, y2="score:Q"))
    return marks


def _strength(panel: Panel) -> float:
    return 1.0 if panel.chosen else 0.35


def _span(layer: int, gap: float) -> dict[str, float]:
    return {"from": layer - 0.5 + gap, "to": layer + 0.5 - gap}


def _cells(panel: Panel, n: int, x: Any, top: float, cell: float) -> list[Any]:
    """The row below the bars: a cell for each layer, full where it goes, a dot where it is protected."""
    marks = []
    undecided = set(panel.undecided)
    stays = [i for i in range(n) if i not in panel.goes and i not in undecided]
    for layers, color, opacity in ((stays, QUIET, 0.28), (sorted(panel.goes), ACCENT, _strength(panel))):
        if layers:
            rows = alt.Chart(alt.Data(values=[_span(i, 0.12) for i in layers]))
            marks.append(rows.mark_rect(fill=color, fillOpacity=opacity).encode(
                x=x, x2="to:Q", y=alt.value(top), y2=alt.value(top + _STRIP)))  # fmt: skip
    radius = min(3.4, 0.42 * cell)
    at = alt.value(top + _STRIP / 2)
    for layers, color, share in (
        (sorted(set(panel.spared) - undecided), MUTED, 1.0),
        (sorted(undecided), MUTED, 1.35),
        (sorted(undecided), _PAGE, 0.75),
    ):
        if layers:
            rows = alt.Chart(alt.Data(values=[{"from": i} for i in layers]))
            size = math.pi * (radius * share) ** 2
            marks.append(rows.mark_circle(color=color, size=size, opacity=1).encode(x=x, y=at))
    return marks


@dataclass(frozen=True)
class Held:
    """A perplexity from the records of the evidence, drawn beside the curve.

    Attributes
    ----------
    name : str
        Written beside a ring; a dot lies so near the line that words would cover it.
    dropped : int
    perplexity : Interval
    ring : bool
        Whether it is drawn as a ring: the healed model.
    """

    name: str
    dropped: int
    perplexity: Interval
    ring: bool


def perplexity_curve(
    curve: Sequence[tuple[int, Interval]], chosen: int, held: Sequence[Held], *, label: str
) -> Markup | None:
    """Draw the perplexity of the cut model against the number of layers that are gone.

    Parameters
    ----------
    curve : sequence of (dropped, Interval)
        Before healing, on the records to choose with; the first is the uncut model, a dashed line.
    chosen : int
        How many layers go; marked.
    held : sequence of Held
        Perplexities on other records, drawn a little to the right.
    label : str
        Text for readers who do not see the figure.

    Returns
    -------
    markupsafe.Markup or None
        None if the curve has fewer than two points.
    """
    if len(curve) < 2:
        return None
    rows: list[dict[str, Any]] = [{"n": n, "value": v, "low": low, "high": high} for n, (v, low, high) in curve]
    last = max(max(n for n, _ in curve), chosen)
    beside = [{"n": each.dropped + 0.026 * (last + 1), "value": each.perplexity[0], "low": each.perplexity[1],
               "high": each.perplexity[2], "words": each.name, "ring": each.ring} for each in held]  # fmt: skip
    ends = [float(row[end]) for row in [*rows, *beside] for end in ("low", "high")]
    domain = [0.88 * min(ends), 1.14 * max(ends)]
    axis = alt.Axis(values=log_ticks(*domain), format="~s" if domain[1] >= 10_000 else "~g", grid=True,
                    gridOpacity=0.6, domain=False, ticks=False)  # fmt: skip
    scale = alt.Scale(type="log", domain=domain, nice=False)

    def y(field: str) -> Any:
        return alt.Y(f"{field}:Q", scale=scale, axis=axis, title="perplexity, log scale")

    def x(field: str) -> Any:
        ticks = list(range(0, last + 1, max(1, -(-(last + 1) // 16))))
        across = alt.Axis(values=ticks, format="d", labelOverlap=False)
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[-0.25, last + 0.6], nice=False), axis=across,
                     title="layers dropped, in the chosen order")  # fmt: skip

    base = alt.Chart(alt.Data(values=rows))
    uncut = alt.Chart(alt.Data(values=[rows[0]])).mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1)
    mark = alt.Chart(alt.Data(values=[{"n": chosen, "words": f"{chosen} dropped"}]))
    marks = [
        mark.mark_rule(color=RULE, strokeWidth=6).encode(x=x("n")),
        base.mark_area(color=ACCENT, fillOpacity=0.16).encode(x=x("n"), y=y("low"), y2="high:Q"),
        uncut.encode(y=y("value")),
        base.mark_line(color=ACCENT, strokeWidth=2).encode(x=x("n"), y=y("value")),
        base.mark_circle(color=ACCENT, size=40, opacity=1).encode(x=x("n"), y=y("value")),
        mark.mark_text(dy=-9, fontSize=12, color=INK, align="center" if chosen < last else "right").encode(
            x=x("n"), y=alt.value(0), text="words:N"),
    ]  # fmt: skip
    marks += _held(beside, x, y)
    return draw(alt.layer(*marks).properties(width=_WIDTH - 70, height=240, padding=_PADDING), label=label)


def _held(rows: Sequence[dict[str, Any]], x: Any, y: Any) -> list[Any]:
    marks = []
    for ring, color in ((False, MUTED), (True, ACCENT)):
        some = [row for row in rows if row["ring"] == ring]
        if not some:
            continue
        base = alt.Chart(alt.Data(values=some))
        marks.append(base.mark_rule(color=color, strokeWidth=2).encode(x=x("n"), y=y("low"), y2="high:Q"))
        marks.append(base.mark_circle(color=color, size=90 if ring else 56, opacity=1).encode(x=x("n"), y=y("value")))
        if ring:
            marks.append(base.mark_circle(color=_PAGE, size=30, opacity=1).encode(x=x("n"), y=y("value")))
            words = base.mark_text(align="left", dx=10, fontSize=12, color=INK)
            marks.append(words.encode(x=x("n"), y=y("value"), text="words:N"))
    return marks


def log_ticks(low: float, high: float) -> list[float]:
    """Return up to seven round numbers between two positive ones.

    Examples
    --------
    >>> log_ticks(18, 60), log_ticks(15, 4e4), log_ticks(21, 29)
    ([20.0, 30.0, 40.0, 50.0, 60.0], [100.0, 1000.0, 10000.0], [22.0, 24.0, 26.0, 28.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (tuple(0.2 * i for i in range(5, 50)), tuple(0.5 * i for i in range(2, 20)), tuple(range(1, 10)),
             (1, 2, 5), (1,))  # fmt: skip
    for marks in steps:
        found = [float(f"{m * 10.0**e:.6g}") for e in range(first, last + 1) for m in marks]
        found = [value for value in found if low <= value <= high]
        if len(found) <= 7:
            return found
    return found[:: -(-len(found) // 7)]
