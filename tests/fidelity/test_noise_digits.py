"""scikit-learn digits with injected class-dependent noise: methods/ds2.md, section 7(b), and the traps around it.

The reference T errors fit the distance to the realised frequencies of the injected noise (about 180 items per class put
another 0.1 between those and the nominal T), so that is what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, roc_auc_score

from tamis.noise import (
    count_moments,
    estimate_transition,
    fit_transition,
    half_hidden_votes,
    inject_noise,
    knn_agreement,
    rank_rule,
    transition_family,
    two_nn_purity,
    visibility_words,
    vote_rule,
)

K = 10
SEEDS = range(3)


def neighbors_of(X, k=40):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    idx = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return idx, 1.0 - np.take_along_axis(similarity, idx, axis=1)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    idx, dist = neighbors_of(X)
    return X, y, idx, dist


@dataclass
class Row:
    """One line of the reference table, averaged over seeds."""

    T_error: float
    auroc: float
    f1_rank: float
    f1_vote: float
    accuracy: tuple[float, float, float]
    T_error_duplicated: float
    f1_rank_duplicated: float
    verdicts: set[str]


def measured(digits, diagonal):
    _, y, idx, dist = digits
    n = y.size
    doubled = np.concatenate(
        [np.column_stack([np.arange(n) + n, idx]), np.column_stack([np.arange(n), idx])]
    )  # the copy is the nearest neighbour, as after appending the data to themselves
    rows, verdicts = [], set()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        noise = inject_noise(y, transition_family("random", K, diagonal, rng), rng)
        matrix = estimate_transition(noise.labels, idx, K, n_bootstrap=0, seed=rng)
        verdicts.add(matrix.verdict)
        near = knn_agreement(noise.labels, idx, dist, K)
        rank = rank_rule(noise.labels, near.score, matrix.T, matrix.p, K)
        vote = vote_rule(noise.labels, near.vote)
        twice = count_moments(np.tile(noise.labels, 2), doubled, K, symmetric=False)
        trap = fit_transition(twice, n_restarts=2, naming="matching", rng=rng)
        trapped = rank_rule(noise.labels, near.score, trap.T, trap.p, K)
        rows.append(
            [
                np.abs(matrix.T - noise.realised).sum(axis=1).mean(),
                roc_auc_score(noise.changed, -near.score),
                f1_score(noise.changed, rank),
                f1_score(noise.changed, vote),
                (noise.labels == y).mean(),
                (np.where(rank, near.vote, noise.labels) == y).mean(),
                (np.where(vote, near.vote, noise.labels) == y).mean(),
                np.abs(trap.T - noise.realised).sum(axis=1).mean(),
                f1_score(noise.changed, trapped),
            ]
        )
    mean = np.mean(rows, axis=0)
    return Row(mean[0], mean[1], mean[2], mean[3], tuple(mean[4:7]), mean[7], mean[8], verdicts)


@pytest.fixture(scope="module", params=[0.8, 0.6])
def row(request, digits):
    return request.param, measured(digits, request.param)


REFERENCE = {
    0.8: Row(0.097, 0.997, 0.919, 0.961, (0.794, 0.963, 0.980), 0.267, 0.619, {"usable"}),
    0.6: Row(0.168, 0.989, 0.921, 0.940, (0.590, 0.913, 0.926), 0.575, 0.545, {"usable"}),
}


def test_purity_of_digits(digits):
    _, y, idx, _ = digits
    assert two_nn_purity(y, idx) == pytest.approx(0.977, abs=0.001)


def test_transition_error_and_verdict(row):
    diagonal, found = row
    assert found.T_error == pytest.approx(REFERENCE[diagonal].T_error, abs=0.05)
    assert found.verdicts == {"usable"}
    if diagonal == 0.8:
        assert found.T_error <= 0.15


def test_agreement_ranks_changed_labels_first(row):
    diagonal, found = row
    assert found.auroc == pytest.approx(REFERENCE[diagonal].auroc, abs=0.01)
    if diagonal == 0.8:
        assert found.auroc >= 0.98


def test_f1_of_rank_and_vote_and_vote_is_better(row):
    diagonal, found = row
    assert found.f1_rank == pytest.approx(REFERENCE[diagonal].f1_rank, abs=0.05)
    assert found.f1_vote == pytest.approx(REFERENCE[diagonal].f1_vote, abs=0.05)
    assert found.f1_vote > found.f1_rank


def test_accuracy_noisy_rank_vote(row):
    diagonal, found = row
    assert found.accuracy == pytest.approx(REFERENCE[diagonal].accuracy, abs=0.05)
    assert found.accuracy[1] > found.accuracy[0] + 0.1


def test_duplicated_data_is_a_trap(row):
    diagonal, found = row
    assert found.T_error_duplicated == pytest.approx(REFERENCE[diagonal].T_error_duplicated, abs=0.05)
    assert found.T_error_duplicated > 2 * found.T_error
    assert found.f1_rank_duplicated < found.f1_rank - 0.1


def test_merged_exact_copies_leave_the_matrix_unchanged(digits):
    X, y, idx, _ = digits
    rng = np.random.default_rng(0)
    labels = inject_noise(y, transition_family("random", K, 0.8, rng), rng).labels
    copies = rng.choice(y.size, size=600)
    order = rng.permutation(y.size + 600)
    X_all, labels_all = np.vstack([X, X[copies]])[order], np.concatenate([labels, labels[copies]])[order]
    merged, first, group = np.unique(X_all, axis=0, return_index=True, return_inverse=True)
    assert merged.shape[0] == np.unique(X, axis=0).shape[0] == y.size
    np.testing.assert_array_equal(labels_all[first][group.ravel()], labels_all)

    def estimate(own, graph):
        return estimate_transition(own, graph, K, n_bootstrap=0, n_restarts=2, seed=0).T

    reference = estimate(labels, idx)
    # same triples up to ties among equal distances, hence not bit for bit
    assert np.abs(estimate(labels_all[first], neighbors_of(merged)[0]) - reference).sum(axis=1).mean() < 0.02
    unmerged = estimate(labels_all, neighbors_of(X_all)[0])
    assert np.diagonal(unmerged).mean() > np.diagonal(reference).mean() + 0.01


@pytest.mark.parametrize("seed", range(20))
def test_negative_control_is_not_usable_and_corrects_nothing(digits, seed):
    _, y, idx, dist = digits
    labels = np.random.default_rng(seed).permutation(y)
    matrix = estimate_transition(labels, idx, K, n_bootstrap=0, n_restarts=1, n_steps=300, seed=seed)
    assert matrix.verdict == "not usable"
    assert "labels do not follow the features" in matrix.warnings()[0]
    near = knn_agreement(labels, idx, dist, K)
    assert not rank_rule(labels, near.score, matrix.T, matrix.p, K, classes=matrix.usable_classes).any()


def test_repeated_rounds_find_what_one_pass_finds(digits):
    _, y, idx, dist = digits
    rng = np.random.default_rng(0)
    noise = inject_noise(y, transition_family("random", K, 0.8, rng), rng)
    matrix = estimate_transition(noise.labels, idx, K, n_bootstrap=0, seed=0)
    words = visibility_words((f"digit-{i}" for i in range(y.size)), 0)
    for rule in ("rank", "vote"):
        votes = half_hidden_votes(noise.labels, idx, dist, K, words, rule=rule, T=matrix.T, p=matrix.p)
        often = votes.flagged > votes.appearances / 2
        assert f1_score(noise.changed, often) > 0.88
        fixed = np.where(often, votes.votes.argmax(axis=1), noise.labels)
        assert (fixed == y).mean() > 0.93
