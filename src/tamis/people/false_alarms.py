"""How many workers would be flagged although their answers owe nothing to the LLM: an estimate, and its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tamis.data import AnswerCodes
from tamis.noise.dawid_skene import DawidSkene
from tamis.noise.worker_errors import Confusions
from tamis.people.scoring import Estimator, Probabilities, expected_terms
from tamis.people.strata import Floats, Indices, Strata
from tamis.people.worker_scores import FEWEST, group_moments

MOST_CELLS = 1 << 26
"""Numbers in the confusion matrices of all workers up to which they are kept."""
LEAST_UNFLAGGED = 0.1
"""Weights of workers end here: one that is nearly always flagged must not stand for hundreds."""


@dataclass(frozen=True)
class FalseAlarms:
    """What the threshold does to workers who are as accurate as those of this crowd but independent of the LLM.

    Attributes
    ----------
    share : float
        Estimated share of them that is flagged.
    low, high : float
        The share under the kindest and the harshest reading: that only unflagged workers are independent, and that all
        workers are. Bounds under the model, not a confidence interval.
    expected : float
        Estimated number of flagged workers that are such; nan, like ``share`` and ``low``, if nobody was kept from whom
        it could be learned.
    """

    share: float
    low: float
    high: float
    expected: float


def answer_model(codes: AnswerCodes, found: DawidSkene) -> Probabilities | None:
    """Return the probability of each answer anew if a worker errs independently of all others given the true label.

    ``P(x | w, t) = sum_k q_t(k) A_w(k, x)``. None if the confusion matrices of all workers do not fit in memory.

    Parameters
    ----------
    codes : AnswerCodes
    found : DawidSkene
        Fitted on ``codes``.
    """
    K, W, errors = codes.n_classes, codes.n_workers, found.errors
    if W * K * K > MOST_CELLS or not isinstance(errors, Confusions):
        return None
    confusion = np.full((W, K, K), errors.smoothing)  # written, true
    confusion[errors.worker, errors.label] += errors.expected
    confusion /= confusion.sum(axis=1, keepdims=True)
    posterior = found.posterior

    def probabilities(at: Indices) -> Floats:
        found: Floats = np.einsum("nxk,nk->nx", confusion[codes.worker[at]], posterior[codes.task[at]])
        return found

    return probabilities


def independent_copies(
    strata: Strata, probabilities: Probabilities, *, estimator: Estimator, renormalise: bool = False
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the score of a copy of each worker that errs independently, two of (n_workers,).

    Exact: nothing is drawn.
    """
    mean, variance = expected_terms(strata, probabilities, estimator=estimator)
    n_groups, W = len(strata.group_worker), strata.codes.n_workers
    n, center, _ = group_moments(mean, strata.group, n_groups)
    _, spread, _ = group_moments(variance, strata.group, n_groups)
    weight = np.where(n >= FEWEST, strata.weight[strata.group_stratum], 0.0)
    parts = (weight * center, weight**2 * spread / np.maximum(n, 1), weight)
    score, squared, seen = (np.bincount(strata.group_worker, part, minlength=W) for part in parts)
    scale = np.where(seen > 0, seen, 1.0) if renormalise else 1.0
    return score / scale, np.sqrt(squared) / scale


def estimate_false_alarms(
    copies: Sequence[tuple[Floats, Floats]],
    used: NDArray[np.bool_],
    flagged: NDArray[np.bool_],
    measured: NDArray[np.bool_],
    threshold: float,
) -> FalseAlarms:
    """Estimate the share of independent workers that the threshold flags.

    A copy of worker j is flagged with probability f_j (normal approximation; with several models the largest of
    theirs, since the lowest score counts). Workers that were not flagged are taken as independent; since one like j is
    among them with probability ``1 - f_j`` only, j stands for ``1 / (1 - f_j)`` workers (Horvitz and Thompson 1952).

    Parameters
    ----------
    copies : sequence of (mean, sd)
        Of each conditioning, each of shape (n_workers,).
    used : ndarray of bool, shape (n_workers, conditionings)
    flagged, measured : ndarray of bool, shape (n_workers,)
    threshold : float
    """
    each = [
        np.where(sd > 0, ndtr((threshold - mean) / np.where(sd > 0, sd, 1.0)), mean <= threshold) for mean, sd in copies
    ]
    f = np.where(used, np.column_stack(each), 0.0).max(axis=1)
    kept = f[measured & ~flagged]
    stands_for = 1 / np.maximum(1 - kept, LEAST_UNFLAGGED)
    total = stands_for.sum()
    low = float(kept.mean()) if len(kept) else float("nan")
    share = float(1 - len(kept) / total) if len(kept) else float("nan")
    high = float(f[measured].mean()) if measured.any() else float("nan")
    expected = min(float(total - len(kept)), float(flagged.sum())) if len(kept) else float("nan")
    return FalseAlarms(share, min(low, share), max(high, share), expected)
