from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from tamis.curate.rating.diagnostics import judge_findings
from tamis.curate.rating.judge_matrices import implied_repeat
from tamis.errors import DataError, RecipeError
from tamis.noise import TransitionMatrix, diagnose, estimate_transition, model_moments

T = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])
P = np.array([0.3, 0.4, 0.3])


def ratings(values: np.ndarray, *, rater: str = "judge", criterion: str = "overall") -> pl.DataFrame:
    """Long frame of (n, k) samples; nan becomes a refusal."""
    n, k = values.shape
    return pl.DataFrame(
        {
            "unit_id": [f"u{i}" for i in range(n) for _ in range(k)],
            "rater": rater,
            "criterion": criterion,
            "sample": list(range(k)) * n,
            "value": values.ravel().astype(np.float64),
        }
    ).with_columns(
        value=pl.col("value").fill_nan(None),
        status=pl.when(pl.col("value").is_nan()).then(pl.lit("refused")).otherwise(pl.lit("ok")),
    )


def rows(n: int, *, characters: Any = None, suspect: Any = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit_id": [f"u{i}" for i in range(n)],
            "characters": list(range(n)) if characters is None else characters,
            "truncated": [i % 10 == 0 for i in range(n)],
            "suspect": pl.Series([None] * n if suspect is None else suspect, dtype=pl.String),
        }
    )


def find(frame: pl.DataFrame, about: pl.DataFrame, **options: Any) -> dict[str, Any]:
    given = {"criterion": "overall", "low": 1, "high": 3, "seed": 0, **options}
    found = judge_findings(frame, about, **given)
    json.dumps(found, allow_nan=False)
    return found


