"""What must hold for the score whatever the crowd (section 7a of the specification)."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data import AnswerCodes
from tamis.evidence import auroc
from tamis.people.scoring import Estimator, score_answers, stratum_joint
from tamis.people.sign_tensor import Joint, pair_joint
from tamis.people.strata import Strata
from tamis.people.worker_scores import score_workers


def scores(codes, z, **estimator):
    return score_workers(score_answers(Strata.of(codes, z), estimator=Estimator(**estimator))).score[:, 0]


def test_a_function_of_the_condition_scores_exactly_zero_with_full_coverage(crowd, noisy):
    codes, truth = crowd(workers=15, tasks=150)
    z = noisy(truth)
    for f in (np.array([0, 1, 2]), np.array([2, 0, 1]), np.array([1, 1, 1])):
        everywhere = np.arange(150)
        with_one = AnswerCodes.of(
            np.concatenate([codes.task, everywhere]),
            np.concatenate([codes.worker, np.full(150, 15)]),
            np.concatenate([codes.label, f[z]]),
        )
        assert abs(scores(with_one, z)[15]) < 1e-12


def test_a_function_of_the_condition_scores_zero_up_to_sampling_otherwise(crowd, noisy):
    found = []
    for seed in range(40):
        codes, truth = crowd(workers=16, tasks=200, seed=seed)
        z = noisy(truth, seed=1000 + seed)
        mine = codes.worker == 0
        found.append(scores(codes.with_labels(np.where(mine, z[codes.task], codes.label)), z)[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)
    assert np.std(found) > 1e-3


def test_random_workers_score_zero_on_average_and_independent_ones_more(crowd, noisy):
    random, independent = [], []
    for seed in range(30):
        codes, truth = crowd(workers=16, tasks=200, seed=seed)
        z = noisy(truth, seed=1000 + seed)
        label = np.random.default_rng(2000 + seed).integers(0, 3, len(codes))
        found = scores(codes.with_labels(np.where(codes.worker == 0, label, codes.label)), z)
        random.append(found[0])
        independent.append(found[1:].mean())
    assert abs(np.mean(random)) < 3 * np.std(random) / np.sqrt(30)
    assert min(independent) > 0.02


def test_task_names_do_not_matter(crowd, noisy):
    codes, truth = crowd()
    z = noisy(truth)
    names = np.random.default_rng(0).permutation(codes.n_tasks)
    renamed = AnswerCodes.of(names[codes.task], codes.worker, codes.label, n_classes=3)
    z_renamed = np.empty_like(z)
    z_renamed[names] = z
    np.testing.assert_allclose(scores(renamed, z_renamed), scores(codes, z), atol=1e-12)


@pytest.mark.parametrize("ordinal", [False, True])
def test_class_names_do_not_matter(crowd, noisy, ordinal):
    codes, truth = crowd()
    z = noisy(truth)
    names = np.array([2, 1, 0]) if ordinal else np.array([1, 2, 0])  # turning an order round keeps it an order
    renamed = codes.with_labels(names[codes.label])
    np.testing.assert_allclose(
        scores(renamed, names[z].astype(np.int32), ordinal=ordinal), scores(codes, z, ordinal=ordinal), atol=1e-12
    )


def test_a_constant_condition_is_none(crowd):
    codes, _ = crowd()
    constant = np.zeros(codes.n_tasks, dtype=np.int32)
    whole = score_workers(score_answers(Strata.whole(codes))).score[:, 0]
    np.testing.assert_array_equal(scores(codes, constant), whole)


def test_an_unrelated_condition_gives_about_what_none_gives(crowd):
    codes, _ = crowd(workers=30, tasks=600)
    unrelated = np.random.default_rng(5).integers(0, 3, codes.n_tasks).astype(np.int32)
    whole = score_workers(score_answers(Strata.whole(codes))).score[:, 0]
    np.testing.assert_allclose(scores(codes, unrelated), whole, atol=0.02)


def test_every_task_twice_leaves_signs_as_they_are(crowd, noisy):
    codes, truth = crowd(density=0.15)
    z = noisy(truth)
    n = codes.n_tasks
    twice = AnswerCodes.of(
        *(np.concatenate(p) for p in ((codes.task, codes.task + n), (codes.worker,) * 2, (codes.label,) * 2))
    )
    one, two = Strata.of(codes, z), Strata.of(twice, np.concatenate([z, z]))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(
            stratum_joint(one, a, Estimator()).signs(), stratum_joint(two, b, Estimator()).signs()
        )


def test_more_llm_labels_tell_workers_apart_better(crowd, noisy):
    found = {share: [] for share in (0.15, 1.0)}
    for seed in range(12):
        codes, truth = crowd(workers=40, tasks=300, density=0.25, seed=seed)
        base = noisy(truth, accuracy=0.65, seed=1000 + seed)
        rng = np.random.default_rng(2000 + seed)
        label = codes.label.copy()
        for worker in range(8):
            mine = codes.worker == worker
            label[mine] = noisy(base, accuracy=0.9, seed=100 + worker)[codes.task[mine]]
        for share, each in found.items():
            z = np.where(rng.random(300) < share, noisy(base, accuracy=0.9, seed=50 + seed), -1).astype(np.int32)
            score = scores(codes.with_labels(label), z)
            each.append(auroc(np.nan_to_num(score), np.arange(40) >= 8)[0])
    assert np.mean(found[1.0]) > np.mean(found[0.15]) + 0.03


def random_joint(rng, K=4):
    return rng.dirichlet(np.ones(K * K)).reshape(K, K)


def test_the_sign_matrix_reaches_the_total_variation_and_nothing_reaches_more():
    rng = np.random.default_rng(0)
    for _ in range(200):
        P = random_joint(rng)
        independent = np.outer(P.sum(axis=1), P.sum(axis=0))
        found = Joint(P, independent, 100)
        information = np.abs(found.difference).sum() / 2
        assert (found.difference * found.signs()).sum() / 2 == pytest.approx(information)
        for other in (rng.uniform(-1, 1, (4, 4)), np.sign(rng.normal(size=(4, 4))), found.signs(ordinal=True)):
            assert (found.difference * other).sum() / 2 <= information + 1e-12
            assert np.abs(other).max() <= 1


def test_no_map_of_the_signal_beats_the_signal():
    """I_TVD(f(X, Z); Y | Z) <= I_TVD(X; Y | Z), for maps with and without chance."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        P, K = random_joint(rng), 4
        channel = rng.dirichlet(np.full(K, 0.3), K)  # from X to what is written, inside one stratum
        written = channel.T @ P

        def information(joint):
            return np.abs(joint - np.outer(joint.sum(axis=1), joint.sum(axis=0))).sum() / 2

        assert information(written) <= information(P) + 1e-12


