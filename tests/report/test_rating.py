from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from tamis.curate.rating.diagnostics import judge_findings
from tamis.errors import RunStateError
from tamis.noise import TransitionMatrix, diagnose, model_moments
from tamis.recipe import Recipe
from tamis.registry import METHODS
from tamis.report.findings import read_findings
from tamis.report.page import assemble
from tamis.report.rating import section
from tamis.report.rating_charts import Rung, judge_ladder, rating_bars, repeat_by_class
from tamis.report.rating_sentences import doubts, matrix_sentence, overall_raters
from tamis.runs import Run

NASTY = "<script>alert('x')</script>"
HEADINGS = ["asked", "came-back", "trust", "spent", "limits"]
Write = Callable[..., Path]


def samples(n: int, k: int, *, noise: float, seed: int, refused: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(1, 6, (n, 1))
    values = np.clip(np.round(truth + draw.normal(0, noise, (n, k))), 1, 5).astype(np.float64)
    values[draw.random((n, k)) < refused] = np.nan
    return values


def long_frame(rater: str, values: np.ndarray, criterion: str = "overall") -> pl.DataFrame:
    n, k = values.shape
    frame = pl.DataFrame(
        {
            "unit_id": [f"r{i}" for i in range(n) for _ in range(k)],
            "rater": rater,
            "criterion": criterion,
            "sample": list(range(k)) * n,
            "value": values.ravel(),
        }
    )
    state = pl.when(pl.col("value").is_nan()).then(pl.lit("refused")).otherwise(pl.lit("ok"))
    return frame.with_columns(status=state, value=pl.col("value").fill_nan(None))


def matrix(names: tuple[str, ...] = tuple("12345"), *, bounded: bool = True) -> TransitionMatrix:
    K = len(names)
    T, p = np.full((K, K), 0.3 / (K - 1)) + (0.7 - 0.3 / (K - 1)) * np.eye(K), np.full(K, 1 / K)
    ends: dict[str, Any] = {"low": T - 0.02, "high": T + 0.02} if bounded else {}
    return TransitionMatrix.of_fit(T, p, diagnostics=diagnose(T, p, model_moments(T, p)), class_names=names, **ends)


def cost(name: str, kind: str = "chat", **changes: Any) -> dict[str, Any]:
    given = {
        "name": name, "judge": f"openai:{name}", "kind": kind, "calls": 120, "attempts": 131, "input_tokens": 45_000,
        "output_tokens": 900, "cost": 1.25, "currency": "USD", "price_known": True, "from_cache": 30,
    }  # fmt: skip
    return {**given, **changes}


def findings(
    judges: dict[str, np.ndarray], *, costs: list[dict[str, Any]] | None = None, matrices: Any = None, **pool: Any
) -> dict[str, Any]:
    n, k = next(iter(judges.values())).shape
    suspect = [NASTY if i < 12 else None for i in range(n)]
    rows = pl.DataFrame(
        {"unit_id": [f"r{i}" for i in range(n)], "characters": list(range(n)), "truncated": [i < 3 for i in range(n)],
         "suspect": pl.Series(suspect, dtype=pl.String)}
    )  # fmt: skip
    ratings = pl.concat(long_frame(name, values) for name, values in judges.items())
    return {
        "pool": {
            "rows": n + 5, "rejected": 2, "asked": n, "truncated": 3, "suspect": 12,
            "suspect_rows": [[f"r{i}", NASTY] for i in range(10)], "characters": {"median": 5, "max": n, "limit": 8000},
            **pool,
        },
        "rubric": {
            "name": "house", "low": 1, "high": 5, "overall": "overall",
            "criteria": [{"name": "overall", "text": f"How good? {NASTY}", "anchors": [[1, "bad"], [5, "very good"]]}],
        },
        "samples": k,
        "raters": costs if costs is not None else [cost(name) for name in judges],
        "judges": judge_findings(ratings, rows, criterion="overall", low=1, high=5, seed=0, matrices=matrices),
        "limits": {"budget_reached": False},
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write findings into a finished run and return its folder."""

    def make(found: dict[str, Any], *, steps: tuple[str, ...] = ("02-judges",)) -> Path:
        (tmp_path / "pool.jsonl").write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
        recipe = Recipe(method="ds2", inputs={"pool": str(tmp_path / "pool.jsonl")}, params={"budget": 1})
        with Run.start(tmp_path / "run", recipe, command="tamis rate pool.jsonl") as run:
            run.manifest["steps"] = dict.fromkeys(steps, "key")
            folder = run.folder / "steps" / "02-judges"
            folder.mkdir(parents=True)
            (folder / "findings.json").write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
            run.finish("complete", {})
        return tmp_path / "run"

    return make


def page(folder: Path) -> str:
    return assemble(Run.open(folder), METHODS["ds2"], section(folder))


def dots(svg: str) -> list[tuple[str, str]]:
    """Places of the circles of a figure."""
    return re.findall(r"M([\d.]+),([\d.]+)h0(?=[M\"])", svg)


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split("</style>")[1]))


@pytest.fixture
def two_judges() -> dict[str, Any]:
    judges = {"big": samples(60, 2, noise=0.5, seed=1, refused=0.05), "small": samples(60, 2, noise=3.0, seed=2)}
    return findings(judges, matrices={"big": matrix()})


def test_sections_answer_the_questions_in_order(two_judges: dict[str, Any], write: Write) -> None:
    parts = section(write(two_judges))
    assert parts[0].nav == ""
    assert parts[0].title == "Ratings of pool.jsonl"
    assert [part.anchor for part in parts[1:]] == HEADINGS


def test_page_is_escaped_labelled_and_free_of_scripts_and_gaps(two_judges: dict[str, Any], write: Write) -> None:
    html = page(write(two_judges))
    assert "<script" not in html
    assert "http" not in html.split("</style>")[1].replace("http-equiv", "")
    assert not re.search(r"\b(nan|None|Undefined)\b", plain(html))
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(figures) == 5  # the ladder, two histograms, the matrix, the repeat by class
    for figure in figures:
        assert len(str(ET.fromstring(figure).get("aria-label"))) > 30
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', figure)) <= {"none"} | {
            f"var(--{name})" for name in ("ink", "muted", "rule", "accent", "quiet", "heat", "on-light-cell",
                                          "on-full-cell")
        }  # fmt: skip


def test_table_of_states_counts_every_judgement(two_judges: dict[str, Any], write: Write) -> None:
    html = page(write(two_judges))
    big = overall_raters(two_judges)[0]
    row = re.search(r'<th scope="row">big</th>(.*?)</tr>', html.split('id="came-back"')[1], flags=re.DOTALL)
    assert row is not None
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row[1])
    assert cells[:5] == [str(big["status"]["ok"]), "0", str(big["status"]["refused"]), "0", str(big["unmeasured"]["n"])]
    assert "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}" in cells[5]
    assert big["status"]["refused"] > 0


def test_suspect_and_cut_records_are_shown(two_judges: dict[str, Any], write: Write) -> None:
    text = plain(page(write(two_judges)))
    assert "12 records seem to talk to the judge" in text
    assert "The first 10 of 12 suspect records" in text
    assert "3 records were too long and were cut in the middle" in text
    assert "big rates the suspect records" in text
    assert "3 records are too few for an interval" in text


def test_noisy_judge_is_pointed_out_in_the_lead(two_judges: dict[str, Any], write: Write) -> None:
    head = page(write(two_judges)).split('<section id="asked"')[0]
    assert "small: repeats differ more than records do" in head
    assert "big: " not in head


def test_figures_of_trust_are_those_of_the_findings(two_judges: dict[str, Any], write: Write) -> None:
    text = plain(page(write(two_judges)))
    [pair] = two_judges["judges"]["pairs"]
    assert f"{pair['kappa'][0]:.2f} ({pair['kappa'][1]:.2f} to {pair['kappa'][2]:.2f})" in text
    retest = overall_raters(two_judges)[1]["retest"]
    assert f"{100 * retest['exact'][0]:.0f} % ({100 * retest['exact'][1]:.0f} % to" in text
    found = two_judges["judges"]["matrices"][0]
    assert f"would repeat its class in {100 * found['implied'][0]:.0f} %" in text
    assert "agreement is not accuracy" in text.lower()


@pytest.mark.parametrize(("noise", "at_odds"), [(0.0, True), (0.66, False)])
def test_matrix_at_odds_with_repeats_has_no_calm_banner(noise: float, at_odds: bool, write: Write) -> None:
    found = findings({"j": samples(150, 2, noise=noise, seed=0)}, matrices={"j": matrix()})
    assert (found["judges"]["matrices"][0]["agree"] is False) == at_odds
    html = page(write(found))
    assert ("Matrix usable, at odds with the repeats" in html) == at_odds
    assert ('class="banner good"' in html) != at_odds


def test_one_judge_asked_once_without_matrix(write: Write) -> None:
    found = findings({"only": samples(30, 1, noise=0.5, seed=0)})
    text = plain(page(write(found)))
    assert "There is one judge" in text
    assert "No record was rated more than once by one judge" in text
    assert "Nothing was rated twice" in text
    assert "No transition matrix was estimated: it needs vectors" in text
    assert "not known" in text


def test_all_refused_is_said_and_nothing_is_drawn(write: Write) -> None:
    found = findings({"shy": np.full((30, 2), np.nan)})
    html = page(write(found))
    text = plain(html)
    assert "shy: no rating at all" in text
    assert "60 refused" in text
    assert "No judge gave a single rating" in text
    assert 'class="banner stop"' in html
    assert "<svg" not in html
    assert "100.0 %" in text


def test_one_of_two_judges_without_a_rating(write: Write) -> None:
    found = findings({"fine": samples(40, 2, noise=0.5, seed=0), "shy": np.full((40, 2), np.nan)})
    text = plain(page(write(found)))
    assert "shy: no rating at all" in text
    assert "fine and shy overall 0 – – – – –" in text


def test_unknown_money_is_never_zero(two_judges: dict[str, Any], write: Write) -> None:
    found = copy.deepcopy(two_judges)
    found["raters"][1].update(cost=None, price_known=False, input_tokens=None, output_tokens=None)
    text = plain(page(write(found)))
    assert "at least 1.25 USD; money unknown: no price for openai:small" in text
    assert "small 120 131 30 (25 %) – – unknown: no price for openai:small" in text
    assert "≥ 1.25" in text


def test_local_and_recorded_judges_cost_no_money(write: Write) -> None:
    judges = {"tiny": samples(40, 1, noise=1, seed=0), "old": samples(40, 1, noise=1, seed=1)}
    costs = [
        cost("tiny", "scoring", judge="hf:smollm2", cost=0.0, from_cache=0),
        cost("old", "recorded", judge="columns:a", calls=0, attempts=0, cost=0.0, from_cache=0),
    ]
    text = plain(page(write(findings(judges, costs=costs))))
    assert "No call was paid for: the judges ran on this machine or cluster." in text
    assert "Expected scores are not replies." in text
    assert "old 0 0 0 (–)" in text


def test_budget_reached_and_reasons_without_matrix(two_judges: dict[str, Any], write: Write) -> None:
    found = {**copy.deepcopy(two_judges), "limits": {"budget_reached": True}, "no_matrix": {"small": f"few {NASTY}"}}
    text = plain(page(write(found)))
    assert "The budget was reached" in text
    assert "No matrix of small : few" in text


def test_rubric_as_the_job_writes_it(two_judges: dict[str, Any], write: Write) -> None:
    found = copy.deepcopy(two_judges)
    criteria = [{"name": "overall", "text": "How good?", "anchors": {"1": "bad", "5": "very good"}}]
    found["rubric"] = {"name": "house", "scale": {"min": 1, "max": 5}, "overall": "overall", "criteria": criteria}
    text = plain(page(write(found)))
    assert "Scale 1 to 5" in text
    assert "5 very good" in text


def test_only_steps_of_the_manifest_are_read(two_judges: dict[str, Any], write: Write) -> None:
    folder = write(two_judges, steps=("02-other",))
    with pytest.raises(RunStateError, match="no findings to report"):
        section(folder)
    assert folder.exists()


def test_findings_are_read_whole(two_judges: dict[str, Any], write: Write) -> None:
    assert read_findings(Run.open(write(two_judges)), "judges") == two_judges


def test_page_is_the_same_twice(two_judges: dict[str, Any], write: Write) -> None:
    folder = write(two_judges)
    assert page(folder) == page(folder)


def test_judge_that_says_one_thing_is_stopped() -> None:
    values = np.full((60, 2), 4.0)
    values[0] = 5.0
    [found] = overall_raters(findings({"kind": values}))
    assert doubts(found)[0].level == "stop"
    assert "one rating for nearly everything" in doubts(found)[0].heading
    [fine] = overall_raters(findings({"fine": samples(60, 2, noise=0.4, seed=0)}))
    assert doubts(fine) == []


def test_many_unmeasured_records_and_love_of_length_are_doubts() -> None:
    values = np.repeat(np.linspace(1, 5, 60).round()[:, None], 2, axis=1)
    values[::4] = np.nan
    [found] = overall_raters(findings({"long": values}))
    assert [doubt.heading for doubt in doubts(found)] == ["many records not measured", "ratings follow length"]


@pytest.mark.parametrize(
    ("noise", "words"), [(0.0, "part of what the matrix calls noise"), (9.0, "was not asked quite the same")]
)
def test_disagreement_of_matrix_and_repeat_is_said_in_its_direction(noise: float, words: str) -> None:
    found = findings({"j": samples(300, 2, noise=noise, seed=0)}, matrices={"j": matrix()})["judges"]["matrices"][0]
    assert found["agree"] is False
    assert words in matrix_sentence(found)
    assert "percentage points" in matrix_sentence(found)


def test_matrix_without_intervals_leaves_the_question_open() -> None:
    judged = findings({"j": samples(80, 2, noise=0.5, seed=0)}, matrices={"j": matrix(bounded=False)})
    assert "whether they agree cannot be said" in matrix_sentence(judged["judges"]["matrices"][0])


def test_ladder_draws_every_estimate_and_says_what_is_not_known() -> None:
    rungs = [
        Rung("same rating again", [("a", [0.5, 0.4, 0.6])]),
        Rung("kappa", [("a", [-0.2, -0.4, 0.1]), ("b", [-0.2, -0.4, 0.1]), ("b", [0.8, None, None])], signed=True),
    ]
    svg = judge_ladder(["a", "b"], rungs, label="ladder")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert "0.50" in words
    assert words.count("not known") == 1
    assert len(dots(svg)) == 4
    assert len(svg) < 20_000


def test_many_judges_with_long_names_stay_apart() -> None:
    names = [f"a-very-long-name-of-a-judge-number-{i}" for i in range(12)]
    svg = judge_ladder(names, [Rung("x", [(name, [0.5, 0.4, 0.6]) for name in names])], label="ladder")
    assert len(dots(svg)) == len({height for _, height in dots(svg)}) == 12


def test_bars_keep_every_rating_and_mark_the_favourite() -> None:
    svg = rating_bars([0.5, 1.5, 2.5, 3.5], [3, 9, 1], 2.0, label="bars")
    assert svg.count('fill="var(--accent)"') == 1
    assert svg.count('fill="var(--quiet)"') == 2
    top = rating_bars([1.0, 2.0, 3.0], [0, 5], 3.0, label="bars")
    assert top.count('fill="var(--accent)"') == 1


def test_repeat_by_class_skips_what_is_unknown() -> None:
    rows: list[dict[str, Any]] = [
        {"class": "1", "measured": 0.5, "implied": 0.6},
        {"class": "2", "measured": None, "implied": 0.6},
        {"class": "3", "measured": None, "implied": None},
    ]
    svg = repeat_by_class(rows, label="repeat")
    assert len(dots(svg)) == 3
    assert {"1", "2", "3"} <= set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
