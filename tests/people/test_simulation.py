"""Planted workers are what they are said to be, and simulations measure what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data import AnswerCodes, Answers, read_llm_labels
from tamis.errors import DataError
from tamis.people import PeerPrediction, Rates, simulate
from tamis.people.crowd_scores import Condition
from tamis.people.planting import plant, simulated_llm
from tamis.people.simulation import Setting


def test_planted_workers_are_what_they_are_said_to_be(crowd):
    codes, truth = crowd(workers=100, tasks=300)
    pasted = simulated_llm(truth, 3, samples=2, rng=np.random.default_rng(1))
    found = plant(codes, pasted, p_llm=0.2, p_random=0.15, p_biased=0.1, rng=np.random.default_rng(0))
    assert np.bincount(found.kind).tolist() == [55, 20, 15, 10]
    prior = np.bincount(codes.label) / len(codes)
    for worker, kind in enumerate(found.kind):
        mine = codes.worker == worker
        label, task = found.codes.label[mine], codes.task[mine]
        if kind == 0:
            np.testing.assert_array_equal(label, codes.label[mine])
        elif kind == 1:
            assert any((label == sample[task]).all() for sample in pasted), "one sample each"
        elif kind == 3:
            assert (label == prior.argmax()).mean() > 0.75
    random = np.isin(codes.worker, np.flatnonzero(found.kind == 2))
    share = np.bincount(found.codes.label[random], minlength=3) / random.sum()
    np.testing.assert_allclose(share, prior, atol=0.05)


def test_where_the_llm_is_silent_a_pasting_worker_keeps_the_own_answer(crowd):
    codes, _ = crowd(workers=10, tasks=50)
    silent = np.full((1, 50), -1, dtype=np.int32)
    found = plant(codes, silent, p_llm=0.5, p_random=0, p_biased=0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found.codes.label, codes.label)


def test_the_simulated_llm_errs_alike_in_all_samples():
    truth = np.random.default_rng(0).integers(0, 4, 20_000)
    truth[:5] = -1
    a, b = simulated_llm(truth, 4, samples=2, rng=np.random.default_rng(1))
    assert (a[:5] == -1).all()
    known = truth >= 0
    base = 0.75 * 0.9 + 0.25 * 0.1 / 3
    assert (a == truth)[known].mean() == pytest.approx(base, abs=0.01)
    wrong = known & (a != truth)
    assert (a == b)[wrong].mean() > 0.55, "errors are shared"


@pytest.fixture
def answers(crowd):
    codes, truth = crowd(workers=40, tasks=200, density=0.3, accuracy=0.8)
    rows = [{"task": f"t{t:03d}", "worker": f"w{w:02d}", "label": int(k)}
            for t, w, k in zip(codes.task, codes.worker, codes.label, strict=True)]  # fmt: skip
    return Answers.from_frame(rows), truth


def labels(truth, samples, model="m", seed=0):
    drawn = simulated_llm(truth, 3, samples=samples, accuracy=0.65, rng=np.random.default_rng(seed))
    return [{"task": f"t{t:03d}", "model": model, "sample": s, "label": int(drawn[s, t])}
            for s in range(samples) for t in range(len(truth))]  # fmt: skip


def test_more_llm_users_are_harder_to_find(answers):
    crowd, truth = answers
    llm = read_llm_labels(labels(truth, 4))
    few, many = (
        simulate(crowd, llm, rates=Rates(p, 0, 0), runs=6, seed=1).summary()["ca_z"]["mean"] for p in (0.1, 0.5)
    )
    assert few > 0.8
    assert few > many


def test_random_workers_are_found_without_any_llm_labels(answers):
    found = simulate(answers[0], rates=Rates(0, 0.2, 0), runs=4).summary()
    assert found["ca_z"]["mean"] > 0.9
    assert found["flagged:random"]["mean"] > 0.9
    assert found["flagged:llm"]["mean"] is None
    assert found["flagged:untouched"]["mean"] < 0.5


def test_samples_are_dealt_one_to_condition_one_to_compare_the_others_to_paste(answers):
    crowd, truth = answers
    both = read_llm_labels(labels(truth, 4) + labels(truth, 2, "n", seed=3))
    conditions = Condition.of(both.aligned(crowd))
    dealt = Setting.of(conditions)
    assert [len(each.others) for each in dealt.conditions] == [1, 1]
    np.testing.assert_array_equal(dealt.pasted[0], conditions[0].others[1])
    np.testing.assert_array_equal(dealt.pasted[2], conditions[1].others[0])
    assert len(dealt.notes) == 1, "the second model has no sample left that the threshold does not know"
    with pytest.raises(DataError, match="at least two samples"):
        Setting.of([Condition("m", conditions[0].z, conditions[0].others[:0])])
    with pytest.raises(DataError, match="No LLM label is about a task"):
        Setting.of([])


def test_one_run_has_no_interval(answers):
    found = simulate(answers[0], runs=1).summary()["ca_z"]
    assert found["mean"] is not None
    assert found["low"] is None


def test_the_method_given_is_the_method_used(answers):
    crowd, truth = answers
    llm = read_llm_labels(labels(truth, 4))
    strict, loose = (
        simulate(crowd, llm, runs=3, method=PeerPrediction(quantile=q)).summary()["flagged:llm"]["mean"]
        for q in (0.99, 0.5)
    )
    assert strict > loose


def test_a_crowd_without_peers_is_refused():
    codes = AnswerCodes.of([0, 1], [0, 0], [0, 1])
    assert codes.n_workers == 1
    rows = [{"task": "a", "worker": "w", "label": 0}, {"task": "b", "worker": "w", "label": 1}]
    with pytest.raises(DataError, match="one worker"):
        simulate(Answers.from_frame(rows))
