"""Looks at a growing crowd: the same as an audit of all answers so far, with intervals that bear repeated looks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.data import read_llm_labels
from tamis.errors import DataError, RecipeError
from tamis.people import PeerPrediction
from tamis.people.sequential import SequentialPeers, running_half_width


@pytest.fixture
def rows(crowd, noisy):
    codes, truth = crowd(workers=20, tasks=300, density=0.3, accuracy=0.85)
    base = noisy(truth, accuracy=0.65)
    llm = [noisy(base, accuracy=0.92, seed=s) for s in range(3)]
    label = np.where(codes.worker < 4, llm[2][codes.task], codes.label)
    answers = [{"task": f"t{t}", "worker": f"w{w:02d}", "label": "xyz"[k]}
               for t, w, k in zip(codes.task, codes.worker, label, strict=True)]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(answers))
    labels = [
        {"task": f"t{t}", "model": "m", "sample": s, "label": "xyz"[llm[s][t]]} for s in range(2) for t in range(300)
    ]
    return [answers[i] for i in order], read_llm_labels(labels)


def test_the_last_look_is_an_audit_of_everything(rows):
    answers, llm = rows
    follower = SequentialPeers(llm)
    for start in range(0, len(answers), 500):
        follower.update(answers[start : start + 500])
        look = follower.look()
    whole = PeerPrediction().fit(answers, llm=llm)
    assert look.n_answers == len(answers)
    np.testing.assert_array_equal(look.workers["score"].to_numpy(), whole.workers_["score"].to_numpy())
    assert look.threshold == whole.threshold_.threshold[0]


def test_who_pastes_ends_within_reach_and_others_do_not(rows):
    answers, llm = rows
    follower = SequentialPeers(llm)
    follower.update(answers)
    state = dict(follower.look().workers.select("worker", "state").iter_rows())
    assert all(state[f"w{w:02d}"] in ("within", "open") for w in range(4))
    assert all(state[f"w{w:02d}"] in ("above", "open") for w in range(4, 20))
    assert list(state.values()).count("above") > 8


def test_who_contradicts_the_others_is_soon_within_reach(rows):
    answers, llm = rows
    turned = {"x": "y", "y": "z", "z": "x"}
    follower = SequentialPeers(llm)
    follower.update([{**row, "label": turned[row["label"]]} if row["worker"] == "w10" else row for row in answers])
    assert dict(follower.look().workers.select("worker", "state").iter_rows())["w10"] == "within"


def test_changes_are_told_once_and_survive_a_new_session(rows):
    answers, llm = rows
    follower = SequentialPeers(llm)
    follower.update(answers)
    first = follower.look()
    assert len(first.changes) > 0
    assert follower.look().changes.is_empty()
    again = SequentialPeers(llm, states=first.workers)
    again.update(answers)
    assert again.look().changes.is_empty()


def test_types_may_differ_between_pieces():
    follower = SequentialPeers(method=PeerPrediction(min_answers=2))
    follower.update([{"task": 1, "worker": "a", "label": 1}, {"task": 2, "worker": "a", "label": 0}])
    follower.update(pl.DataFrame({"task": ["1", "2"], "worker": ["b", "b"], "label": ["1", "0"]}))
    assert follower.look().workers["worker"].to_list() == ["a", "b"]


def test_what_cannot_be_scored_yet_is_waited_for():
    follower = SequentialPeers()
    assert follower.look().waiting == "no answers so far"
    follower.update([{"task": "t", "worker": w, "label": 1} for w in "ab"])
    assert "all answers are equal" in follower.look().waiting
    with pytest.raises(DataError, match="task"):
        follower.update([{"this": 1, "that": 2}])
    with pytest.raises(RecipeError, match="duplicates"):
        SequentialPeers(duplicates="error")


def test_running_intervals_hold_over_all_looks_together():
    """Look after every answer from the 20th to the 2,000th: about 5 % of the paths are ever missed, not 40 %."""
    rng = np.random.default_rng(0)
    paths = rng.choice([-0.5, 0.5], (1000, 2000))
    n = np.arange(1, 2001)
    mean = paths.cumsum(axis=1) / n
    se = np.sqrt(np.maximum((paths**2).cumsum(axis=1) / n - mean**2, 1e-12) / n)
    looks = slice(19, None)
    running = running_half_width(se[:, looks], np.broadcast_to(n[looks], se[:, looks].shape), tightest=60)
    fixed = 1.96 * se[:, looks]
    missed = (np.abs(mean[:, looks]) > running).any(axis=1).mean()
    assert missed <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)
    assert (np.abs(mean[:, looks]) > fixed).any(axis=1).mean() > 0.3, "what intervals for a single look would do"
    assert (running > fixed).all()
