"""The method as a whole: its options reach the score, models of any coverage keep to the rules, figures beside it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.data import Answers, read_llm_labels
from tamis.errors import RecipeError
from tamis.people import PeerPrediction
from tamis.people.checks import flag_warnings
from tamis.people.diagnostics import output_agreement, similarity

N = 300


@pytest.fixture
def world(crowd, noisy):
    """30 workers, six of whom paste; one LLM with three samples, another with two of a few tasks."""
    codes, truth = crowd(workers=30, tasks=N, density=0.3, accuracy=0.8)
    base = noisy(truth, accuracy=0.65)
    samples = [noisy(base, accuracy=0.92, seed=s) for s in range(4)]
    label = np.where(codes.worker < 6, samples[3][codes.task], codes.label)
    answers = Answers.from_frame(
        {"task": f"t{t:03d}", "worker": f"w{w:02d}", "label": int(k)}
        for t, w, k in zip(codes.task, codes.worker, label, strict=True)
    )
    return answers, truth, samples


def labels(samples, model="m", share=1.0, first=0):
    rng = np.random.default_rng(first)
    there = [np.ones(N, dtype=bool)] + [rng.random(N) < share for _ in samples[1:]]
    return [{"task": f"t{t:03d}", "model": model, "sample": s, "label": int(k[t])}
            for s, k in enumerate(samples) for t in range(N) if there[s][t]]  # fmt: skip


def test_every_option_reaches_the_score(world):
    answers, _, samples = world
    llm = read_llm_labels([row for row in labels(samples[:2]) if int(row["task"][1:]) % 4])
    plain = PeerPrediction().fit(answers, llm=llm).workers_
    frame = answers.table.frame
    label = samples[0][frame["task"].str.slice(1).cast(pl.Int32).to_numpy()]
    some = answers.take((frame["worker"].to_numpy() != "w07") | (label == 1))
    for changed in ({"guard": 0.7}, {"ordinal": True}, {"fidelity": "paper"}):
        other = PeerPrediction(**changed).fit(answers, llm=llm).workers_
        assert not np.allclose(other["score"].fill_null(9), plain["score"].fill_null(9)), changed
    for name in ("score", "low", "high"):
        scaled, kept = (
            PeerPrediction(renormalise=flag, min_answers=2).fit(some, llm=llm).workers_[name] for flag in (True, False)
        )
        assert not np.allclose(scaled.fill_null(9), kept.fill_null(9))
    assert (
        PeerPrediction(quantile=0.5).fit(answers, llm=llm).threshold_.threshold[0]
        < 0.9 * (PeerPrediction(quantile=0.95).fit(answers, llm=llm).threshold_.threshold[0])
    )
    assert PeerPrediction(rule="paired").fit(answers, llm=llm).workers_["reason"][0].count("standard errors")


def test_the_paper_counts_all_answers_of_a_worker(world):
    answers, _, samples = world
    llm = read_llm_labels([row for row in labels(samples[:2]) if int(row["task"][1:]) < 100])
    assert PeerPrediction(fidelity="paper").fit(answers, llm=llm).scores_.measured.all()
    few = PeerPrediction(min_answers=30).fit(answers, llm=llm).scores_
    assert not few.measured.all()
    assert few.measured.any()
    assert (few.n_scored[few.measured] >= 30).all()


@pytest.mark.parametrize("share", [1.0, 0.05])
def test_a_thin_second_sample_sets_no_threshold(world, share):
    """A virtual worker needs as many pasted answers as a worker needs answers."""
    answers, _, samples = world
    found = PeerPrediction().fit(answers, llm=read_llm_labels(labels(samples[:2], share=share)))
    flagged = found.workers_.filter(pl.col("action").is_in(["review", "re-collect"]))["worker"].to_list()
    assert len([w for w in flagged if int(w[1:]) >= 6]) <= 6
    assert (found.threshold_ is None) == (share < 1)
    assert any("a further sample" in w for w in found.warnings_) == (share < 1)


def test_a_pilot_of_another_model_changes_no_decision(world, noisy):
    answers, truth, samples = world
    full = labels(samples[:2])
    other = [noisy(truth, accuracy=0.7, seed=70 + s) for s in range(2)]
    pilot = [row for row in labels(other, "pilot") if int(row["task"][1:]) < 15]
    alone, both = (PeerPrediction().fit(answers, llm=read_llm_labels(rows)) for rows in (full, full + pilot))
    assert alone.workers_["action"].to_list() == both.workers_["action"].to_list()


def test_who_pasted_the_very_sample_is_flagged_by_either_rule(world):
    answers, _, samples = world
    llm = read_llm_labels(labels([samples[0], samples[3]]))
    for rule in ("quantile", "paired"):
        workers = PeerPrediction(rule=rule).fit(answers, llm=llm).workers_
        pasted = workers.filter(pl.col("worker").is_in([f"w{i:02d}" for i in range(6)]))
        assert pasted["action"].null_count() == 0, rule
        assert pasted.filter(action="keep").height <= 1, rule


def test_missing_labels_in_some_samples_cost_no_answers_of_the_paired_rule(world, noisy):
    answers, _, samples = world
    many = [samples[0], *(noisy(samples[3], accuracy=0.95, seed=90 + i) for i in range(5))]
    found = PeerPrediction(rule="paired").fit(answers, llm=read_llm_labels(labels(many, share=0.7)))
    assert found.workers_["paired_z"].null_count() == 0
    kept = found.workers_.filter(action="keep")["worker"].to_list()
    assert len([w for w in kept if int(w[1:]) >= 6]) > 12


def test_scores_of_zero_up_to_rounding_lie_below_a_threshold_of_zero():
    """Everybody answers everything and the LLM repeats itself: pasting and constants score exactly 0."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, N)
    llm = np.where(rng.random(N) < 0.7, truth, 1 - truth)
    rows = []
    for w in range(20):
        own = np.where(rng.random(N) < 0.85, truth, 1 - truth)
        said = llm if w < 3 else np.ones(N, dtype=int) if w < 6 else own
        rows += [{"task": f"t{t:03d}", "worker": f"w{w:02d}", "label": int(said[t])} for t in range(N)]
    found = PeerPrediction().fit(rows, llm=labels([llm, llm]))
    assert found.workers_["action"].to_list()[:6].count("keep") == 0
    assert found.workers_["action"].to_list()[6:].count("keep") == 14


