"""One figure of heat maps: matrices from neighbours beside the judges' repeats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

_CELL = 34
_DARK_FROM = 0.55
"""Value from which a cell is so dark that its number must be white."""


@dataclass(frozen=True)
class Panel:
    """One heat map of row-wise probabilities, shape (K, K); panels of one ``row`` stand side by side."""

    row: str
    title: str
    y: str
    x: str
    values: NDArray[np.float64]
    names: tuple[str, ...]


def draw_panels(panels: list[Panel], path: Path) -> None:
    """Write the panels, one line a judge, as SVG or PNG by the ending of ``path``."""
    lines: dict[str, list[Panel]] = {}
    for panel in panels:
        lines.setdefault(panel.row.split(":")[0], []).append(panel)
    rows = [
        alt.hconcat(*(_heat_map(panel) for panel in line), spacing=28).properties(
            title=alt.TitleParams(name, anchor="start", fontSize=15)
        )
        for name, line in lines.items()
    ]
    title = alt.TitleParams(
        "What neighbours say about a judge, beside what the judge says when asked again",
        subtitle="Cells are percentages of the row. A repeat compares two noisy ratings: hold it against the repeat "
        "that T implies, not against T. T measures inconsistency among neighbours, not accuracy.",
        anchor="start", fontSize=17, subtitleFontSize=12, subtitleColor="#555", offset=16,
    )  # fmt: skip
    chart = alt.vconcat(*rows, spacing=26).properties(title=title, background="white", padding=18)
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.configure(font="sans-serif").configure_view(stroke=None).save(str(path))


def _heat_map(panel: Panel) -> Any:
    cells = [
        {"i": row, "j": column, "percent": round(100 * float(value)) if np.isfinite(value) else None}
        for row, values in zip(panel.names, panel.values, strict=True)
        for column, value in zip(panel.names, values, strict=True)
    ]
    names, size = list(panel.names), _CELL * len(panel.names)
    axis = {"labelAngle": 0, "ticks": False, "domain": False, "labelFontSize": 11, "titleFontWeight": "normal"}
    base = alt.Chart(alt.Data(values=cells)).encode(
        y=alt.Y("i:N", sort=names, title=panel.y, axis=alt.Axis(**axis)),
        x=alt.X("j:N", sort=names, title=panel.x, axis=alt.Axis(**axis)),
    )
    heat = base.mark_rect(stroke="white", strokeWidth=1).encode(
        color=alt.Color("percent:Q", scale=alt.Scale(domain=[0, 100], range=["#f4f7fb", "#08306b"]), legend=None)
    )
    text = base.mark_text(fontSize=11).encode(
        text="percent:Q",
        color=alt.condition(f"datum.percent >= {100 * _DARK_FROM}", alt.value("white"), alt.value("#1a1a1a")),
    )
    wide = max(size, 150)
    title = panel.title if ":" not in panel.row else f"{panel.row.split(':')[1].strip()}: {panel.title}"
    return (heat + text).properties(
        width=wide, height=size, title=alt.TitleParams(title, fontSize=12, fontWeight="normal", anchor="start")
    )
