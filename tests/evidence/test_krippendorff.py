"""Krippendorff's alpha against his coincidence matrix written out, nltk, and a plain bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.answer_codes import AnswerCodes
from tamis.errors import RecipeError
from tamis.evidence import krippendorff_alpha, krippendorff_interval


def random_codes(seed, n_tasks=15, n_workers=6, n_classes=4, share=0.5, agree=0.5):
    rng = np.random.default_rng(seed)
    task, worker = np.nonzero(rng.random((n_tasks, n_workers)) < share)
    truth = rng.integers(0, n_classes, n_tasks)
    label = np.where(rng.random(len(task)) < agree, truth[task], rng.integers(0, n_classes, len(task)))
    return AnswerCodes.of(task, worker, label, n_tasks=n_tasks, n_workers=n_workers, n_classes=n_classes + 1)


def alpha_by_definition(codes, level):
    """Coincidences, and the distances of every two labels, by loops over both."""
    K = codes.n_classes
    o = np.zeros((K, K))
    for counts in codes.counts.toarray():
        if (m := counts.sum()) >= 2:
            for c in range(K):
                for k in range(K):
                    o[c, k] += counts[c] * (counts[k] - (c == k)) / (m - 1)
    totals = o.sum(axis=1)
    n = totals.sum()
    observed = expected = 0.0
    for c in range(K):
        for k in range(c + 1, K):
            between = totals[c : k + 1].sum() - (totals[c] + totals[k]) / 2
            distance = 1.0 if level == "nominal" else between**2
            observed += o[c, k] * distance
            expected += totals[c] * totals[k] * distance / (n - 1)
    return 1 - observed / expected if expected else np.nan


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.1, 1.0), agree=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_alpha_is_that_of_the_coincidence_matrix(level, seed, share, agree):
    codes = random_codes(seed, share=share, agree=agree)
    expected = alpha_by_definition(codes, level)
    assert krippendorff_alpha(codes, level=level) == pytest.approx(expected, abs=1e-10, nan_ok=True)


def test_krippendorffs_own_example():
    """Four observers, twelve units, missing answers: Krippendorff (2011), section C, nominal .743, ordinal .815."""
    none = -1
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, none, none, none],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, none, 3],
            [none, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, none],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, none],
        ]
    )
    worker, task = np.nonzero(table > 0)
    codes = AnswerCodes.of(task, worker, table[worker, task] - 1)
    assert krippendorff_alpha(codes) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(codes, level="ordinal") == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_nominal_alpha_is_that_of_nltk_through_crowd_kit(seed):
    metrics = pytest.importorskip("crowdkit.metrics.data")
    import pandas as pd

    codes = random_codes(seed, n_tasks=60, share=0.6)
    codes = codes.only(codes.per_task[codes.task] >= 2)  # nltk counts answers that have no pair, unlike Krippendorff
    frame = pd.DataFrame({name: getattr(codes, name).astype(int) for name in ("task", "worker", "label")})
    assert krippendorff_alpha(codes) == pytest.approx(metrics.alpha_krippendorff(frame), abs=1e-10)


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@pytest.mark.parametrize(
    "codes",
    [
        AnswerCodes.of([], [], []),
        AnswerCodes.of([0, 1, 2], [0, 0, 1], [0, 1, 1]),
        AnswerCodes.of([0, 0, 1, 1, 2], [0, 1, 0, 1, 0], [2, 2, 2, 2, 0]),
    ],
    ids=["no answer", "no pair", "one class in pairs"],
)
def test_where_there_is_nothing_to_agree_about_alpha_is_nan(codes, level):
    assert np.isnan(krippendorff_alpha(codes, level=level))
    assert np.isnan(krippendorff_interval(codes, np.random.default_rng(0), level=level)).all()


def test_full_agreement_is_one_and_answers_at_random_are_near_zero():
    assert krippendorff_alpha(random_codes(0, agree=1.0)) == 1
    assert krippendorff_alpha(random_codes(0, agree=1.0), level="ordinal") == pytest.approx(1)
    assert abs(krippendorff_alpha(random_codes(0, n_tasks=5000, agree=0.0))) < 0.02


def test_relabelling_leaves_nominal_alpha_and_reversal_leaves_ordinal_alpha():
    codes = random_codes(3)
    other = codes.with_labels(np.array([2, 0, 4, 1, 3])[codes.label])
    assert krippendorff_alpha(other) == pytest.approx(krippendorff_alpha(codes))
    assert krippendorff_alpha(other, level="ordinal") != pytest.approx(krippendorff_alpha(codes, level="ordinal"))
    reverse = codes.with_labels(4 - codes.label)
    assert krippendorff_alpha(reverse, level="ordinal") == pytest.approx(krippendorff_alpha(codes, level="ordinal"))


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_the_interval_is_that_of_a_plain_bootstrap_over_tasks(level):
    codes = random_codes(1, n_tasks=80, n_workers=5, n_classes=3)
    value, low, high = krippendorff_interval(codes, np.random.default_rng(0), 4000, level=level)
    assert value == pytest.approx(alpha_by_definition(codes, level))
    rng, drawn = np.random.default_rng(1), []
    tasks = np.flatnonzero(codes.per_task >= 2)
    for _ in range(800):
        again = rng.choice(tasks, len(tasks))
        rows = [np.flatnonzero(codes.task == t) for t in again]
        task = np.repeat(np.arange(len(again)), [len(r) for r in rows])
        picked = np.concatenate(rows)
        copy = AnswerCodes.of(task, codes.worker[picked], codes.label[picked])
        drawn.append(krippendorff_alpha(copy, level=level))
    np.testing.assert_allclose([low, high], np.quantile(drawn, [0.025, 0.975]), atol=0.025)
    assert low < value < high


def test_intervals_hold_the_alpha_of_the_crowd_about_as_often_as_they_say():
    truth = krippendorff_alpha(random_codes(0, n_tasks=40_000, n_workers=4, n_classes=3, agree=0.6))
    held = 0
    for seed in range(200):
        codes = random_codes(seed + 1, n_tasks=100, n_workers=4, n_classes=3, agree=0.6)
        _, low, high = krippendorff_interval(codes, np.random.default_rng(seed), 300)
        held += low <= truth <= high
    assert 0.88 <= held / 200 <= 0.99


def test_tasks_with_the_same_votes_are_one_row_and_others_are_not():
    from tamis.evidence.krippendorff import _Votes

    codes = random_codes(2, n_tasks=300, n_workers=4, n_classes=3)
    votes = _Votes.of(codes)
    expected, tasks = np.unique(codes.counts.toarray()[codes.per_task >= 2], axis=0, return_counts=True)
    found = {tuple(row): n for row, n in zip(votes.counts.toarray(), votes.tasks, strict=True)}
    assert found == {tuple(row): n for row, n in zip(expected, tasks, strict=True)}


def test_an_unknown_level_is_refused():
    with pytest.raises(RecipeError, match="'nominal' or 'ordinal'"):
        krippendorff_alpha(random_codes(0), level="interval")
    with pytest.raises(RecipeError, match="The 'level' parameter of krippendorff_interval"):
        krippendorff_interval(random_codes(0), np.random.default_rng(0), level="ratio")
