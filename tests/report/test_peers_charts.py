from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tamis.report.peers_charts import coverage_lines, sign_text, stratum_maps
from tamis.report.peers_ladder import worker_ladder

COLOURS = {"none"} | {
    f"var(--{name})"
    for name in ("ink", "muted", "rule", "accent", "quiet", "heat", "on-light-cell", "on-full-cell", "page")
}


def dots(svg: str, colour: str) -> list[tuple[float, float]]:
    """Places of the circles of a colour."""
    found = re.findall(rf'<path d="([^"]*h0)" stroke="{re.escape(colour)}"', svg)
    return [(float(x), float(y)) for path in found for x, y in re.findall(r"M(-?[\d.]+),(-?[\d.]+)h0", path)]


def worker(place: int, score: float, action: str | None, *, half: float = 0.05) -> dict[str, Any]:
    return {"place": place, "worker": f"w{place}", "score": score, "low": score - half, "high": score + half,
            "action": action, "n_scored": 40}  # fmt: skip


def crowd_rows(n: int, n_workers: int | None = None, threshold: float = 0.1) -> list[dict[str, Any]]:
    places = np.unique(np.linspace(0, (n_workers or n) - 1, n).round().astype(int))
    scores = np.linspace(-0.1, 0.4, n)
    return [worker(int(p), float(s), "review" if s <= threshold else "keep")
            for p, s in zip(places, scores, strict=True)]  # fmt: skip


def ladder(rows: list[dict[str, Any]], n_workers: int | None = None, **changes: Any) -> str:
    given: dict[str, Any] = {
        "threshold": [0.1, 0.08, 0.12], "band": (0.02, 0.1), "title": "score", "words": "flagged at or below 0.100",
        "label": "ladder",
    }  # fmt: skip
    return worker_ladder(rows, n_workers=n_workers or len(rows), **{**given, **changes})


def dashed_x(svg: str) -> float:
    found = re.search(r'<line[^>]*transform="translate\((-?[\d.]+),[^"]*"[^>]*stroke-dasharray="5,4"', svg)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("n", [1, 5, 40, 60, 240])
def test_ladder_draws_each_worker_once_in_order(n: int) -> None:
    svg = ladder(crowd_rows(n))
    flagged, kept = dots(svg, "var(--accent)"), dots(svg, "var(--muted)")
    assert len(flagged) + len(kept) == n
    points = sorted(flagged + kept, key=lambda point: point[1])
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert len({y for _, y in points}) == n
    assert len(svg) < 45_000


def test_threshold_lies_where_its_value_lies() -> None:
    rows = [worker(0, 0.0, "re-collect"), worker(1, 0.1, "review"), worker(2, 0.2, "keep"), worker(3, 0.4, "keep")]
    svg = ladder(rows)
    [left, at] = sorted(x for x, _ in dots(svg, "var(--accent)"))
    [right, far] = sorted(x for x, _ in dots(svg, "var(--muted)"))
    assert dashed_x(svg) == pytest.approx(at, abs=0.2)
    assert right - at == pytest.approx(at - left, abs=0.2)
    assert far - right == pytest.approx(2 * (right - at), abs=0.3)
    band = re.search(r'<path d="M(-?[\d.]+),[^"h]*h(-?[\d.]+)[^"]*"[^>]*fill="var\(--quiet\)"', svg)
    assert band is not None
    per_score = (right - left) / 0.2
    ends = sorted([float(band[1]), float(band[1]) + float(band[2])])
    assert ends == [pytest.approx(left + 0.02 * per_score, abs=0.3), pytest.approx(left + 0.1 * per_score, abs=0.3)]


def test_states_differ_by_more_than_colour() -> None:
    rows = [worker(0, 0.0, "re-collect"), worker(1, 0.05, "review"), worker(2, 0.3, "keep")]
    svg = ladder(rows)
    assert len(dots(svg, "var(--page)")) == 1  # the ring of the worker to review
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"flagged", "kept", "flagged at or below 0.100"} <= set(words)
    undecided = ladder([worker(0, 0.0, None), worker(1, 0.1, None)], threshold=None, band=None, words="")
    assert len(dots(undecided, "var(--page)")) == 2
    assert "undecided" in re.findall(r"<text[^>]*>([^<]*)</text>", undecided)
    assert "stroke-dasharray" not in undecided