def noisy(truth: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Samples 1..3 of a judge with the noise T, shape (n, k)."""
    draw = np.random.default_rng(seed)
    above = draw.random((len(truth), k, 1)) > np.cumsum(T, axis=1)[truth][:, None, :]
    return np.asarray(1.0 + above[:, :, :2].sum(axis=2))


def truth_of(n: int) -> np.ndarray:
    return np.random.default_rng(9).choice(3, n, p=P)


def planted_matrix(n: int = 6000, *, n_bootstrap: int = 20, wrong: bool = False) -> TransitionMatrix:
    """T estimated from triples that share the true class, or at random ones."""
    truth = truth_of(n)
    labels = noisy(truth, 1, seed=3)[:, 0].astype(int) - 1
    draw = np.random.default_rng(4)
    idx = np.zeros((n, 2), dtype=int)
    for c in range(3):
        members = np.flatnonzero(truth == c)
        for column in range(2):
            idx[members, column] = draw.permutation(members)
    if wrong:
        half = draw.random(n) < 0.5
        idx[half] = draw.integers(0, n, (half.sum(), 2))
    own = np.arange(n)
    clash = (idx[:, 0] == own) | (idx[:, 1] == own) | (idx[:, 0] == idx[:, 1])
    idx[clash] = np.column_stack([(own + 1) % n, (own + 2) % n])[clash]
    return estimate_transition(labels, idx, 3, n_bootstrap=n_bootstrap, class_names=("1", "2", "3"), seed=0)


def test_failed_measurements_are_counted_and_never_numbers() -> None:
    values = np.array([[1, np.nan], [np.nan, np.nan], [3, 3], [2, 3]])
    frame = ratings(values).filter(~((pl.col("unit_id") == "u3") & (pl.col("sample") == 1)))
    found = find(frame, rows(5))["raters"][0]
    assert found["status"] == {"ok": 4, "missing": 3, "refused": 3, "unparsed": 0}
    assert found["measured"] == 3
    assert found["unmeasured"]["n"] == 2
    assert found["unmeasured"]["share"][0] == pytest.approx(0.4)
    assert found["mean"][0] == pytest.approx(2.0)
    assert found["retest"]["n"] == 1
    assert found["retest"]["sd"] == [None, None, None]


def test_all_refused_is_reported_without_any_figure() -> None:
    found = find(ratings(np.full((6, 2), np.nan)), rows(6))["raters"][0]
    assert found["unmeasured"]["share"][0] == 1.0
    assert found["unmeasured"]["share"][1] < 1.0
    for name in ("mean", "sd", "distribution", "ceiling", "retest", "shift", "length"):
        assert found[name] is None


def test_one_sample_has_no_retest_and_no_shift() -> None:
    found = find(ratings(noisy(truth_of(30), 1)), rows(30))["raters"][0]
    assert (found["retest"], found["shift"]) == (None, None)
    assert found["ceiling"] is not None


def test_distribution_has_one_bin_a_value_and_keeps_every_rating() -> None:
    whole = find(ratings(noisy(truth_of(200), 2)), rows(200))["raters"][0]["distribution"]
    assert whole["edges"] == [0.5, 1.5, 2.5, 3.5]
    assert sum(whole["counts"]) == 400
    half = find(ratings(np.array([[1.0], [1.5], [2.5]])), rows(3))["raters"][0]["distribution"]
    assert (half["width"], half["counts"]) == (0.5, [1, 1, 0, 1, 0])
    smooth = find(ratings(np.random.default_rng(0).uniform(1, 3, (50, 1))), rows(50))["raters"][0]["distribution"]
    assert smooth["width"] is None
    assert (smooth["edges"][0], smooth["edges"][-1], sum(smooth["counts"])) == (1, 3, 50)


def test_ceiling_of_a_judge_that_says_one_thing() -> None:
    piled = find(ratings(np.array([[3.0]] * 95 + [[2.0]] * 5)), rows(100))["raters"][0]["ceiling"]
    assert piled["top"][0] == 0.95
    assert piled["mode"] == {"value": 3.0, "share": piled["top"]}
    assert piled["effective"][0] == pytest.approx(2 ** -(0.95 * np.log2(0.95) + 0.05 * np.log2(0.05)))
    constant = find(ratings(np.full((40, 2), 3.0)), rows(40))["raters"][0]
    assert constant["ceiling"]["effective"] == [1.0, 1.0, 1.0]
    assert constant["ceiling"]["top"][0] == 1.0
    assert constant["ceiling"]["top"][1] < 1.0
    assert constant["length"]["rho"] == [None, None, None]


def test_expected_scores_pile_up_where_they_round_to() -> None:
    found = find(ratings(np.array([[2.61], [2.7], [1.2], [2.4]])), rows(4))["raters"][0]["ceiling"]
    assert found["top"][0] == 0.5
    assert found["mode"] == {"value": 3.0, "share": found["top"]}
    assert found["used"] == 3


def test_length_bias_is_recovered_and_its_absence_too() -> None:
    n = 400
    draw = np.random.default_rng(0)
    characters = draw.integers(10, 1000, n)
    follows = np.digitize(characters + draw.normal(0, 150, n), [300, 700])[:, None] + 1.0
    found = find(
        pl.concat([ratings(follows, rater="long"), ratings(noisy(truth_of(n), 1), rater="fair")]),
        rows(n, characters=characters.tolist()),
    )
    biased, fair = (rater["length"]["rho"] for rater in found["raters"])
    assert biased[1] > 0.6
    assert fair[1] < 0 < fair[2]


def test_suspect_rows_are_compared_only_when_there_are_enough() -> None:
    n = 120
    values = np.full((n, 1), 1.0)
    values[::3] = 2.0
    values[:30] += 1.0
    many = find(ratings(values), rows(n, suspect=["talks to the judge"] * 30 + [None] * 90))["raters"][0]["suspect"]
    assert (many["n"], many["measured"]) == (30, 30)
    assert many["difference"][0] == pytest.approx(many["mean"] - many["others"])
    assert many["difference"][1] < 1.0 < many["difference"][2]
    few = find(ratings(values), rows(n, suspect=["talks"] * 9 + [None] * 111))["raters"][0]["suspect"]
    assert (few["n"], few["difference"]) == (9, None)
    assert few["mean"] is not None


def test_position_shift_is_recovered() -> None:
    base = np.random.default_rng(0).integers(1, 3, 300).astype(float)
    shift = find(ratings(np.column_stack([base, base + 1])), rows(300))["raters"][0]["shift"]
    assert shift["difference"] == pytest.approx([-1, -1, -1])
    assert shift["means"][1] - shift["means"][0] == pytest.approx(1)


def test_pairs_within_a_criterion_only_and_the_overall_one_first() -> None:
    values = noisy(truth_of(40), 1)
    frame = pl.concat(
        ratings(values, rater=rater, criterion=criterion) for rater in "xyz" for criterion in ("style", "overall")
    )
    found = find(frame, rows(40))
    assert [r["criterion"] for r in found["raters"]] == ["overall"] * 3 + ["style"] * 3
    overall = [(p["a"], p["b"]) for p in found["pairs"] if p["criterion"] == "overall"]
    assert overall == [("x", "y"), ("x", "z"), ("y", "z")]
    assert len(found["pairs"]) == 6


def test_figures_of_a_judge_do_not_depend_on_the_others_or_on_the_order_of_rows() -> None:
    one, two = ratings(noisy(truth_of(80), 2), rater="one"), ratings(noisy(truth_of(80), 2, seed=1), rater="two")
    alone = find(one, rows(80))["raters"][0]
    assert find(pl.concat([two, one]), rows(80))["raters"][1] == alone
    shuffled = find(one.sample(fraction=1.0, shuffle=True, seed=1), rows(80).sample(fraction=1.0, shuffle=True, seed=2))
    again = shuffled["raters"][0]
    assert {k: v for k, v in again.items() if k not in ("mean", "retest")} == {
        k: v for k, v in alone.items() if k not in ("mean", "retest")
    }
    assert again["retest"]["kappa"] == pytest.approx(alone["retest"]["kappa"])


def test_right_matrix_implies_the_repeat_that_is_measured() -> None:
    matrix = planted_matrix()
    found = find(ratings(noisy(truth_of(4000), 2, seed=1)), rows(4000), matrices={"judge": matrix})["matrices"][0]
    expected = float((P @ T**2).sum())
    assert found["repeat"]["exact"][1] < expected < found["repeat"]["exact"][2]
    assert found["implied"][0] == pytest.approx(expected, abs=0.02)
    assert found["agree"] is True
    assert found["gap"][0] == pytest.approx(found["repeat"]["exact"][0] - found["implied"][0])
    assert found["diagonal"][0] == pytest.approx(0.8, abs=0.02)
    assert found["clusterability"][1] < 1.0 < found["clusterability"][2] * 1.02
    assert found["repeat"]["row_l1"] < 0.06
    for row, own in zip(found["repeat"]["by_class"], np.diagonal(implied_repeat(matrix)), strict=True):
        assert row["implied"] == pytest.approx(own)
        assert row["measured"] == pytest.approx(own, abs=0.06)


def test_neighbours_of_other_classes_make_the_matrix_disagree_with_the_repeat() -> None:
    matrix = planted_matrix(wrong=True)
    found = find(ratings(noisy(truth_of(4000), 2, seed=1)), rows(4000), matrices={"judge": matrix})["matrices"][0]
    assert found["agree"] is False
    assert found["gap"][1] > 0.05
    assert found["clusterability"][2] < 0.9


def test_repeat_of_three_samples_counts_every_pair() -> None:
    samples = noisy(truth_of(500), 3)
    matrix = planted_matrix(2000, n_bootstrap=0)
    found = find(ratings(samples), rows(500), matrices={"judge": matrix})["matrices"][0]
    pairs = [(0, 1), (0, 2), (1, 2)]
    equal = np.mean([samples[:, s] == samples[:, t] for s, t in pairs])
    assert found["repeat"]["exact"][0] == pytest.approx(equal)
    assert found["diagonal"][1:] == [None, None]
    assert found["agree"] is None


def test_matrix_without_repeats_or_with_unknown_classes_says_why() -> None:
    matrix = planted_matrix(2000, n_bootstrap=0)
    single = find(ratings(noisy(truth_of(50), 1)), rows(50), matrices={"judge": matrix})["matrices"][0]
    assert (single["repeat"], single["reason"]) == (None, "no row was rated more than once")
    named = TransitionMatrix.of_fit(T, P, diagnostics=diagnose(T, P, model_moments(T, P)), class_names=("a", "b", "c"))
    other = find(ratings(noisy(truth_of(50), 2)), rows(50), matrices={"judge": named})["matrices"][0]
    assert other["repeat"] is None
    assert "not those of any scale" in other["reason"]


def test_repeats_on_the_compressed_scale_use_its_classes() -> None:
    names = ("1-4", "5", "6", "7", "8", "9-10")
    six = np.full((6, 6), 0.04) + 0.76 * np.eye(6)
    prior = np.full(6, 1 / 6)
    matrix = TransitionMatrix.of_fit(
        six, prior, diagnostics=diagnose(six, prior, model_moments(six, prior)), class_names=names
    )
    samples = np.array([[1, 4], [9, 10], [5, 6], [7, 7]] * 5, dtype=float)
    found = find(ratings(samples), rows(20), matrices={"judge": matrix}, high=10)["matrices"][0]
    assert found["repeat"]["exact"][0] == 0.75


def test_bad_input_is_named() -> None:
    frame = ratings(noisy(truth_of(4), 1))
    with pytest.raises(DataError, match="not among the 3 rows"):
        find(frame, rows(3))
    with pytest.raises(DataError, match="more than once"):
        find(pl.concat([frame, frame]), rows(4))
    with pytest.raises(DataError, match="Did you mean 'overall'"):
        find(frame, rows(4), criterion="overal")
    with pytest.raises(DataError, match="suspect"):
        find(frame, rows(4).drop("suspect"))
    with pytest.raises(DataError, match="columns unit_id, rater"):
        find(frame.drop("sample"), rows(4))
    with pytest.raises(RecipeError, match="above low"):
        find(frame, rows(4), low=3)
