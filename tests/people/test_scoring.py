"""The vectorised score against the formulas of the specification, written out answer by answer."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data import AnswerCodes
from tamis.people import scoring
from tamis.people.scoring import Estimator, expected_terms, score_answers
from tamis.people.strata import Strata
from tamis.people.worker_scores import score_workers

K = 3


def plain_signs(R, z, s, guard=0.0):
    """Sign matrix of one stratum from all ordered pairs of distinct raters."""
    P, Q, n_tasks = np.zeros((K, K)), np.zeros(K), 0
    for t in np.flatnonzero(z == s):
        labels = R[~np.isnan(R[:, t]), t].astype(int)
        if len(labels) < 2:
            continue
        n_tasks += 1
        for i, x in enumerate(labels):
            Q[x] += 1 / len(labels)
            for j, y in enumerate(labels):
                if i != j:
                    P[x, y] += 1 / (len(labels) * (len(labels) - 1))
    P, Q = P / max(1, n_tasks), Q / max(1, n_tasks)
    D = P - np.outer(Q, Q)
    return np.where(np.abs(D) < max(1e-12, guard / np.sqrt(max(1, n_tasks))), 0, np.sign(D))


def others(R, i, t):
    """Label distribution of all other raters of a task, None without any."""
    labels = np.delete(R[:, t], i)
    labels = labels[~np.isnan(labels)].astype(int)
    return np.bincount(labels, minlength=K) / len(labels) if len(labels) else None


def plain_score(R, z, i, written=None, signs=None, guard=0.0):
    """Score of worker i with the exact penalty, stratum by stratum and answer by answer."""
    rated = ~np.isnan(R).all(axis=0)
    total, n_strata = 0.0, int(z.max()) + 1
    known = rated & (z >= 0)
    for s in range(n_strata):
        members = np.flatnonzero(known & (z == s))
        D = plain_signs(R, np.where(known, z, -1), s, guard) if signs is None else signs[s]
        peers = {t: others(R, i, t) for t in members}
        peers = {t: p for t, p in peers.items() if p is not None}
        terms = []
        for b in members:
            if np.isnan(R[i, b]) or b not in peers or len(peers) < 2:
                continue
            x = int(R[i, b]) if written is None else int(written[b])
            penalty = np.mean([p for t, p in peers.items() if t != b], axis=0)
            terms.append(0.5 * np.dot(peers[b] - penalty, D[x]))
        if len(terms) >= 2:
            total += known[members].sum() / known.sum() * np.mean(terms)
    return total


def matrix(codes: AnswerCodes) -> np.ndarray:
    R = np.full((codes.n_workers, codes.n_tasks), np.nan)
    R[codes.worker, codes.task] = codes.label
    return R


@pytest.fixture(params=[(0.4, 0), (0.12, 1)], ids=["dense", "sparse"])
def world(request, crowd, noisy):
    """A crowd and LLM labels of nine tenths of its tasks; the sparse one has tasks with one rater and with none."""
    density, seed = request.param
    codes, truth = crowd(workers=12, tasks=60, density=density, seed=seed)
    z = noisy(truth)
    z[::10] = -1
    return codes, z


def test_it_equals_the_formulas(world):
    codes, z = world
    found = score_workers(score_answers(Strata.of(codes, z))).score[:, 0]
    expected = [plain_score(matrix(codes), z, i) for i in range(codes.n_workers)]
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=1e-12)


def test_nothing_conditioned_on_is_one_stratum(world):
    codes, _ = world
    found = score_workers(score_answers(Strata.whole(codes))).score[:, 0]
    z = np.zeros(codes.n_tasks, dtype=int)
    expected = [plain_score(matrix(codes), z, i) for i in range(codes.n_workers)]
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=1e-12)


def test_a_virtual_worker_has_the_same_peers_penalty_and_signs(world, noisy):
    codes, z = world
    pasted = noisy(np.where(z >= 0, z, 0), accuracy=0.9, seed=3)
    terms = score_answers(Strata.of(codes, z), pasted[codes.task][:, None])
    found = score_workers(terms).score[:, 1]
    expected = [plain_score(matrix(codes), z, i, written=pasted) for i in range(codes.n_workers)]
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=1e-12)


def test_a_virtual_worker_without_a_label_is_not_scored_there(world):
    codes, z = world
    terms = score_answers(Strata.of(codes, z), np.full((len(codes), 1), -1, dtype=np.int32))
    assert np.isnan(terms.values[:, 1]).all()
    assert np.isnan(score_workers(terms).score[:, 1]).all()


def test_thin_cells_can_be_left_out(world):
    codes, z = world
    found = score_workers(score_answers(Strata.of(codes, z), estimator=Estimator(guard=0.8))).score[:, 0]
    expected = [plain_score(matrix(codes), z, i, guard=0.8) for i in range(codes.n_workers)]
    np.testing.assert_allclose(np.nan_to_num(found), expected, atol=1e-12)
    assert not np.allclose(found, score_workers(score_answers(Strata.of(codes, z))).score[:, 0], equal_nan=True)


def test_leaving_a_worker_out_is_scoring_with_the_signs_of_the_others(world):
    codes, z = world
    found = score_workers(score_answers(Strata.of(codes, z), estimator=Estimator(leave_one_out=True))).score[:, 0]
    R = matrix(codes)
    known = np.where(~np.isnan(R).all(axis=0), z, -1)
    for i in range(codes.n_workers):
        without = R.copy()
        without[i] = np.nan
        signs = [plain_signs(without, known, s) for s in range(K)]
        assert np.nan_to_num(found[i]) == pytest.approx(plain_score(R, z, i, signs=signs), abs=1e-12)


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_the_size_of_the_blocks_changes_nothing(world, monkeypatch, leave_one_out):
    codes, z = world
    estimator = Estimator(leave_one_out=leave_one_out)
    whole = score_answers(Strata.of(codes, z), estimator=estimator).values
    monkeypatch.setattr(scoring, "BLOCK_CELLS", 1)
    np.testing.assert_array_equal(score_answers(Strata.of(codes, z), estimator=estimator).values, whole)


def test_the_random_penalty_has_the_exact_one_as_its_mean(crowd, noisy):
    codes, truth = crowd(workers=8, tasks=40, density=0.7)
    strata = Strata.of(codes, noisy(truth))
    exact = score_answers(strata).values[:, 0]
    drawn = [
        score_answers(strata, estimator=Estimator(penalty="random"), rng=np.random.default_rng(seed)).values[:, 0]
        for seed in range(800)
    ]
    error = np.nanstd(drawn, axis=0) / np.sqrt(800)
    assert (np.abs(np.nanmean(drawn, axis=0) - exact) < 5 * error + 1e-12).all()


def test_moments_of_an_answer_drawn_anew_are_those_of_the_draws(crowd, noisy):
    codes, truth = crowd(workers=6, tasks=30, density=0.8)
    strata = Strata.of(codes, noisy(truth))
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), len(codes))
    mean, variance = expected_terms(strata, lambda at: p[at])
    every = score_answers(strata, np.tile(np.arange(3, dtype=np.int32), (len(codes), 1))).values[:, 1:]
    at = p[strata.order]
    np.testing.assert_allclose(mean, (at * every).sum(axis=1))
    np.testing.assert_allclose(variance, (at * (every - mean[:, None]) ** 2).sum(axis=1), atol=1e-12)


def test_standard_errors_are_those_of_a_stratified_mean(world):
    codes, z = world
    terms = score_answers(Strata.of(codes, z))
    found, strata = score_workers(terms), terms.strata
    for worker in range(codes.n_workers):
        squared = 0.0
        for s in range(strata.n_strata):
            mine = (strata.group_worker[strata.group] == worker) & (strata.group_stratum[strata.group] == s)
            values = terms.values[mine, 0]
            values = values[~np.isnan(values)]
            if len(values) >= 2:
                squared += strata.weight[s] ** 2 * values.var(ddof=1) / len(values)
        assert np.nan_to_num(found.se[worker, 0]) == pytest.approx(np.sqrt(squared))


def test_renormalised_weights_are_those_of_the_strata_a_worker_saw(crowd, noisy):
    codes, truth = crowd(workers=10, tasks=90)
    z = noisy(truth)
    first = (codes.worker != 0) | (z[codes.task] == 1)  # worker 0 answered tasks of one stratum only
    codes = codes.only(first)
    terms = score_answers(Strata.of(codes, z))
    plain, scaled = (score_workers(terms, renormalise=r).score[0, 0] for r in (False, True))
    assert plain == pytest.approx(scaled * terms.strata.weight[1])
    mine = terms.strata.group_worker[terms.strata.group] == 0
    assert scaled == pytest.approx(np.nanmean(terms.values[mine, 0]))
