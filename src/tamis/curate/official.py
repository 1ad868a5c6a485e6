"""DS2 as its authors run it: fresh subsamples, searched anew, for the matrix and for the detection epochs.

Kept apart from the product mode, which answers both from one graph. The full copy of the data that the released code
appends to itself is a bug and is not reproduced.
"""

from __future__ import annotations

import numpy as np

from tamis.neighbors import search_exact, self_excluded
from tamis.noise import (
    RoundVotes,
    TransitionMatrix,
    average_moments,
    count_moments,
    diagnose,
    fit_transition,
    knn_agreement,
    label_frequencies,
    rank_rule,
)

MAX_SUBSAMPLE = 50_000
MATRIX_ROUNDS = 50


def subsample_size(n: int) -> int:
    """Items drawn a round: min(50 000, floor(0.9 n))."""
    return max(1, min(MAX_SUBSAMPLE, int(0.9 * n)))


def _draw(
    X: np.ndarray, labels: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a subsample of the labelled items and search it; return (rows, idx, dist) with self excluded."""
    labelled = np.flatnonzero(labels >= 0)
    rows = np.sort(rng.choice(labelled, subsample_size(len(labelled)), replace=False))
    sample = np.ascontiguousarray(X[rows])
    k = min(k, len(rows) - 1)
    sim, idx = search_exact(sample, sample, k + 1)
    idx, sim = self_excluded(idx, sim, np.arange(len(rows)), k)
    return rows, idx, np.maximum(1 - sim, 0).astype(np.float32)


def subsample_transition(
    X: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], rng: np.random.Generator
) -> TransitionMatrix:
    """Fit T to consensus moments averaged over 50 subsamples (DS2, estimation of T).

    One start and the official initial values. Swapped classes are not repaired: the matrix is ordered by the fit.
    """
    rounds, n_classes = [], len(class_names)
    for _ in range(MATRIX_ROUNDS):
        rows, idx, _ = _draw(X, labels, 2, rng)
        rounds.append(count_moments(labels[rows], idx, n_classes, symmetric=False))
    moments = average_moments(rounds)
    fit = fit_transition(moments, n_restarts=1, naming="none", rng=rng)
    return TransitionMatrix.of_fit(
        fit.T,
        fit.p,
        diagnostics=diagnose(fit.T, fit.p, moments, observed=label_frequencies(labels, n_classes)),
        n_triples=moments.n_triples,
        losses=tuple(float(loss) for loss in fit.losses),
        class_names=class_names,
    )


def detection_epochs(
    X: np.ndarray,
    labels: np.ndarray,
    T: np.ndarray,
    p: np.ndarray,
    *,
    n_epochs: int,
    k: int,
    rng: np.random.Generator,
) -> RoundVotes:
    """Flag and vote in ``n_epochs`` subsamples: agreement with self counted, rank rule inside the subsample.

    Returns
    -------
    RoundVotes
        Appearances differ by item.
    """
    n, n_classes = len(labels), len(p)
    appearances, flagged = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    votes = np.zeros((n, n_classes), dtype=np.int32)
    for _ in range(n_epochs):
        rows, idx, dist = _draw(X, labels, k, rng)
        agreement = knn_agreement(labels[rows], idx, dist, n_classes, k=k, include_self=True)
        flag = rank_rule(labels[rows], agreement.score, T, p, n_classes)
        appearances[rows] += 1
        flagged[rows[flag]] += 1
        votes[rows[flag], agreement.vote[flag]] += 1
    return RoundVotes(appearances=appearances, flagged=flagged, votes=votes)
