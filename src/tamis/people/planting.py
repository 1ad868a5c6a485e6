"""Low-effort workers planted into a crowd at known rates, and a simulated LLM for them to paste from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.data import AnswerCodes

KINDS = ("untouched", "llm", "random", "biased")
BIAS = 0.9
"""Share of the answers of a biased worker that are the most frequent label."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A crowd with known low-effort workers.

    Attributes
    ----------
    codes : AnswerCodes
    kind : ndarray of int, shape (n_workers,)
        Index into :data:`KINDS`.
    """

    codes: AnswerCodes
    kind: NDArray[np.intp]


def plant(
    codes: AnswerCodes,
    pasted: NDArray[np.int32],
    *,
    p_llm: float,
    p_random: float,
    p_biased: float,
    rng: np.random.Generator,
) -> Planted:
    """Replace the answers of randomly chosen workers.

    ``floor(p W)`` workers of each kind: LLM users paste one sample each, random workers draw from the label prior,
    biased workers give the most frequent label 9 times out of 10 and any other otherwise. As published, except that
    an LLM user keeps the own answer where the sample has no label, instead of giving none.

    Parameters
    ----------
    codes : AnswerCodes
    pasted : ndarray of int32, shape (samples, n_tasks)
        Samples to paste from, -1 for no label. None of them should be the one that scores are conditioned on.
    p_llm, p_random, p_biased : float
        Shares of all workers; their sum is at most 1.
    rng : numpy.random.Generator

    Examples
    --------
    >>> codes = AnswerCodes.of([0, 1] * 10, np.repeat(range(10), 2), [0, 1] * 10)
    >>> pasted = np.array([[1, 1]], dtype=np.int32)
    >>> found = plant(codes, pasted, p_llm=0.2, p_random=0, p_biased=0, rng=np.random.default_rng(0))
    >>> found.kind.tolist().count(1), int(found.codes.label.sum())
    (2, 12)
    """
    W, K = codes.n_workers, codes.n_classes
    order = rng.permutation(W)
    kind = np.zeros(W, dtype=np.intp)
    first = 0
    for which, share in enumerate((p_llm, p_random, p_biased), 1):
        stop = first + int(share * W + 1e-9)
        kind[order[first:stop]] = which
        first = stop
    sample = rng.integers(0, max(1, len(pasted)), W)
    prior = np.bincount(codes.label, minlength=K) / len(codes)
    label, role = codes.label.copy(), kind[codes.worker]
    at = np.flatnonzero(role == 1)
    if len(at):
        said = pasted[sample[codes.worker[at]], codes.task[at]]
        label[at] = np.where(said >= 0, said, label[at])
    at = np.flatnonzero(role == 2)
    label[at] = rng.choice(K, len(at), p=prior)
    at = np.flatnonzero(role == 3)
    favourite = int(prior.argmax())
    others = np.delete(np.arange(K), favourite)
    label[at] = np.where(rng.random(len(at)) < BIAS, favourite, rng.choice(others, len(at)))
    return Planted(codes.with_labels(label), kind)


def simulated_llm(
    truth: NDArray[np.integer],
    n_classes: int,
    *,
    samples: int,
    accuracy: float = 0.75,
    flip: float = 0.1,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Draw samples of an LLM that errs the same way each time it errs.

    Each task has a base label, right with probability ``accuracy``, else one wrong label that all samples share; each
    sample then departs from the base with probability ``flip``.

    Parameters
    ----------
    truth : ndarray of int, shape (n_tasks,)
        -1 where unknown; there is no label then.
    n_classes : int
    samples : int
    accuracy, flip : float
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int32, shape (samples, n_tasks)
    """

    def another(labels: NDArray[np.integer]) -> NDArray[np.integer]:
        other: NDArray[np.integer] = (labels + rng.integers(1, n_classes, len(labels))) % n_classes
        return other

    n = len(truth)
    base = np.where(rng.random(n) < accuracy, truth, another(truth))
    drawn = np.stack([np.where(rng.random(n) < flip, another(base), base) for _ in range(samples)])
    return np.where(truth >= 0, drawn, -1).astype(np.int32)
