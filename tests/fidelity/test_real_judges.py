"""Real judges: what judge_findings reports must equal what plain NumPy says about the same files.

Cherry_LLM: 2,060 responses rated by GPT-4 and GPT-3.5, twice each, with the two answers of a call in either order.
Vicuna: GPT-4 scored the answers of vicuna-13b to 80 questions four times, beside four different opponents.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from tamis.curate.rating.diagnostics import judge_findings

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CHERRY = SHARED / "cherry_llm_ratings" / "ratings.jsonl.gz"
VICUNA = SHARED / "vicuna80_gpt4_reviews"
OPPONENTS = ("alpaca-13b", "bard", "gpt35", "llama-13b")


def ratings_frame(rater: str, samples: np.ndarray) -> pl.DataFrame:
    """Long frame of samples, shape (n, k); units are called by their row."""
    n, k = samples.shape
    return pl.DataFrame(
        {
            "unit_id": [f"u{i}" for i in range(n) for _ in range(k)],
            "rater": rater,
            "criterion": "overall",
            "sample": list(range(k)) * n,
            "value": samples.ravel().astype(np.float64),
            "status": "ok",
        }
    )


def rows_frame(characters: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"unit_id": [f"u{i}" for i in range(len(characters))], "characters": characters, "truncated": False},
    ).with_columns(suspect=pl.lit(None, dtype=pl.String))


def quadratic_kappa(a: np.ndarray, b: np.ndarray) -> float:
    covariance = np.mean((a - a.mean()) * (b - b.mean()))
    return float(2 * covariance / (a.var() + b.var() + (a.mean() - b.mean()) ** 2))


@pytest.fixture(scope="module")
def cherry() -> list[dict[str, Any]]:
    if not CHERRY.exists():
        pytest.skip("no shared data: cherry_llm_ratings is not at ../shared/data beside the project")
    with gzip.open(CHERRY, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def columns(rows: list[dict[str, Any]], *names: str) -> np.ndarray:
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64)


@pytest.fixture(scope="module")
def cherry_found(cherry: list[dict[str, Any]]) -> dict[str, Any]:
    ratings = pl.concat(
        ratings_frame(name, columns(cherry, f"{key}_fwd", f"{key}_rev"))
        for name, key in (("GPT-4", "gpt4"), ("GPT-3.5", "gpt35"))
    )
    rows = rows_frame([len(row["response"]) for row in cherry])
    return judge_findings(ratings, rows, criterion="overall", low=0, high=10, seed=0)


@pytest.mark.parametrize(("index", "key"), [(0, "gpt4"), (1, "gpt35")])
def test_cherry_retest_ceiling_and_length_are_those_of_numpy(
    cherry: list[dict[str, Any]], cherry_found: dict[str, Any], index: int, key: str
) -> None:
    samples = columns(cherry, f"{key}_fwd", f"{key}_rev")
    first, second = samples.T
    found = cherry_found["raters"][index]
    repeated = found["retest"]
    assert repeated["n"] == 2060
    assert repeated["exact"][0] == pytest.approx(np.mean(first == second))
    assert repeated["all_equal"][0] == pytest.approx(np.mean(first == second))
    assert repeated["sd"][0] == pytest.approx(np.sqrt(np.mean((first - second) ** 2) / 2))
    assert repeated["difference"][0] == pytest.approx(np.mean(np.abs(first - second)))
    assert repeated["kappa"][0] == pytest.approx(quadratic_kappa(first, second))
    between = 2 * samples.mean(axis=1).var(ddof=1)
    within = np.mean((first - second) ** 2) / 2
    assert repeated["reliability"][0] == pytest.approx((between - within) / (between + within))
    assert found["shift"]["difference"][0] == pytest.approx(np.mean(first - second))
    assert found["ceiling"]["top"][0] == pytest.approx(np.mean(samples >= 9.5))
    assert found["ceiling"]["mode"]["value"] == 8.0
    assert found["ceiling"]["mode"]["share"][0] == pytest.approx(np.mean(samples == 8.0))
    shares = np.unique(samples, return_counts=True)[1] / samples.size
    assert found["ceiling"]["effective"][0] == pytest.approx(np.prod(shares**-shares))
    lengths = [len(row["response"]) for row in cherry]
    assert found["length"]["rho"][0] == pytest.approx(spearmanr(samples.mean(axis=1), lengths).statistic)
    assert sum(found["distribution"]["counts"]) == samples.size
    assert found["unmeasured"]["n"] == 0


def test_cherry_figures_are_the_published_ones(cherry: list[dict[str, Any]], cherry_found: dict[str, Any]) -> None:
    """The README of the data: GPT-4 fwd/rev r = .88, exact .39; GPT-3.5 fwd/rev r = .13."""
    gpt4, gpt35 = (found["retest"] for found in cherry_found["raters"])
    assert round(gpt4["exact"][0], 2) == 0.39
    # the means of both orders hardly differ and neither do their spreads, so the kappa is close to r
    assert gpt4["kappa"][0] == pytest.approx(0.88, abs=0.01)
    assert gpt35["kappa"][0] == pytest.approx(0.13, abs=0.01)
    assert gpt4["reliability"][1] > 0.85
    assert gpt35["reliability"][2] < 0.25
    single = judge_findings(
        pl.concat([ratings_frame("GPT-4", columns(cherry, "gpt4_fwd")),
                   ratings_frame("GPT-3.5", columns(cherry, "gpt35_fwd"))]),
        rows_frame([1] * len(cherry)),
        criterion="overall", low=0, high=10, seed=0,
    )  # fmt: skip
    a, b = columns(cherry, "gpt4_fwd", "gpt35_fwd").T
    assert round(float(np.corrcoef(a, b)[0, 1]), 2) == 0.41
    pair = single["pairs"][0]
    assert pair["spearman"][0] == pytest.approx(spearmanr(a, b).statistic)
    assert pair["kappa"][0] == pytest.approx(quadratic_kappa(a, b))
    assert single["raters"][0]["retest"] is None


def test_cherry_agreement_of_judges_is_that_of_their_means(
    cherry: list[dict[str, Any]], cherry_found: dict[str, Any]
) -> None:
    a = columns(cherry, "gpt4_fwd", "gpt4_rev").mean(axis=1)
    b = columns(cherry, "gpt35_fwd", "gpt35_rev").mean(axis=1)
    [pair] = cherry_found["pairs"]
    assert (pair["a"], pair["b"], pair["n"]) == ("GPT-4", "GPT-3.5", 2060)
    assert pair["exact"][0] == pytest.approx(np.mean(np.floor(a + 0.5) == np.floor(b + 0.5)))
    assert pair["within_one"][0] == pytest.approx(np.mean(np.abs(a - b) <= 1))
    assert pair["kappa"][0] == pytest.approx(quadratic_kappa(a, b))
    assert pair["spearman"][0] == pytest.approx(spearmanr(a, b).statistic)
    assert pair["difference"][0] == pytest.approx(np.mean(a - b))
    assert pair["difference"][1] < pair["difference"][0] < pair["difference"][2]


@pytest.mark.parametrize("key", ["gpt4", "gpt35"])
def test_cherry_position_bias(cherry: list[dict[str, Any]], key: str) -> None:
    """With positions as samples, the difference of samples is the position bias; the orders alone average it out."""
    ahead = np.array([row["model"] == "cherry_alpaca_5pct" for row in cherry])
    fwd, rev = columns(cherry, f"{key}_fwd", f"{key}_rev").T
    first, second = np.where(ahead, fwd, rev), np.where(ahead, rev, fwd)
    found = judge_findings(
        ratings_frame(key, np.column_stack([first, second])),
        rows_frame([1] * len(cherry)),
        criterion="overall", low=0, high=10, seed=0,
    )["raters"][0]["shift"]  # fmt: skip
    value, low, high = found["difference"]
    assert value == pytest.approx(np.mean(first - second))
    assert found["means"] == pytest.approx([first.mean(), second.mean()])
    se = np.std(first - second, ddof=1) / np.sqrt(len(first))
    assert (high - low) == pytest.approx(2 * 1.96 * se, rel=0.15)
    assert high < 0, "both judges prefer the second position"
    if key == "gpt35":
        assert value == pytest.approx(-0.47, abs=0.005)


@pytest.fixture(scope="module")
def vicuna() -> np.ndarray:
    """Four scores of each of the 80 answers of vicuna-13b."""
    if not VICUNA.exists():
        pytest.skip("no shared data: vicuna80_gpt4_reviews is not at ../shared/data beside the project")
    scores = []
    for opponent in OPPONENTS:
        lines = (VICUNA / f"review_{opponent}_vicuna-13b.jsonl").read_text(encoding="utf-8").splitlines()
        reviews = {review["question_id"]: review["score"][1] for review in map(json.loads, lines)}
        scores.append([reviews[q] for q in sorted(reviews)])
    return np.array(scores, dtype=np.float64).T


def test_vicuna_retest_over_four_opponents(vicuna: np.ndarray) -> None:
    assert vicuna.shape == (80, 4)
    found = judge_findings(
        ratings_frame("GPT-4", vicuna), rows_frame(list(range(80))), criterion="overall", low=1, high=10, seed=0
    )["raters"][0]
    repeated = found["retest"]
    pairs = [(s, t) for s in range(4) for t in range(s + 1, 4)]
    first, second = (np.concatenate([vicuna[:, pair[side]] for pair in pairs]) for side in (0, 1))
    within, between = vicuna.var(axis=1, ddof=1).mean(), 4 * vicuna.mean(axis=1).var(ddof=1)
    assert (repeated["n"], repeated["n_pairs"]) == (80, 480)
    assert repeated["sd"][0] == pytest.approx(np.sqrt(within))
    assert repeated["reliability"][0] == pytest.approx((between - within) / (between + 3 * within))
    assert repeated["all_equal"][0] == pytest.approx(np.mean(np.ptp(vicuna, axis=1) == 0))
    assert repeated["exact"][0] == pytest.approx(np.mean(first == second))
    assert repeated["difference"][0] == pytest.approx(np.mean(np.abs(first - second)))
    assert repeated["kappa"][0] == pytest.approx(quadratic_kappa(first, second))
    assert found["shift"]["difference"][0] == pytest.approx(np.mean(vicuna[:, 0] - vicuna[:, 1]))
    assert found["shift"]["means"] == pytest.approx(vicuna.mean(axis=0).tolist())
    assert found["ceiling"]["mode"]["value"] == 9.0
    assert found["ceiling"]["mode"]["share"][0] == pytest.approx(np.mean(vicuna == 9))
    assert found["ceiling"]["top"][0] == pytest.approx(np.mean(vicuna >= 9.5))
