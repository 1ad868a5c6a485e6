"""Dawid-Skene against plain loops, crowd-kit and planted truth; majority vote."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.answer_codes import AnswerCodes
from tamis.errors import DataError, RecipeError
from tamis.noise import dawid_skene, dawid_skene_bytes, majority_vote

CROWD = Path(__file__).resolve().parents[3] / "shared" / "data" / "crowd"


def random_codes(seed, n_tasks=12, n_workers=6, n_classes=3, share=0.6):
    """Answers at random, with tasks, workers and a class that none of them has."""
    rng = np.random.default_rng(seed)
    task, worker = np.nonzero(rng.random((n_tasks, n_workers)) < share)
    label = rng.integers(0, n_classes, len(task))
    return AnswerCodes.of(task, worker, label, n_tasks=n_tasks + 2, n_workers=n_workers + 1, n_classes=n_classes + 1)


def planted(n_tasks, n_workers, share, confusion, prior, seed=0):
    """Truth and answers of workers with given confusion matrices, shape (n_workers, K, K)."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(prior), n_tasks, p=prior)
    task, worker = np.nonzero(rng.random((n_tasks, n_workers)) < share)
    cumulated = confusion[worker, truth[task]].cumsum(axis=1)
    label = (rng.random(len(task))[:, None] > cumulated).sum(axis=1)
    return truth, AnswerCodes.of(task, worker, label, n_tasks=n_tasks, n_workers=n_workers, n_classes=len(prior))


def fitted_by_loops(codes, smoothing, n_rounds, one_coin):
    """The update rules word by word, with probabilities in place of logarithms."""
    answers = list(zip(codes.task.tolist(), codes.worker.tolist(), codes.label.tolist(), strict=True))
    classes = range(codes.n_classes)
    tasks = sorted({t for t, _, _ in answers})
    votes = {t: [sum(1 for u, _, y in answers if u == t and y == k) for k in classes] for t in tasks}
    q = {t: [v / sum(votes[t]) for v in votes[t]] for t in tasks}

    def m_step():
        prior = [sum(q[t][k] for t in tasks) / len(tasks) for k in classes]
        matrices = {}
        for w in {w for _, w, _ in answers}:
            A = np.full((codes.n_classes,) * 2, smoothing)
            for t, v, y in answers:
                for k in classes:
                    A[k, y] += q[t][k] * (v == w)
            if one_coin:
                own = [(t, y) for t, v, y in answers if v == w]
                right = sum(q[t][y] for t, y in own)
                accuracy = (right + smoothing) / (len(own) + smoothing * codes.n_classes)
                A[:] = (1 - accuracy) / (codes.n_classes - 1)
                np.fill_diagonal(A, accuracy)
            matrices[w] = A / A.sum(axis=1, keepdims=True)
        return prior, matrices

    for _ in range(n_rounds):
        prior, matrices = m_step()
        new = {}
        for t in tasks:
            weight = list(prior)
            for u, w, y in answers:
                if u == t:
                    weight = [weight[k] * matrices[w][k, y] for k in classes]
            new[t] = [x / sum(weight) for x in weight]
        q = new
    prior, matrices = m_step()
    return q, prior, matrices


