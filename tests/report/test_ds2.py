from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tamis.report import write_report
from tamis.report.ds2 import count_reasons
from tamis.report.findings import read_findings
from tamis.runs import Run


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def plain(html: str) -> str:
    """Text of a page with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split("</style>")[1]))


def findings_path(folder: Path) -> Path:
    return next((folder / "steps").glob("*-curate/findings.json"))


@pytest.fixture
def changed_copy(usable_run: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Return a function that copies the run and changes its findings."""

    def change(edit: Callable[[dict[str, Any]], None]) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(usable_run, folder)
        path = findings_path(folder)
        found = json.loads(path.read_text(encoding="utf-8"))
        edit(found)
        path.unlink()
        path.write_text(json.dumps(found), encoding="utf-8")
        return folder

    return change


def test_missing_ratings_are_a_third_state(usable_page: str) -> None:
    text = plain(usable_page)
    assert "4 records have no rating by any rater and were not decided" in text
    assert "records undecided no rating: neither kept nor dropped 4" in text
    row = re.search(r"<th scope=\"row\">judge</th>(.*?)</tr>", usable_page, flags=re.DOTALL)
    assert row is not None
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row[1])[:4] == ["236", "1", "2", "1"]
    assert "no rating: not measured, so not decided" in text


def test_numbers_are_those_of_the_findings(usable_page: str, usable_run: Path) -> None:
    found = read_findings(Run.open(usable_run), "curate")
    text = plain(usable_page)
    changed = found["raters"][0]["changed"]
    assert changed > 10
    assert f"{changed} ratings" in text
    assert "240 records came in from pool.jsonl and 1 row could not be read." in text
    assert "30 records were kept, 206 dropped." in text
    assert found["pool"]["reject_reasons"][0][0].split("(")[0] in text


def test_matrix_cells_and_intervals_are_drawn(usable_page: str, usable_run: Path) -> None:
    matrix = read_findings(Run.open(usable_run), "curate")["raters"][0]["transition"]
    drawing = re.search(r'<svg role="img" aria-label="Heat map.*?</svg>', usable_page, flags=re.DOTALL)
    assert drawing is not None
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawing[0])
    for i in range(3):
        for j in range(3):
            assert f"{matrix['T'][i][j]:.2f}" in words
            assert f"{matrix['low'][i][j]:.2f}–{matrix['high'][i][j]:.2f}" in words
    assert "inconsistency among neighbours, not accuracy" in usable_page


def test_usable_matrix_has_a_calm_banner(usable_page: str) -> None:
    assert "✓ Matrix usable" in usable_page
    assert 'class="banner stop"' not in usable_page


def test_higher_mean_is_not_sold_as_a_better_model(usable_page: str) -> None:
    assert "describes the subset; it does not prove a better model" in usable_page


def test_truth_scores_both_rules(usable_page: str, usable_run: Path) -> None:
    rules = read_findings(Run.open(usable_run), "curate")["raters"][0]["rules"]
    assert f"{rules['rank']['f1']:.3f}" in usable_page
    assert f"{rules['vote']['accuracy_after']:.3f}" in usable_page
    assert "rule is better here" in usable_page


def test_ratings_that_ignore_the_content_cannot_be_overlooked(make_run: Callable[..., Path]) -> None:
    page = page_of(make_run(noise=1.0))
    head = page.split('<section id="what-came-in"')[0]
    assert 'class="banner stop"' in head
    assert "✕ judge: matrix not usable" in head
    assert "tamis therefore corrected nothing" in head
    assert page.count('class="banner stop"') == 2
    assert "Not usable: shown for inspection only." in page
    assert "No rating of this rater was changed." in page
    assert "whether corrections hit the truth was not tested" in page


def test_partly_usable_matrix_names_what_was_left_alone(
    changed_copy: Callable[[Callable[[dict[str, Any]], None]], Path],
) -> None:
    def doubt(found: dict[str, Any]) -> None:
        rater = found["raters"][0]
        rater["transition"]["diagnostics"]["row_max"][1] = False
        rater["transition"]["diagnostics"]["observed"] = [0.4, 0.2, 0.4]
        rater.update(verdict="partly usable", correctable=[0, 2], warnings=["scores 1 and 2 cannot be told apart"] * 7)

    text = plain(page_of(changed_copy(doubt)))
    assert "▲ Matrix partly usable Class 2 is not identified (✕ below)" in text
    assert "tamis left ratings in class 2 as they were" in text
    assert "Scores 1 and 2 cannot be told apart." in text
    assert "2 further warnings" in text
    assert "✕ 2" in text


