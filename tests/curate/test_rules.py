import json

import numpy as np
import pytest

from tamis.curate.rules import RuleComparison, RuleScore, compare_rules
from tamis.noise import Agreement, TransitionMatrix, diagnose, model_moments


def matrix(T, p):
    T, p = np.array(T), np.array(p)
    return TransitionMatrix.of_fit(T, p, diagnostics=diagnose(T, p, model_moments(T, p)))


@pytest.fixture
def judged():
    """Eight ratings; rows 2 and 3 disagree with their neighbours, row 7 has no rating."""
    observed = np.array([0, 0, 0, 1, 1, 1, 1, -1])
    score = np.array([0.9, 0.8, 0.1, 0.2, 0.9, 0.9, 0.9, np.nan])
    vote = np.array([0, 0, 1, 0, 1, 1, 1, 1])
    votes = np.zeros((8, 2))
    return observed, Agreement(score=score, vote=vote, votes=votes), matrix([[0.7, 0.3], [0.2, 0.8]], [0.45, 0.55])


def test_without_truth_nothing_is_claimed(judged):
    found = compare_rules(*judged)
    assert (found.n_rated, found.flagged_vote) == (7, 2)
    assert found.flagged_both <= min(found.flagged_rank, found.flagged_vote)
    assert (found.rank, found.vote) == (None, None)
    assert found.verdict().startswith("Not tested on this data")


def test_scores_against_truth_by_hand(judged):
    observed, agreement, transition = judged
    truth = np.array([0, 0, 1, 1, 1, 1, -1, 0])
    found = compare_rules(observed, agreement, transition, truth)
    # the vote rule flags rows 2 (rightly, corrected to 1) and 3 (wrongly, "corrected" to 0) of six known ratings
    assert found.vote.f1 == pytest.approx(2 * 1 / (2 + 1))
    assert found.vote.precision == pytest.approx(1 / 2)
    assert found.vote.accuracy_before == pytest.approx(5 / 6)
    assert found.vote.accuracy_after == pytest.approx(5 / 6)


def test_the_better_rule_is_named_with_the_figures():
    better, worse = RuleScore(0.9, 0.8, 0.7, 0.85), RuleScore(0.5, 0.4, 0.7, 0.75)
    said = RuleComparison(10, 1, 2, 1, rank=worse, vote=better).verdict()
    assert said == (
        "Asked once over the pool, without threshold, the vote rule is better here: F1 0.900 against 0.500, "
        "precision of corrections 0.800 against 0.400, accuracy 0.700 -> 0.850 against 0.750."
    )
    assert (
        RuleComparison(10, 1, 2, 1, rank=better, vote=worse)
        .verdict()
        .startswith("Asked once over the pool, without threshold, the rank rule is better")
    )
    undecided = RuleComparison(10, 1, 2, 1, rank=worse, vote=worse).verdict()
    assert undecided.startswith("Asked once over the pool, without threshold, neither rule is better")


def test_no_correction_has_no_precision():
    none = RuleScore(0.0, float("nan"), 1.0, 1.0)
    found = RuleComparison(10, 0, 0, 0, rank=none, vote=none)
    assert found.to_dict()["vote"]["precision"] is None
    assert "precision of corrections none made against none made" in found.verdict()


def test_an_unrated_record_is_never_counted(judged):
    observed, agreement, transition = judged
    found = compare_rules(observed, agreement, transition, np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    assert found.vote.accuracy_before == 1.0
    assert found.vote.precision == 0.0


def test_the_figures_are_plain_json(judged):
    json.loads(json.dumps(compare_rules(*judged).to_dict()))