@pytest.mark.parametrize("one_coin", [False, True])
@given(seed=st.integers(0, 2**32 - 1), n_rounds=st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_rounds_equal_plain_loops(one_coin, seed, n_rounds):
    codes = random_codes(seed)
    found = dawid_skene(codes, smoothing=0.05, max_rounds=n_rounds, tolerance=0, one_coin=one_coin)
    q, prior, matrices = fitted_by_loops(codes, 0.05, n_rounds, one_coin)
    assert found.n_rounds == n_rounds
    np.testing.assert_allclose(found.prior, prior, atol=1e-10)
    for task in range(codes.n_tasks):
        np.testing.assert_allclose(found.posterior[task], q.get(task, prior), atol=1e-10)
        assert found.answered[task] == (task in q)
    for worker in range(codes.n_workers):
        if worker in matrices:
            np.testing.assert_allclose(found.confusion(worker), matrices[worker], atol=1e-10)
            assert found.skill[worker] == pytest.approx(np.diag(matrices[worker]) @ prior, abs=1e-10)
        else:
            assert np.isnan(found.skill[worker])
            assert np.isnan(found.confusion(worker)).all()


def test_a_class_that_nobody_names_stays_impossible():
    found = dawid_skene(random_codes(0))
    assert (found.posterior[:, 3] == 0).all()
    assert found.prior[3] == 0


def test_planted_confusion_matrices_are_recovered():
    rng = np.random.default_rng(1)
    confusion = 0.55 * np.eye(4) + 0.45 * rng.dirichlet(np.ones(4), size=(25, 4))
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    truth, codes = planted(6000, 25, 0.4, confusion, prior)
    found = dawid_skene(codes)
    assert found.converged
    assert np.mean(found.labels == truth) > 0.97
    np.testing.assert_allclose(found.prior, prior, atol=0.02)
    errors = np.array([found.confusion(worker) - confusion[worker] for worker in range(25)])
    assert np.abs(errors).max() < 0.08
    assert np.sqrt(np.mean(errors**2)) < 0.02
    np.testing.assert_allclose(found.skill, np.einsum("k,wkk->w", prior, confusion), atol=0.05)


def test_one_coin_recovers_accuracies_and_is_the_better_model_of_few_answers():
    accuracy = np.linspace(0.4, 0.95, 40)
    confusion = np.where(np.eye(10), accuracy[:, None, None], (1 - accuracy[:, None, None]) / 9)
    truth, codes = planted(400, 40, 0.15, confusion, np.full(10, 0.1))
    coin, full = dawid_skene(codes, one_coin=True), dawid_skene(codes)
    assert np.abs(coin.skill - accuracy).mean() < 0.05
    assert np.mean(coin.labels == truth) > np.mean(full.labels == truth)
    matrix = coin.confusion(3)
    np.testing.assert_allclose(np.diag(matrix), coin.skill[3])
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert len(np.unique(matrix[~np.eye(10, dtype=bool)].round(12))) == 1


@pytest.mark.parametrize("one_coin", [False, True])
def test_new_codes_of_tasks_workers_and_classes_permute_the_result(one_coin):
    codes = random_codes(5, n_tasks=40, n_workers=9)
    rng = np.random.default_rng(0)
    tasks, workers, classes = (rng.permutation(n) for n in (codes.n_tasks, codes.n_workers, codes.n_classes))
    moved = AnswerCodes.of(
        tasks[codes.task], workers[codes.worker], classes[codes.label],
        n_tasks=codes.n_tasks, n_workers=codes.n_workers, n_classes=codes.n_classes,
    )  # fmt: skip
    one, two = (dawid_skene(c, max_rounds=20, one_coin=one_coin) for c in (codes, moved))
    assert one.n_rounds == two.n_rounds
    np.testing.assert_allclose(two.posterior[tasks][:, classes], one.posterior, atol=1e-9)
    np.testing.assert_allclose(two.skill[workers], one.skill, atol=1e-9)
    np.testing.assert_allclose(two.confusion(workers[2])[np.ix_(classes, classes)], one.confusion(2), atol=1e-9)


def test_the_same_answers_give_the_same_bytes():
    one, two = (dawid_skene(random_codes(9)) for _ in range(2))
    assert one.posterior.tobytes() == two.posterior.tobytes()
    assert one.skill.tobytes() == two.skill.tobytes()


def test_mean_confusion_pools_the_expected_answers_of_the_workers_named():
    confusion = np.stack([np.eye(3) * 0.7 + 0.1] * 4)
    _, codes = planted(500, 4, 0.8, confusion, np.full(3, 1 / 3))
    found = dawid_skene(codes)
    expected = np.zeros((4, 3, 3))
    for task, worker, label in zip(codes.task, codes.worker, codes.label, strict=True):
        expected[worker, :, label] += found.posterior[task]
    weights = np.array([2.0, 0.0, 1.0, 0.5])
    pooled = np.tensordot(weights, expected, 1) + 0.01
    np.testing.assert_allclose(found.mean_confusion(weights), pooled / pooled.sum(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(found.mean_confusion([False, True, False, False]), found.confusion(1))
    np.testing.assert_allclose(found.mean_confusion(np.ones(4)), confusion[0], atol=0.06)


def test_mean_confusion_of_one_coin_workers_is_that_of_their_answers():
    codes = AnswerCodes.of([0, 1, 2, 3] * 4, np.repeat([0, 1, 2, 3], 4), [0, 1, 0, 1] * 3 + [0, 1, 1, 0])
    found = dawid_skene(codes, one_coin=True)
    both = found.mean_confusion([True, False, False, True])
    np.testing.assert_allclose(both, [[0.75, 0.25], [0.25, 0.75]], atol=0.01)


@pytest.mark.parametrize("one_coin", [False, True])
def test_nobody_has_no_confusion(one_coin):
    found = dawid_skene(random_codes(0), one_coin=one_coin)
    assert np.isnan(found.mean_confusion(np.zeros(7))).all()
    assert np.isnan(found.mean_confusion(np.arange(7) == 6)).all()


@pytest.mark.parametrize("weights", [np.ones(3), [-1, *[0] * 6], [np.nan] * 7])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(DataError, match="mean_confusion expects"):
        dawid_skene(random_codes(0)).mean_confusion(weights)


@pytest.mark.parametrize("worker", [-1, 7])
def test_a_worker_that_does_not_exist_is_refused(worker):
    with pytest.raises(DataError, match=r"worker in 0\.\.6"):
        dawid_skene(random_codes(0)).confusion(worker)


@pytest.mark.parametrize("one_coin", [False, True])
def test_one_class_and_one_answer(one_coin):
    found = dawid_skene(AnswerCodes.of([0], [0], [0]), one_coin=one_coin)
    assert found.posterior.tolist() == [[1.0]]
    assert found.skill.tolist() == [1.0]
    assert found.labels.tolist() == [0]
    assert found.converged


def test_ties_take_the_first_class_and_silence_takes_none():
    found = dawid_skene(AnswerCodes.of([0, 0], [0, 1], [1, 0], n_tasks=2))
    np.testing.assert_allclose(found.posterior, 0.5)
    assert found.labels.tolist() == [0, -1]


def test_progress_counts_the_rounds():
    calls = []
    found = dawid_skene(random_codes(3), max_rounds=50, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i + 1, 50) for i in range(found.n_rounds)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("smoothing", 0), ("smoothing", np.inf), ("max_rounds", 0), ("tolerance", -1e-9), ("tolerance", np.nan)],
)
def test_bad_parameters_are_refused(name, value):
    with pytest.raises(RecipeError, match=f"The '{name}' parameter of dawid_skene"):
        dawid_skene(random_codes(0), **{name: value})


def test_no_answers_are_refused():
    with pytest.raises(DataError, match="at least one answer"):
        dawid_skene(AnswerCodes.of([], [], [], n_tasks=3, n_classes=2))


def test_many_classes_take_memory_by_what_was_written_and_the_estimate_knows_it():
    rng = np.random.default_rng(0)
    n, n_classes = 3000, 1000
    task, worker = np.divmod(rng.choice(1000 * 300, n, replace=False), 300)
    codes = AnswerCodes.of(
        task, worker, rng.integers(0, n_classes, n), n_tasks=1000, n_workers=300, n_classes=n_classes
    )
    tracemalloc.start()
    found = dawid_skene(codes, max_rounds=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.confusion(3).shape == (n_classes, n_classes)
    assert 0.9 * peak < dawid_skene_bytes(codes) < 1.5 * peak
    assert peak < 300 * n_classes**2 * 8 / 20  # all confusion matrices would be 2.4 GB


@pytest.fixture(scope="module")
def rte():
    path = CROWD / "rte" / "label.csv"
    if not path.exists():
        pytest.skip("no shared data: crowd/rte is not at ../shared/data beside the project")
    with path.open(newline="") as file:
        rows = np.array([[int(row[name]) for name in ("item", "worker", "label")] for row in csv.DictReader(file)])
    return AnswerCodes.of(*rows.T)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("one_coin", [False, True])
def test_labels_and_skills_are_those_of_crowd_kit_on_rte(rte, one_coin):
    aggregation = pytest.importorskip("crowdkit.aggregation")
    import pandas as pd

    frame = pd.DataFrame({name: getattr(rte, name).astype(int) for name in ("task", "worker", "label")})
    model = aggregation.OneCoinDawidSkene() if one_coin else aggregation.DawidSkene(n_iter=100)
    labels = model.fit_predict(frame)
    found = dawid_skene(rte, one_coin=one_coin)
    assert np.mean(found.labels[labels.index] == labels.to_numpy()) > 0.99
    np.testing.assert_allclose(found.prior, model.priors_.sort_index(), atol=0.01)
    for worker in np.flatnonzero(rte.per_worker >= 100):
        theirs = model.errors_.loc[worker].sort_index().T.sort_index().to_numpy()
        np.testing.assert_allclose(found.confusion(worker), theirs, atol=0.03)


def test_majority_vote_is_the_share_of_votes():
    codes = AnswerCodes.of([0, 0, 0, 2], [0, 1, 2, 0], [1, 1, 2, 0], n_tasks=4)
    shares = majority_vote(codes)
    np.testing.assert_allclose(shares[[0, 2]], [[0, 2 / 3, 1 / 3], [1, 0, 0]])
    assert np.isnan(shares[[1, 3]]).all()
    assert codes.counts.toarray()[0].tolist() == [0, 2, 1]
