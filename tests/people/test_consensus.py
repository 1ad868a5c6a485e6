"""Consensus before and after, and what one more answer is worth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.data import AnswerCodes
from tamis.people import consensus
from tamis.people.consensus import Consensus, consensus_frame, value_of_answer
from tamis.people.removal import coverage_curve


def test_tasks_that_lose_all_answers_have_no_consensus(crowd):
    codes, _ = crowd(workers=6, tasks=40)
    before = Consensus.of(codes)
    after = Consensus.of(codes.only(codes.task != 7))
    frame = consensus_frame(pl.Series([f"t{i:02d}" for i in range(40)]), ("x", "y", "z"), before, after, np.zeros(40))
    row = frame.row(7, named=True)
    assert row["label_after"] is None
    assert row["confidence_after"] is None
    assert not row["changed"]
    assert row["rank"] == 0
    assert frame["rank"].null_count() == 39, "only tasks that lost answers are ranked"


def test_no_answer_left_is_no_consensus_at_all(crowd):
    codes, _ = crowd(workers=6, tasks=10)
    nothing = Consensus.of(codes.only(np.zeros(len(codes), dtype=bool)))
    assert nothing.model is None
    assert (nothing.labels == -1).all()
    assert np.isnan(nothing.confidence).all()
    assert np.isnan(value_of_answer(nothing, np.ones(6, dtype=bool))).all()


def test_majority_vote_stands_in_where_memory_ends(crowd, monkeypatch):
    codes, _ = crowd()
    monkeypatch.setattr(consensus, "MOST_BYTES", 1)
    found = Consensus.of(codes)
    assert found.model is None
    votes = codes.counts.toarray()
    np.testing.assert_array_equal(found.labels, np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), -1))


def test_value_is_the_expected_gain_in_being_right(crowd):
    """Against the definition: draw an answer from the mean confusion matrix, update, and take the best label."""
    codes, _ = crowd(workers=8, tasks=60, density=0.3)
    found, kept = Consensus.of(codes), np.ones(8, dtype=bool)
    value, A = value_of_answer(found, kept), found.model.mean_confusion(kept)
    for t in range(0, 60, 7):
        q = found.model.posterior[t]
        gain = -q.max()
        for label in range(3):
            chance = q @ A[:, label]
            gain += chance * (q * A[:, label] / chance).max()
        assert value[t] == pytest.approx(max(gain, 0), abs=1e-12)
    assert value.max() > 0.01


def test_a_certain_task_is_worth_nothing():
    rows = [(t, w, t % 2) for t in range(40) for w in range(8)]
    codes = AnswerCodes.of(*zip(*rows, strict=True))
    assert value_of_answer(Consensus.of(codes), np.ones(8, dtype=bool)).max() < 1e-3


def test_coverage_falls_as_workers_go(crowd):
    codes, _ = crowd(workers=12, tasks=50, density=0.3)
    rank = np.random.default_rng(0).permutation(12)
    rank[rank == 11] = -1  # one worker was not scored, and stays
    found = coverage_curve(codes, rank)
    assert found["removed"] == list(range(12))
    for removed, one, two in zip(found["removed"], found["one"], found["two"], strict=True):
        gone = (rank >= 0) & (rank >= 11 - removed)
        left = codes.only(~gone[codes.worker]).per_task[codes.per_task > 0]
        assert one == pytest.approx((left >= 1).mean())
        assert two == pytest.approx((left >= 2).mean())
