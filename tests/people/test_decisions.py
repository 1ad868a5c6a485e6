"""Thresholds, flags, false alarms, and what follows for answers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.data import AnswerCodes, Answers
from tamis.noise import dawid_skene
from tamis.people.decisions import answer_selection, decide_workers, worker_selection
from tamis.people.false_alarms import answer_model, estimate_false_alarms, independent_copies
from tamis.people.scoring import Estimator, score_answers
from tamis.people.strata import Strata
from tamis.people.virtual import paired_z, reference, strictest, virtual_quantile
from tamis.people.worker_scores import score_workers


def table(**changes):
    rows = {
        "worker": ["a", "b", "c", "d"], "n_answers": [50, 50, 50, 9], "n_scored": [50, 48, 50, 8],
        "score": [0.2, 0.04, 0.01, None], "low": [0.15, -0.01, -0.03, None], "high": [0.25, 0.1, 0.04, None],
        "model": ["m", "m", "m", None], "paired_z": [4.0, 0.5, -1.0, None],
    }  # fmt: skip
    return pl.DataFrame({**rows, **changes})


def test_the_quantile_rule_flags_what_pasting_reaches():
    found = decide_workers(table(), rule="quantile", threshold=0.05, min_answers=30)
    assert found["action"].to_list() == ["keep", "review", "re-collect", None]
    assert found["decision"].to_list() == ["keep", "flag", "query", None]
    assert found["rank"].to_list() == [0, 1, 2, None]
    assert found["reason"][0] == "score 0.2 (0.15 to 0.25), above what most pasted answers would reach (0.050)"
    assert found["reason"][3] == "not enough answers: 8 of 9 could be scored, 30 are needed"


def test_the_paired_rule_flags_who_is_not_clearly_above_the_virtual_worker_in_the_same_place():
    found = decide_workers(table(), rule="paired", threshold=0.05, min_answers=30)
    assert found["action"].to_list() == ["keep", "review", "re-collect", None]
    assert "4.0 standard errors above pasted answers" in found["reason"][0]
    nobody = table(paired_z=[None, 0.5, -1.0, None])
    found = decide_workers(nobody, rule="paired", threshold=0.05, min_answers=30)
    assert found["decision"].to_list() == [None, "flag", "query", None]
    assert "no virtual worker" in found["reason"][0]


def test_without_a_threshold_nothing_is_decided():
    found = decide_workers(table(), rule="quantile", threshold=None, min_answers=30)
    assert found["decision"].null_count() == 4
    assert "no second sample of an LLM" in found["reason"][1]
    assert found["rank"].to_list() == [0, 1, 2, None], "ranked all the same"


def test_answers_take_the_decision_of_their_worker():
    rows = [{"task": t, "worker": w, "label": 1} for t in ("x", "y") for w in "abcd"]
    answers = Answers.from_frame(rows)
    decided = decide_workers(table(), rule="quantile", threshold=0.05, min_answers=30)
    found = answer_selection(answers, decided)
    assert sorted(found.frame["unit_id"]) == sorted(answers.table.ids)
    assert found.explain("x/a")["decision"] == "keep"
    assert found.explain("y/b")["reason"] == "worker b: review"
    assert found.explain("y/d")["decision"] is None
    assert found.counts() == {"keep": 2, "drop": 0, "flag": 2, "query": 2, "undecided": 2}
    assert worker_selection(decided).undecided == ["d"]


def test_the_highest_threshold_of_all_models_decides():
    rng = np.random.default_rng(0)
    references = [reference(name, np.linspace(0, top, 50)[:, None], rng=rng) for name, top in (("a", 1.0), ("b", 2.0))]
    assert strictest(references) is references[1]
    low, high = references[1].threshold[1:]
    assert references[1].threshold[0] == pytest.approx(1.8)
    assert low < 1.8 < high
    empty = reference("c", np.full((50, 0), np.nan), rng=rng)
    assert strictest([empty]) is None
    assert strictest([empty, references[0]]) is references[0]
    share = virtual_quantile(np.array([-1.0, 0.5, 3.0, np.nan]), references[0])
    np.testing.assert_array_equal(share, [0.0, 0.5, 1.0, np.nan])


def test_equal_answers_are_no_difference_and_not_unknown():
    z = paired_z(np.array([0.2, 0.0, 0.2, np.nan]), np.array([0.1, 0.0, 0.0, np.nan]))
    np.testing.assert_array_equal(z, [2.0, 0.0, 1000.0, np.nan])


@pytest.fixture
def scored(crowd, noisy):
    codes, truth = crowd(workers=60, tasks=300)
    return codes, Strata.of(codes, noisy(truth)), dawid_skene(codes)


def test_copies_of_a_worker_score_as_drawn_copies_do(scored):
    """Mean and spread of independent copies are exact: they equal those of copies that are drawn."""
    codes, strata, found = scored
    model = answer_model(codes, found)
    mean, sd = independent_copies(strata, model, estimator=Estimator())
    p = model(np.arange(len(codes)))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    rng = np.random.default_rng(0)
    copies = (rng.random((len(codes), 600, 1)) > p.cumsum(axis=1)[:, None, :]).sum(axis=2).astype(np.int32)
    drawn = score_workers(score_answers(strata, np.minimum(copies, 2))).score[:, 1:]
    np.testing.assert_allclose(mean, drawn.mean(axis=1), atol=5 * sd.max() / np.sqrt(600))
    np.testing.assert_allclose(sd, drawn.std(axis=1), rtol=0.15)


def test_false_alarms_are_estimated_and_lie_between_their_bounds(scored):
    codes, strata, found = scored
    copies = [independent_copies(strata, answer_model(codes, found), estimator=Estimator())]
    score = score_workers(score_answers(strata)).score[:, 0]
    used = np.ones((60, 1), dtype=bool)
    shares = []
    for threshold in np.quantile(score, [0.0, 0.1, 0.3, 0.6]):
        flagged = score <= threshold
        alarms = estimate_false_alarms(copies, used, flagged, np.ones(60, dtype=bool), threshold)
        assert 0 <= alarms.low <= alarms.share <= alarms.high <= 1
        assert 0 <= alarms.expected <= flagged.sum()
        assert abs(alarms.share - flagged.mean()) < 0.1, "nobody pastes here: every flag is a false one"
        shares.append(alarms.share)
    assert shares == sorted(shares)


def test_too_many_classes_for_confusion_matrices_give_no_estimate():
    codes = AnswerCodes.of([0, 0], [0, 1], [0, 999], n_workers=100)
    assert answer_model(codes, dawid_skene(AnswerCodes.of([0, 0], [0, 1], [0, 1]))) is None
