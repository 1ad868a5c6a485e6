"""The score of every answer: what it shares with its peers on the task, beyond what it shares with them elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.data.answer_codes import AnswerCodes
from tamis.people.leave_one_out import leave_one_out_signs
from tamis.people.sign_tensor import Joint, pair_joint
from tamis.people.split import split_joint
from tamis.people.strata import Floats, Indices, Strata, Stratum

BLOCK_CELLS = 1 << 22
"""Most numbers (answers times classes) that are worked on at a time."""


@dataclass(frozen=True)
class Estimator:
    """How the sign matrix and the penalty are estimated.

    Attributes
    ----------
    joint : {"pair", "split"}, default "pair"
        All pairs of raters, or the published split in two groups.
    penalty : {"exact", "random"}, default "exact"
        Mean over all other tasks of the stratum, or the published draw of a single one.
    leave_one_out : bool, default False
        Whether a worker's own answers are left out of the sign matrix that they are scored with.
    guard : float, default 0
        See :meth:`tamis.people.sign_tensor.Joint.signs`.
    ordinal : bool, default False
        Classes are ordered.
    """

    joint: str = "pair"
    penalty: str = "exact"
    leave_one_out: bool = False
    guard: float = 0.0
    ordinal: bool = False


@dataclass(frozen=True, eq=False)
class Terms:
    """Scores of single answers under one conditioning.

    Attributes
    ----------
    strata : Strata
    values : ndarray of shape (m, 1 + V)
        In the order of the strata. Column 0 is the worker's own answer, the others are what a virtual worker would have
        written instead. nan where there is no peer, or the virtual worker wrote nothing.
    """

    strata: Strata
    values: Floats


Probabilities = Callable[[Indices], Floats]
"""From positions of answers, shape (n,), to the probability of each label there, shape (n, K)."""


def score_answers(
    strata: Strata,
    virtual: NDArray[np.int32] | None = None,
    *,
    estimator: Estimator = Estimator(),
    rng: np.random.Generator | None = None,
) -> Terms:
    """Score every answer against its peers.

    For an answer r of worker i on task b in stratum z, with ``p_b`` the label distribution of all other raters of b::

        term = 1/2 sum_y [ p_b(y) - penalty_b(y) ] D_z(r, y)

    ``penalty_b`` is the mean of ``p_t`` (worker i left out of each) over all other tasks t of the stratum that have
    another rater. The published method draws one such task instead: the expectation is the same.

    Parameters
    ----------
    strata : Strata
    virtual : ndarray of int32, shape (n, V), optional
        What virtual workers would have written in place of each answer of ``strata.codes``, with the same peers,
        penalty and sign matrix. -1 for nothing.
    estimator : Estimator
    rng : numpy.random.Generator, optional
        Needed for the random penalty.

    Notes
    -----
    Zhang, Pang, Zhu and Liu (arXiv 2506.06991), the score that conditions correlated agreement on LLM labels.
    """
    codes = strata.codes
    written = codes.label[:, None] if virtual is None else np.column_stack([codes.label, virtual])
    written = written[strata.order]
    values = np.full(written.shape, np.nan)
    for stratum in strata:
        for block, score in _label_scores(strata, stratum, estimator, rng):
            at = written[block]
            picked = np.take_along_axis(score, np.maximum(at, 0), axis=1)
            values[block] = np.where(at >= 0, picked, np.nan)
    return Terms(strata, values)


def expected_terms(
    strata: Strata, probabilities: Probabilities, *, estimator: Estimator = Estimator()
) -> tuple[Floats, Floats]:
    """Mean and variance of the score of each answer if it were drawn anew.

    Parameters
    ----------
    strata : Strata
    probabilities : callable
        Distribution that each answer is drawn from.
    estimator : Estimator

    Returns
    -------
    mean, variance : ndarray of shape (m,)
        In the order of the strata; nan where there is no peer.
    """
    mean, variance = np.full(len(strata.order), np.nan), np.full(len(strata.order), np.nan)
    for stratum in strata:
        for block, score in _label_scores(strata, stratum, estimator, None, width=strata.codes.n_classes**2):
            p = probabilities(strata.order[block])
            mean[block] = (p * score).sum(axis=1)
            variance[block] = (p * score**2).sum(axis=1) - mean[block] ** 2
    return mean, np.maximum(variance, 0.0)


def stratum_joint(strata: Strata, stratum: Stratum, estimator: Estimator) -> Joint:
    """Estimate the joint distribution of one stratum."""
    if estimator.joint == "pair":
        return pair_joint(stratum.counts)
    at = strata.order[stratum.answers]
    return split_joint(stratum.place, strata.codes.worker[at], strata.codes.label[at], stratum.counts.shape)


def _label_scores(
    strata: Strata, stratum: Stratum, estimator: Estimator, rng: np.random.Generator | None, *, width: int = 1
) -> Iterator[tuple[slice, Floats]]:
    """Score of every label in place of each answer, shape (n, K), block by block; nan where there is no peer."""
    codes, offset = strata.codes, stratum.answers.start
    at = strata.order[stratum.answers]
    label, worker = codes.label[at], codes.worker[at]
    joint = stratum_joint(strata, stratum, estimator)
    draw = _random_penalty(codes, stratum, worker, rng) if estimator.penalty == "random" else None
    counts, K = stratum.counts, codes.n_classes
    n = np.asarray(counts.sum(axis=1)).ravel()
    everyone = np.asarray((counts / np.maximum(n, 1)[:, None]).sum(axis=0)).ravel()  # sum over tasks of c / n
    signs = joint.signs(guard=estimator.guard, ordinal=estimator.ordinal)
    for block in _blocks(stratum.group, max(width, K * (K if estimator.leave_one_out else 1))):
        rows, own = stratum.place[block], label[block]
        c, n_t = counts[rows].toarray(), n[rows]
        peers = c.copy()
        peers[np.arange(len(own)), own] -= 1
        peers /= np.maximum(n_t - 1, 1)[:, None]
        if draw is None:
            penalty, enough = _exact_penalty(peers, c, n_t, stratum.group[block], everyone, len(n))
        else:
            penalty = draw(block)
            enough = ~np.isnan(penalty[:, 0])
        difference = peers - penalty
        difference[(n_t < 2) | ~enough] = np.nan
        if estimator.leave_one_out:
            group = stratum.group[block] - stratum.group[block][0]
            each = leave_one_out_signs(c, n_t, own, group, joint, guard=estimator.guard, ordinal=estimator.ordinal)
            score = np.einsum("nxy,ny->nx", each[group], difference)
        else:
            score = difference @ signs.T
        yield slice(offset + block.start, offset + block.stop), score / 2


def _exact_penalty(
    peers: Floats, c: Floats, n_t: Floats, group: Indices, everyone: Floats, n_tasks: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Mean of the peers' distribution over all other tasks of the stratum, and whether there is one.

    Only the worker's own tasks differ from ``everyone``: there the worker is left out, and tasks where nobody else
    answered do not count.
    """
    alone = n_t < 2
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    own = np.where(alone[:, None], 0.0, peers) - c / n_t[:, None]
    index = group - group[0]
    total = everyone + np.add.reduceat(own, starts, axis=0)
    others = n_tasks - np.add.reduceat(alone.astype(np.float64), starts) - 1
    enough = (others >= 1)[index]
    penalty = (total[index] - peers) / np.maximum(others, 1)[index][:, None]
    return penalty, enough