def test_ordered_classes_tell_small_errors_from_large_ones():
    """Two kinds of worker are right equally often; one errs by a class, the other by any."""
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth, rows = rng.integers(0, 5, 1600), []
        for worker in range(40):
            at = rng.choice(1600, 120, replace=False)
            near = np.clip(np.round(truth[at] + rng.normal(0, 0.8, 120)), 0, 4).astype(int)
            anywhere = np.where(near == truth[at], near, rng.integers(0, 5, 120))
            rows += zip(at, [worker] * 120, near if worker < 20 else anywhere, strict=True)
        codes = AnswerCodes.of(*map(list, zip(*rows, strict=True)), n_tasks=1600, n_workers=40, n_classes=5)
        z = np.clip(np.round(truth + rng.normal(0, 1.2, 1600)), 0, 4).astype(np.int32)
        near = np.arange(40) < 20
        found.append([auroc(scores(codes, z, ordinal=flag), near)[0] for flag in (True, False)])
    ordered, plain = np.mean(found, axis=0)
    assert ordered > plain + 0.1


def test_pairs_of_a_task_with_many_raters_are_those_of_a_loop(crowd):
    codes, _ = crowd(workers=9, tasks=7, density=0.8)
    P, tasks = np.zeros((3, 3)), 0
    for t in range(7):
        labels = codes.label[codes.task == t]
        pairs = [(x, y) for i, x in enumerate(labels) for j, y in enumerate(labels) if i != j]
        for x, y in pairs:
            P[x, y] += 1 / len(pairs)
        tasks += len(pairs) > 0
    np.testing.assert_allclose(pair_joint(codes.counts).joint, P / tasks)