def test_brackets_are_left_out_where_decisions_alternate() -> None:
    rows = [worker(0, 0.0, "review"), worker(1, 0.1, "keep"), worker(2, 0.2, "review")]
    words = re.findall(r"<text[^>]*>([^<]*)</text>", ladder(rows))
    assert "kept" not in words


@pytest.mark.parametrize(("n", "named"), [(40, True), (41, False)])
def test_names_stand_at_the_rows_of_up_to_forty_workers(n: int, named: bool) -> None:
    words = re.findall(r"<text[^>]*>([^<]*)</text>", ladder(crowd_rows(n)))
    assert ("w0" in words) == named
    assert ("w39" in words) == named
    assert ("place, from the lowest score" in words) != named


def test_places_of_a_large_crowd_reach_its_end() -> None:
    svg = ladder(crowd_rows(240, 10_000), 10_000)
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"1", "2,000", "10,000"} <= set(words)
    assert len(dots(svg, "var(--accent)")) + len(dots(svg, "var(--muted)")) == 240


def test_intervals_that_are_not_known_and_odd_names_do_not_stop_the_ladder() -> None:
    rows = [{**worker(0, 0.0, "review"), "low": None, "high": None, "worker": 'a"\\\x00<b>'}, worker(1, 0.2, "keep")]
    svg = ladder(rows, threshold=[0.1, None, None])
    root = ET.fromstring(svg)
    assert any(text.text == 'a"\\\N{REPLACEMENT CHARACTER}<b>' for text in root.iter("text"))


def stratum(label: str, difference: list[list[float]], n_tasks: int = 20) -> dict[str, Any]:
    return {"label": label, "n_tasks": n_tasks, "difference": difference, "sign": np.sign(difference).tolist()}


def test_maps_write_every_sign_and_tint_by_strength() -> None:
    svg = stratum_maps([stratum("a", [[0.2, -0.1], [-0.1, 0.0]]), stratum("b", [[0.1, 0.1], [0.1, 0.1]])], ["a", "b"],
                       label="maps")  # fmt: skip
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [words.count(sign) for sign in "+−0"] == [5, 2, 1]
    assert {"LLM said a", "LLM said b", "20 tasks"} <= set(words)
    shades = sorted(float(v) for v in re.findall(r'fill="var\(--heat\)" fill-opacity="([\d.]+)"', svg))
    assert shades == [0.5, 0.5, 0.5, 0.5, 1.0]
    assert re.findall(r'fill="var\(--quiet\)" fill-opacity="([\d.]+)"', svg).count("0.5") == 2
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) <= COLOURS


@pytest.mark.parametrize(("n", "K"), [(1, 2), (5, 5), (8, 8)])
def test_maps_of_many_strata_hold_every_cell(n: int, K: int) -> None:
    names = [f"class {i} <&>" for i in range(K)]
    svg = stratum_maps([stratum(name, np.full((K, K), 0.1).tolist()) for name in names[:n]], names, label="maps")
    assert svg.count('fill="var(--heat)"') == n * K * K
    assert float(svg.split('viewBox="0 0 ')[1].split()[0]) < 700
    assert len(svg) < 150_000


def test_signs_of_ordered_classes_are_fractions() -> None:
    assert [sign_text(v) for v in (1.0, 0.5, 0.0, -0.25, -1.0)] == ["+", "+.5", "0", "−.2", "−"]


def test_curve_draws_its_values() -> None:
    svg = coverage_lines({"removed": [0, 1, 2], "one": [1.0, 1.0, 0.5], "two": [1.0, 0.5, 0.0]}, 1, label="curve")
    lines = {
        colour: [tuple(map(float, point.split(","))) for point in re.split("[ML]", path)[1:]]
        for path, colour in re.findall(r'<path d="(M[^"]*L[^"]*)" stroke="(var\(--(?:accent|muted)\))"', svg)
    }
    one, two = lines["var(--muted)"], lines["var(--accent)"]
    [(x0, top), (x1, middle), (x2, bottom)] = two
    assert (x1 - x0, top) == (pytest.approx(x2 - x1, abs=0.2), pytest.approx(0.0, abs=0.2))
    assert middle == pytest.approx(bottom / 2, abs=0.2)
    assert [y for _, y in one] == [pytest.approx(v, abs=0.2) for v in (top, top, middle)]
    assert dashed_x(svg) == pytest.approx(x1, abs=0.2)
    assert "1 flagged" in re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert "flagged" not in coverage_lines({"removed": [0, 1], "one": [1, 0], "two": [1, 0]}, None, label="curve")