def _random_penalty(
    codes: AnswerCodes, stratum: Stratum, worker: NDArray[np.int32], rng: np.random.Generator | None
) -> Callable[[slice], Floats]:
    """The published penalty: peers' distribution on one other task of the stratum, drawn uniformly for each answer."""
    n_tasks = len(stratum.tasks)
    generator = np.random.default_rng(0) if rng is None else rng
    n = np.asarray(stratum.counts.sum(axis=1)).ravel()
    key = codes.worker.astype(np.int64) * codes.n_tasks + codes.task
    chosen = generator.integers(0, max(1, n_tasks - 1), len(worker))
    chosen += chosen >= stratum.place

    def of(block: slice) -> Floats:
        if n_tasks < 2:
            return np.full((block.stop - block.start, codes.n_classes), np.nan)
        drawn = chosen[block]
        c, left = stratum.counts[drawn].toarray(), n[drawn].copy()
        wanted = worker[block].astype(np.int64) * codes.n_tasks + stratum.tasks[drawn]
        at = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        rated = np.flatnonzero(key[at] == wanted)
        c[rated, codes.label[at[rated]]] -= 1
        left[rated] -= 1
        shares: Floats = np.divide(c, left[:, None], out=np.full(c.shape, np.nan), where=left[:, None] > 0)
        return shares

    return of


def _blocks(group: Indices, width: int) -> Iterator[slice]:
    """Slices of answers that end where a group ends, as large as memory allows but at least one group."""
    if not len(group):
        return
    ends = np.flatnonzero(np.diff(group, append=group[-1] + 1)) + 1
    most = max(1, BLOCK_CELLS // max(1, width))
    start = 0
    while start < len(group):
        last = np.searchsorted(ends, start + most, side="right") - 1
        stop = int(ends[max(last, np.searchsorted(ends, start, side="right"))])
        yield slice(start, stop)
        start = stop
