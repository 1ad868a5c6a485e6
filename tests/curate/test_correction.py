import numpy as np
import pytest

from tamis.curate.correction import aggregate_votes, changes_by_threshold
from tamis.noise import RoundVotes

K = 6


def votes_of(*, appearances, flagged, votes):
    n = len(flagged)
    table = np.zeros((n, K), dtype=np.int32)
    for row, counts in enumerate(votes):
        for label, count in counts.items():
            table[row, label] = count
    return RoundVotes(appearances=appearances, flagged=np.array(flagged, dtype=np.int64), votes=table)


def aggregate(votes, observed, *, smoothing=False):
    return aggregate_votes(votes, np.array(observed, dtype=np.int64), smoothing=smoothing)


@pytest.mark.parametrize(
    ("appearances", "confidence"),
    [(3, 0.36), (4, 0.42), (5, 0.47), (6, 0.51), (8, 0.58), (12, 0.67), (20, 0.77), (51, 0.895)],
)
def test_unanimous_official_confidence_depends_on_the_appearances(appearances, confidence):
    votes = votes_of(appearances=appearances, flagged=[appearances], votes=[{3: appearances}])
    found = aggregate(votes, [1], smoothing=True)
    exact = (appearances + 1) / (appearances + 2) * (appearances + 1) / (appearances + 6)
    assert found.confidence[0] == pytest.approx(exact, rel=1e-12)
    assert found.confidence[0] == pytest.approx(confidence, abs=0.0051 if confidence < 0.8 else 0.00051)
    assert found.curated(np.array([1]), 0.5)[0] == (3 if appearances >= 6 else 1)


@pytest.mark.parametrize("appearances", [1, 2, 6, 51, 64])
def test_unanimous_scale_free_confidence_is_one(appearances):
    votes = votes_of(appearances=appearances, flagged=[appearances], votes=[{0: appearances}])
    assert aggregate(votes, [5]).confidence[0] == 1.0


def test_scale_free_confidence_is_the_share_flagged_times_the_share_of_votes():
    votes = votes_of(appearances=50, flagged=[40], votes=[{2: 30, 4: 10}])
    found = aggregate(votes, [1])
    assert found.misrated_prob[0] == pytest.approx(0.8)
    assert found.suggested[0] == 2
    assert found.confidence[0] == pytest.approx(0.8 * 0.75)


@pytest.mark.parametrize("smoothing", [True, False])
def test_the_suggestion_is_never_the_observed_class(smoothing):
    rng = np.random.default_rng(0)
    observed = rng.integers(0, K, 300)
    table = rng.integers(0, 9, (300, K)).astype(np.int32)
    votes = RoundVotes(appearances=60, flagged=table.sum(axis=1).astype(np.int64), votes=table)
    found = aggregate(votes, observed, smoothing=smoothing)
    assert (found.suggested != observed).all()
    table[np.arange(300), observed] = -1
    assert (found.suggested == table.argmax(axis=1)).all()


@pytest.mark.parametrize("smoothing", [True, False])
def test_votes_for_the_own_class_alone_change_nothing(smoothing):
    votes = votes_of(appearances=51, flagged=[51], votes=[{1: 51}])
    found = aggregate(votes, [1], smoothing=smoothing)
    assert found.misrated_prob[0] > 0.9
    assert found.curated(np.array([1]), 0.1)[0] == 1


def test_one_half_is_not_an_error_in_the_official_form():
    votes = votes_of(appearances=np.array([10, 10]), flagged=[5, 6], votes=[{4: 5}, {4: 6}])
    found = aggregate(votes, [1, 1], smoothing=True)
    assert found.misrated_prob.tolist() == [0.5, pytest.approx(7 / 12)]
    assert found.confidence[0] == 0.0
    assert found.confidence[1] > 0
    assert found.curated(np.array([1, 1]), 1e-9).tolist() == [1, 4]


@pytest.mark.parametrize("smoothing", [True, False])
def test_an_unrated_item_is_never_corrected(smoothing):
    votes = votes_of(appearances=51, flagged=[51, 0], votes=[{4: 51}, {}])
    found = aggregate(votes, [-1, -1], smoothing=smoothing)
    assert np.isnan(found.misrated_prob).all()
    assert found.suggested.tolist() == [-1, -1]
    assert found.confidence.tolist() == [0.0, 0.0]
    assert found.curated(np.array([-1, -1]), 1e-9).tolist() == [-1, -1]


def test_an_item_that_never_appeared_is_left_alone():
    votes = votes_of(appearances=np.array([0, 51]), flagged=[0, 51], votes=[{}, {2: 51}])
    assert aggregate(votes, [3, 3], smoothing=True).curated(np.array([3, 3]), 0.5).tolist() == [3, 2]


def test_a_flagged_item_below_the_threshold_keeps_its_rating():
    votes = votes_of(appearances=10, flagged=[4, 6], votes=[{2: 4}, {2: 6}])
    found = aggregate(votes, [1, 1])
    assert found.curated(np.array([1, 1]), 0.5).tolist() == [1, 2]
    assert changes_by_threshold(found, np.array([1, 1]), np.array([0.3, 0.5, 0.9])) == [
        (0.3, 2), (0.5, 1), (0.9, 0),
    ]  # fmt: skip
    assert found.curated(np.array([1, 1]), 0.3, classes=[0, 2]).tolist() == [1, 1], "a guarded class was replaced"
