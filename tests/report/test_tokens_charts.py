from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tamis.report.tokens_charts import kept_by_name, kept_by_place, score_density, warmup_curve
from tamis.report.tokens_strips import strip_view, tint_bounds, visible


def dots(svg: str, colour: str = "var(--accent)") -> list[tuple[float, float]]:
    """Places of the circles of a colour."""
    found = re.findall(rf'<path d="([^"]*h0)" stroke="{re.escape(colour)}"', svg)
    return [(float(x), float(y)) for path in found for x, y in re.findall(r"M(-?[\d.]+),(-?[\d.]+)h0", path)]


def dashed(svg: str, axis: str) -> float:
    """Place of the dashed line."""
    [place] = re.findall(r'<line[^>]*transform="translate\((-?[\d.]+),(-?[\d.]+)\)"[^>]*stroke-dasharray="5,4"', svg)
    return float(place["xy".index(axis)])


def words(svg: str) -> list[str]:
    return [str(text.text) for text in ET.fromstring(svg).iter("text")]


def density(cut: float | None, edges: Any = None, counts: Any = None) -> str:
    edges = np.linspace(-1, 1, 61).tolist() if edges is None else edges
    svg = score_density(edges, [5] * 60 if counts is None else counts, cut, title="score", label="density")
    assert svg is not None
    return svg


def areas(svg: str) -> dict[str, tuple[float, float]]:
    """First and last x of the area of each colour."""
    found = {}
    for path, colour in re.findall(r'<path d="(M[^"]*Z)" fill="(var\(--(?:accent|quiet)\))"', svg):
        xs = [float(x) for x in re.findall(r"[ML](-?[\d.]+)", path)]
        found[colour] = (min(xs), max(xs))
    return found


@pytest.mark.parametrize("cut", [-0.5, -0.0006, 0.01, 0.5])
def test_density_changes_colour_at_the_cut(cut: float) -> None:
    svg = density(cut)
    found = areas(svg)
    at = (cut + 1) / 2 * 580
    assert dashed(svg, "x") == pytest.approx(at, abs=0.2)
    assert found["var(--quiet)"] == (pytest.approx(0, abs=0.1), pytest.approx(at, abs=0.2))
    assert found["var(--accent)"] == (pytest.approx(at, abs=0.2), pytest.approx(580, abs=0.1))


def test_density_without_one_cut_has_one_colour_and_no_line() -> None:
    svg = density(None)
    assert list(areas(svg)) == ["var(--quiet)"]
    assert "stroke-dasharray" not in svg


@pytest.mark.parametrize(("cut", "colour"), [(-3.0, "var(--accent)"), (3.0, "var(--quiet)")])
def test_cut_outside_the_bins_is_drawn_all_the_same(cut: float, colour: str) -> None:
    svg = density(cut)
    assert list(areas(svg)) == [colour]
    assert 'stroke-dasharray="5,4"' in svg
    assert f"cut {'−' if cut < 0 else ''}3.000" in words(svg)


def test_band_around_the_cut_is_as_wide_as_it_says() -> None:
    svg = density(0.0, edges=np.linspace(-0.1, 0.1, 61).tolist())
    widths = [float(w) for w in re.findall(r'<line[^>]*x2="(-?[\d.]+)"[^>]*stroke-width="4"', svg)]
    assert [abs(w) for w in widths] == [pytest.approx(58, abs=0.2)]


@pytest.mark.parametrize(("edges", "counts"), [([0.0] * 61, [0] * 60), (list(range(61)), [0] * 60)])
def test_no_scores_make_no_density(edges: list[float], counts: list[int]) -> None:
    assert score_density(edges, counts, 0.0, title="score", label="density") is None


def row(name: str, kept: list[float | None], tokens: int = 10) -> dict[str, Any]:
    return {"name": name, "tokens": tokens, "kept": kept}


ROWS = [row("a", [0.25, 0.0, 0.5]), row("b", [0.75, None, None]), row("c\x00", [None, None, None], 0)]