def test_llm_labels_in_several_frames(world):
    answers, _, samples = world
    frames = [pl.DataFrame(labels(samples[:2])), pl.DataFrame(labels(samples[2:], "n"))]
    found = PeerPrediction().fit(answers, llm=frames)
    assert [each.model for each in found.conditions_] == ["m", "n"]
    consensus = PeerPrediction().fit_predict(answers, llm=frames)
    assert consensus.columns == ["task", "label", "confidence"]


@pytest.mark.parametrize(
    "wrong",
    [{"baselines": None}, {"baselines": "wawa"}, {"min_answers": 1}, {"min_answers": True}, {"quantile": 0},
     {"fidelity": "paper", "guard": 0.1}, {"fidelity": "paper", "leave_one_out": True}, {"n_bootstrap": 3}],
    ids=str,
)  # fmt: skip
def test_bad_parameters(wrong):
    with pytest.raises(RecipeError, match=next(iter(set(wrong) - {"fidelity"}))):
        PeerPrediction(**wrong).validate()


def test_many_flags_or_as_many_as_by_chance_are_doubted():
    assert flag_warnings(3, 20, 0.5) == []
    assert "nothing here shows" in flag_warnings(4, 20, 4.0)[0]
    assert "doubt the comparison first" in flag_warnings(12, 20, 1.0)[0]
    assert "doubt the comparison first" in flag_warnings(20, 20, float("nan"))[0]


def test_agreement_and_similarity_are_those_of_a_loop(crowd, noisy):
    codes, truth = crowd(workers=8, tasks=40, density=0.4)
    z = noisy(truth)
    z[::7] = -1
    for worker in range(8):
        shares, unlike, equal = [], [], []
        for task, label in zip(codes.task[codes.worker == worker], codes.label[codes.worker == worker], strict=True):
            others = codes.label[(codes.task == task) & (codes.worker != worker)]
            if len(others):
                shares.append((others == label).mean())
                unlike.append(shares[-1] if label != z[task] else 0.0)
            if z[task] >= 0:
                equal.append(label == z[task])
        assert output_agreement(codes)[worker] == pytest.approx(np.mean(shares))
        assert output_agreement(codes, z)[worker] == pytest.approx(np.mean(unlike))
        assert similarity(codes, z)[worker] == pytest.approx(np.mean(equal))
