"""From an Altair chart to a small SVG that takes its colours from the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import vl_convert
from markupsafe import Markup

INK, MUTED, RULE = "var(--ink)", "var(--muted)", "var(--rule)"
ACCENT, QUIET, HEAT = "var(--accent)", "var(--quiet)", "var(--heat)"
ON_LIGHT_CELL, ON_FULL_CELL = "var(--on-light-cell)", "var(--on-full-cell)"

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "domainColor": RULE, "tickColor": RULE, "gridColor": RULE,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8, "labelPadding": 5,
        "tickSize": 4, "grid": False,
    },
}  # fmt: skip
"""House theme. Vega passes ``var(--...)`` through as it stands, so one SVG serves light, dark and print."""

_KEPT_ATTRIBUTES = frozenset(
    {"transform", "d", "x", "y", "x2", "y2", "width", "height", "text-anchor", "font-size", "font-weight", "fill",
     "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity"}
)  # fmt: skip
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
_CIRCLE = re.compile(r"M([\d.]+),0A")
_PLACE = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")


def draw(chart: Any, *, label: str) -> Markup:
    """Draw a chart as an inline ``<svg>``.

    Colours stay CSS variables, fonts are those of the page, coordinates have one decimal, and the circles of a
    layer become one path, so that two thousand points need about 30 KB. The bytes depend on the chart alone.

    Parameters
    ----------
    chart : altair.TopLevelMixin
        Any chart. Point marks must be circles.
    label : str
        What the figure says, for readers who do not see it.

    Returns
    -------
    markupsafe.Markup

    Examples
    --------
    >>> import altair as alt
    >>> points = alt.Chart(alt.Data(values=[{"x": 1, "y": 2}])).mark_circle().encode(x="x:Q", y="y:Q")
    >>> svg = draw(points, label="One <point>")
    >>> svg.startswith('<svg'), 'aria-label="One &lt;point&gt;"' in svg, "http" in svg
    (True, True, False)
    """
    spec = chart.to_dict()
    spec["config"] = CONFIG
    text: str = vl_convert.vegalite_to_svg(spec)
    # inside HTML the namespace is implied, and without it element names stay bare here
    root = ET.fromstring(re.sub(r' xmlns(:xlink)?="[^"]*"', "", text, count=2))
    _clean(root)
    width, height = root.get("width", "0"), root.get("height", "0")
    root.attrib.clear()
    root.attrib.update(
        {"role": "img", "aria-label": label, "viewBox": f"0 0 {width} {height}", "style": f"max-width:{width}px"}
    )
    # Markup is safe here: ElementTree has escaped every text and attribute
    return Markup(ET.tostring(root, encoding="unicode"))


def _clean(parent: ET.Element) -> None:
    """Drop what is invisible or told elsewhere, and shorten the rest."""
    if "role-mark" in parent.get("class", "") and "mark-symbol" in parent.get("class", ""):
        circles = list(_joined_circles(parent))
        parent[:] = circles
    for child in list(parent):
        _clean(child)
        empty = child.tag == "g" and len(child) == 0
        blank = child.tag == "path" and child.get("d") in ("", "M0,0h0v0h0Z")
        if empty or blank or child.get("display") == "none":
            parent.remove(child)
    for name, value in list(parent.attrib.items()):
        if name not in _KEPT_ATTRIBUTES or (name, value) in (("opacity", "1"), ("transform", "translate(0,0)")):
            del parent.attrib[name]
        elif "opacity" in name:
            parent.set(name, f"{float(value):.2g}")
        else:
            parent.set(name, _LONG_NUMBER.sub(_one_decimal, value))


def _joined_circles(group: ET.Element) -> Iterator[ET.Element]:
    """Circles of one look as a single path of round dots: zero-length strokes with round ends."""
    looks: dict[tuple[str, str, str], list[str]] = {}
    for circle in group:
        radius, place = _CIRCLE.match(circle.get("d", "")), _PLACE.match(circle.get("transform", ""))
        if radius is None or place is None:
            yield circle
            continue
        look = (circle.get("fill", INK), radius[1], circle.get("opacity", "1"))
        x, y = (f"{float(v):.1f}" for v in place.groups())
        looks.setdefault(look, []).append(f"M{x},{y}h0")
    for (fill, size, opacity), places in looks.items():
        yield ET.Element(
            "path",
            {"d": "".join(places), "stroke": fill, "stroke-width": f"{2 * float(size):.1f}", "stroke-opacity": opacity},
        )


def _one_decimal(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}"