def test_shares_lie_where_they_are_and_a_missing_one_has_no_dot() -> None:
    svg = kept_by_name(ROWS, 0.5, label="shares")
    (x0, y0), (x1, y1) = dots(svg)
    middle = dashed(svg, "x")
    assert (middle - x0, x1 - middle) == (pytest.approx(middle / 2, abs=0.2), pytest.approx(middle / 2, abs=0.2))
    assert y0 < y1
    assert {"a", "b", "c␀", "25 % of 10", "– of 0"} <= set(words(svg))
    assert "stroke-dasharray" not in kept_by_name(ROWS, None, label="shares")


def test_places_in_the_answer_go_from_left_to_right() -> None:
    rows = [row(f"{10 * i}–{10 * i + 10} %", [0.1 * i, 0.0, 1.0]) for i in range(10)]
    svg = kept_by_place(rows, 0.45, label="places")
    points = dots(svg)
    assert points == sorted(points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert points[4][1] > dashed(svg, "y") > points[5][1]
    assert {"0–10", "90–100", "part of the answer, % from its beginning"} <= set(words(svg))
    assert len(dots(kept_by_place(ROWS, None, label="places"))) == 2


def test_warm_up_curve_draws_what_is_known() -> None:
    svg = warmup_curve([[1, 2.0], [2, None], [3, 1.0]], 3.0, None, label="curve")
    assert svg is not None
    (x0, y0), (x1, y1) = dots(svg)
    assert x0 < x1
    assert y0 < y1
    [(held, top)] = dots(svg, "var(--muted)")
    assert held == 0
    assert top < y0
    assert warmup_curve([], 1.0, 2.0, label="curve") is None
    assert warmup_curve([[1, 2.0]], 1.0, 2.0, label="curve") is None


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" the", " the"), ("\n\n", "↵↵"), ("\r\n", "↵"), ("\t\tx", "⇥⇥x"), (" ", "␣"), ("\u00a0\u3000", "␣␣"), ("", ""),
        ("\x07", "␇"), ("\x7f", "␡"), ("\x85", "\ufffd"), ("\ud83d", "\ufffd"), ("\ufffe", "\ufffd"),
        ("\u202eabc", "U+202Eabc"), ("\u200b", "U+200B"), ("\u200d", "U+200D"), ("क\u200dष", "क\u200dष"),
        ("\u2028", "↵"), ("\ufeffx", "U+FEFFx"), ("é🙂", "é🙂"),
    ],
)  # fmt: skip
def test_nothing_in_a_token_is_invisible(token: str, shown: str) -> None:
    assert "".join(part for part, _ in visible(token)) == shown


def strip(*tokens: tuple[str, float | None, bool]) -> dict[str, Any]:
    names, score, keep = (list(part) for part in zip(*tokens, strict=True))
    return {"unit_id": "r", "prompt": "p", "tokens": names, "score": score, "keep": keep,
            "base": [1.0] * len(names), "reference": [1.0] * len(names), "cut_short": False}  # fmt: skip


def test_one_leading_space_stands_before_its_token_and_indentation_inside() -> None:
    view = strip_view(strip((" a", 0.1, True), ("    b", 0.2, True), ("\n", 0.3, False), (" ", 0.4, False)), [])
    assert [(each.lead, each.parts) for each in view["pieces"]] == [
        (" ", (("a", False),)), ("", (("    b", False),)), ("", (("↵", True), ("\n", False))), ("", (("␣", True),))
    ]  # fmt: skip


def test_pieces_say_every_token_in_its_order() -> None:
    tokens = [("A", 0.1, True), (" b", None, False), ("c", None, False), ("\n", -0.3, False), ("d e", 2.0, True)]
    some = strip(*tokens)
    view = strip_view(some, tint_bounds([some]))
    text = "".join(each.lead + "".join(part for part, _ in each.parts) for each in view["pieces"])
    assert text == "A bc↵\nd e"
    assert [each.kind for each in view["pieces"]] == ["k1", "u", "m", "k4"]
    assert (view["kept"], view["ranked"], view["tokens"]) == (2, 3, 5)


def test_equal_scores_have_one_tint() -> None:
    assert tint_bounds([strip(("a", 0.5, True), ("b", 0.5, True))]) == []
    assert tint_bounds([strip(("a", 0.5, False))]) == []