def test_several_raters(make_run: Callable[..., Path]) -> None:
    page = page_of(make_run(raters=("kind", "<i>strict</i>"), missing=3, correct="none"))
    text = plain(page)
    assert "<i>strict" not in page
    assert page.count('aria-label="Heat map of the transition matrix') == 2
    assert "Agreement between raters" in page
    assert "kind and &lt;i&gt;strict&lt;/i&gt;" in page
    assert "Correction was switched off: all ratings of this rater were used as they came." in text
    assert "The curated score is the mean of the raters' curated classes." in text.replace("&#39;", "'")
    assert "ratings not measured of 480 expected 6" in text


def test_without_intervals_the_page_says_so(make_run: Callable[..., Path]) -> None:
    page = page_of(make_run(n_bootstrap=0, rule="vote"))
    assert "No intervals were computed" in page
    assert "95 % intervals: they cover" not in page


def test_doubtful_ratings_stand_beside_their_neighbours(usable_page: str, usable_run: Path) -> None:
    doubtful = read_findings(Run.open(usable_run), "curate")["doubtful"]
    assert usable_page.count('<details class="card"') == len(doubtful) > 3
    first = usable_page.split('<details class="card"')[1]
    assert first.count('<span class="rating">') == 5
    assert f"Record {doubtful[0]['id']}, rated {doubtful[0]['rating']:g}" in first


def test_reasons_are_counted_without_each_records_own_numbers(usable_run: Path) -> None:
    selection = pl.read_parquet(usable_run / "selection.parquet")
    counted = count_reasons(selection)
    assert sum(row["n"] for row in counted) == 240
    assert len(counted) <= 9
    assert [row["decision"] for row in counted] == sorted(
        (row["decision"] for row in counted), key=["keep", "drop", None].index
    )
    kept = {row["reason"]: row["n"] for row in counted if row["decision"] == "keep"}
    assert sum(kept.values()) == 30
    assert not any(re.search(r"\d", reason) for reason in kept)


def test_broken_values_become_dashes(changed_copy: Callable[[Callable[[dict[str, Any]], None]], Path]) -> None:
    def spoil(found: dict[str, Any]) -> None:
        found["raters"][0]["rules"]["rank"]["precision"] = float("nan")
        found["agreement"] = [{"a": "x", "b": "y", "n": 0, "exact": float("nan"), "kappa": float("nan"), "rho": None}]
        found["selection"]["cut"] = None
        found["scatter"], found["doubtful"], found["composition"] = [], [], []

    page = page_of(changed_copy(spoil))
    assert not re.search(r">\s*(nan|None)\b", page)
    assert "No rating was flagged." in page


def test_page_of_a_large_pool_stays_small(changed_copy: Callable[[Callable[[dict[str, Any]], None]], Path]) -> None:
    rng = np.random.default_rng(0)
    n = 100_000

    def enlarge(found: dict[str, Any]) -> None:
        found["pool"].update(rows=n, distinct=n - 500, rejects=[["f" * 200, i, "r" * 200] for i in range(8)])
        found["scatter"] = [
            [float(s), float(r), float(s == 2)] for s, r in zip(rng.integers(0, 3, 2000), rng.random(2000), strict=True)
        ]
        entry = {"id": "i" * 32, "rating": 1.0, "prompt": '"' * 600, "response": "<" * 600}
        near = [{**entry, "similarity": 0.5}] * 5
        shown = {
            "rater": "judge",
            "observed": "1",
            "suggested": "3",
            "changed": True,
            "misrated_prob": 1.0,
            "confidence": 1.0,
        }
        found["doubtful"] = [{**entry, **shown, "neighbors": near}] * 20
        found["composition"] = [{"value": f"group {i}", "pool": 200, "kept": 0} for i in range(500)]
        found["raters"] = [{**found["raters"][0], "rater": f"rater {i}"} for i in range(3)]
        found["raters"][0]["values"] = {
            **found["raters"][0]["values"],
            "edges": list(range(202)),
            "counts": [1] * 201,
            "kept": [0] * 201,
        }

    folder = changed_copy(enlarge)
    selection = pl.DataFrame({"unit_id": [f"r{i}" for i in range(n)], "decision": ["keep"] * 10 + ["drop"] * (n - 10)})
    reasons = [f"rated score {i % 3}.{i % 10}, below the cut (rarity {i / n:.4f})" for i in range(n)]
    (folder / "selection.parquet").unlink()
    selection.with_columns(reason=pl.Series(reasons)).write_parquet(folder / "selection.parquet")
    path = write_report(folder)
    assert path.stat().st_size < 1_500_000
    text = plain(path.read_text(encoding="utf-8"))
    assert "480 smaller groups" in text
    assert "drop rated, below the cut 99,990" in text
