from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from tamis.report import charts

T = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.05, 0.55, 0.4]]
LOW = [[v - 0.01 for v in row] for row in T]
HIGH = [[v + 0.02 for v in row] for row in T]
NAMES = ("1", "2", "3")


def matrix(**changes: object) -> Markup:
    given_: dict[str, object] = {"low": LOW, "high": HIGH, "names": NAMES, "unidentified": (2,), "label": "matrix"}
    return charts.transition_heatmap(T, [0.5, 0.3, 0.2], **{**given_, **changes})  # type: ignore[arg-type]


def points(n: int) -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(0)
    return [(float(s), float(r), float(s == 2)) for s, r in zip(rng.integers(0, 3, n), rng.random(n), strict=True)]


DRAWINGS: dict[str, Callable[[], Markup]] = {
    "histogram": lambda: charts.histogram([0.5, 1.5, 2.5], [3, 4], [0, 4], x="rating", label="figure"),
    "classes": lambda: charts.class_counts(NAMES, {"before": [1, 2, 3], "after": [2, 2, 2]}, x="class", label="figure"),
    "overlay": lambda: charts.class_counts(
        NAMES, {"pool": [1, 2, 3], "kept": [0, 0, 3]}, x="class", label="figure", overlay=True
    ),
    "matrix": lambda: matrix(label="figure"),
    "thresholds": lambda: charts.threshold_line([(0.3, 9), (0.5, 5), (0.9, 0)], 0.5, label="figure"),
    "scatter": lambda: charts.score_rarity(points(50), NAMES, label="figure"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawing_is_deterministic_labelled_and_takes_its_colours_from_the_page(name: str) -> None:
    svg = DRAWINGS[name]()
    assert svg == DRAWINGS[name]()
    assert svg.startswith('<svg role="img" aria-label="figure" viewBox="0 0 ')
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) <= {
        "none", *(f"var(--{v})" for v in ("ink", "muted", "rule", "accent", "quiet", "heat", "on-light-cell",
                                          "on-full-cell")),
    }  # fmt: skip
    assert "http" not in svg


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(1, 60))
def test_merging_bins_loses_no_rating_and_respects_the_limit(counts: list[int], limit: int) -> None:
    edges = list(range(len(counts) + 1))
    bounds, (merged,) = charts.merge_bins(edges, counts, limit=limit)
    assert len(merged) == len(bounds) - 1 <= limit
    assert sum(merged) == sum(counts)
    assert (bounds[0], bounds[-1]) == (edges[0], edges[-1])
    for a, b, total in zip(bounds[:-1], bounds[1:], merged, strict=True):
        assert total == sum(counts[int(a) : int(b)])


def test_histogram_of_a_wide_scale_has_at_most_forty_bars() -> None:
    svg = charts.histogram(list(range(102)), [1] * 101, [1] * 101, x="rating", label="wide")
    assert 0 < svg.count('fill="var(--quiet)"') <= 40
    assert svg.count('fill="var(--accent)"') == svg.count('fill="var(--quiet)"')


def test_matrix_shows_values_intervals_priors_and_marks_what_is_not_identified() -> None:
    words = re.findall(r"<text[^>]*>([^<]*)</text>", matrix())
    for i in range(3):
        for j in range(3):
            assert f"{T[i][j]:.2f}" in words
            assert f"{LOW[i][j]:.2f}–{HIGH[i][j]:.2f}" in words
    assert {"✕ 3", "2", "50 %", "30 %", "20 %"} <= set(words)
    assert "✕ 1" not in words


def test_matrix_without_intervals_shows_values_only() -> None:
    words = re.findall(r"<text[^>]*>([^<]*)</text>", matrix(low=None, high=None))
    assert "0.70" in words
    assert not any("–" in word for word in words)


def test_darker_cells_mean_larger_probabilities_and_keep_their_text_readable() -> None:
    svg = matrix()
    shades = {float(v) for v in re.findall(r'fill="var\(--heat\)" fill-opacity="([\d.]+)"', svg)}
    assert shades == {v for row in T for v in row}
    full = re.findall(r'fill="var\(--on-full-cell\)"[^>]*>([^<]*)<', svg)
    assert full == ["0.90", "0.89–0.92"]


def test_large_matrix_still_draws_every_cell() -> None:
    K = 25
    eye = np.eye(K).tolist()
    svg = charts.transition_heatmap(eye, [1 / K] * K, eye, eye, [str(i) for i in range(K)], label="large")
    assert svg.count('fill="var(--heat)"') == K * K
    assert len(svg) < 150_000


def test_scatter_draws_each_point_once_and_stays_small() -> None:
    svg = charts.score_rarity(points(2000), NAMES, label="scatter")
    assert svg.count("h0") == 2000
    kept = re.search(r'<path d="([^"]*)" stroke="var\(--accent\)"', svg)
    assert kept is not None
    assert kept[1].count("h0") == sum(1 for p in points(2000) if p[2])
    assert len(svg) < 45_000


def test_scatter_axis_writes_class_names() -> None:
    svg = charts.score_rarity(points(20), ("1-4", "5", "6"), label="scatter")
    assert ">1-4</text>" in svg
    assert ">1-4</text>" not in charts.score_rarity(points(20), None, label="scatter")


def test_threshold_outside_the_grid_is_inside_the_figure() -> None:
    svg = charts.threshold_line([(0.3, 9), (0.9, 1)], 1.0, label="thresholds")
    width = float(svg.split('viewBox="0 0 ')[1].split()[0])
    rule = re.search(r"<line[^>]*translate\(([\d.]+),[^>]*stroke-dasharray", svg)
    assert rule is not None
    assert 0 < float(rule[1]) < width


def test_label_and_names_are_escaped() -> None:
    svg = charts.class_counts(["<a>", "&"], {"x": [1, 2], "y": [2, 1]}, x='"><script>', label='"><script>')
    assert "<script" not in svg
    assert "<a>" not in svg
    assert "&lt;a&gt;" in svg
