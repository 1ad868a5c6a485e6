"""How workers err, given who is believed to be of which class: a confusion matrix each, or one accuracy each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamis.data.answer_codes import AnswerCodes

Floats = NDArray[np.float64]


class WorkerErrors(Protocol):
    """What Dawid-Skene learns about workers."""

    def skill(self, prior: Floats) -> Floats:
        """Probability that a worker is right, shape (n_workers,); nan for a worker without answers."""

    def confusion(self, weights: Floats) -> Floats:
        """Confusion matrix of weighted workers taken as one, shape (K, K); nan where none of them answered."""


class ErrorModel(Protocol):
    """M-step and E-step of Dawid-Skene for one kind of :class:`WorkerErrors`."""

    def estimate(self, posterior: Floats) -> WorkerErrors:
        """Estimate the errors of workers from the posterior of tasks, shape (T, K): the M-step."""

    def log_likelihood(self, posterior: Floats) -> Floats:
        """Log likelihood of each task's answers under the errors estimated from ``posterior``, shape (T, K)."""


def label_pairs(codes: AnswerCodes) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Number the (worker, label) pairs that occur.

    Returns
    -------
    worker, label : ndarray of int32, shape (R,)
        The pairs, in order of worker, then label.
    pair : ndarray of int32, shape (n,)
        Pair of each answer.

    Examples
    --------
    >>> worker, label, pair = label_pairs(AnswerCodes.of([0, 1, 0], [0, 0, 1], [1, 1, 0]))
    >>> worker.tolist(), label.tolist(), pair.tolist()
    ([0, 1], [1, 0], [0, 0, 1])
    """
    keys = codes.worker.astype(np.int64) * codes.n_classes + codes.label
    used, pair = np.unique(keys, return_inverse=True)
    worker, label = np.divmod(used, codes.n_classes)
    return worker.astype(np.int32), label.astype(np.int32), pair.astype(np.int32)


@dataclass(frozen=True, eq=False)
class Confusions:
    """Confusion matrices of workers, ``A_w[k, l] = (s + n_w[k, l]) / sum_l (s + n_w[k, l])``.

    Parameters
    ----------
    worker, label : ndarray of int32, shape (R,)
        The (worker, label) pairs that occur, in order of worker, then label. Only these have rows, so that memory
        does not grow with workers times K squared.
    expected : ndarray of float64, shape (R, K)
        ``n_w[k, l]``: how many tasks of class k the worker is believed to have given that label.
    n_workers : int
    smoothing : float
        ``s``, added to each cell.
    """

    worker: NDArray[np.int32]
    label: NDArray[np.int32]
    expected: Floats
    n_workers: int
    smoothing: float

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row of each worker that has one, shape (U,)."""
        return np.flatnonzero(np.diff(self.worker, prepend=-1))

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Position in ``starts`` of the worker of each row, shape (R,)."""
        return np.cumsum(np.diff(self.worker, prepend=-1) > 0) - 1

    @cached_property
    def totals(self) -> Floats:
        """``sum_l (s + n_w[k, l])`` of each worker that has rows, shape (U, K)."""
        n_classes = self.expected.shape[1]
        totals: Floats = np.add.reduceat(self.expected, self.starts, axis=0)
        totals += self.smoothing * n_classes
        return totals

    def log(self) -> Floats:
        """``log A_w[k, l]`` of the rows, shape (R, K)."""
        logs = self.expected + self.smoothing
        np.log(logs, out=logs)
        logs -= np.log(self.totals).take(self.owner, axis=0)
        return logs

    def skill(self, prior: Floats) -> Floats:
        """``sum_k prior_k A_w[k, k]``, shape (n_workers,); nan for a worker without answers."""
        share = prior / self.totals
        skill = np.full(self.n_workers, np.nan)
        skill[self.worker[self.starts]] = self.smoothing * share.sum(axis=1)
        right = self.expected[np.arange(len(self.label)), self.label] * share[self.owner, self.label]
        skill += np.bincount(self.worker, right, minlength=self.n_workers)
        return skill

    def confusion(self, weights: Floats) -> Floats:
        """Matrix of the weighted sum of ``n_w``, smoothed once, shape (K, K); nan where nobody answered."""
        n_rows, n_classes = self.expected.shape
        factors = weights[self.worker]
        if not factors.any():
            return np.full((n_classes, n_classes), np.nan)
        of_label = sparse.csr_array((factors, (self.label, np.arange(n_rows))), shape=(n_classes, n_rows))
        matrix = (of_label @ self.expected).T + self.smoothing
        confusion: Floats = matrix / matrix.sum(axis=1, keepdims=True)
        return confusion


class ConfusionModel:
    """One confusion matrix for each worker (Dawid and Skene 1979, equations 2.3 to 2.5).

    Both steps are products with the sparse incidence X of tasks and (worker, label) pairs: the expected counts are
    ``X.T @ q``, the log likelihood is ``X @ log A``.
    """

    def __init__(self, codes: AnswerCodes, smoothing: float) -> None:
        self._worker, self._label, pair = label_pairs(codes)
        shape = (codes.n_tasks, len(self._worker))
        self._incidence = sparse.csr_array((np.ones(len(codes)), (codes.task, pair)), shape=shape)
        self._n_workers, self._smoothing = codes.n_workers, smoothing

    def estimate(self, posterior: Floats) -> Confusions:
        """Estimate confusion matrices from the posterior of tasks, shape (T, K)."""
        expected = self._incidence.T @ posterior
        return Confusions(self._worker, self._label, expected, self._n_workers, self._smoothing)

    def log_likelihood(self, posterior: Floats) -> Floats:
        """Log likelihood of each task's answers by class, shape (T, K)."""
        likelihood: Floats = self._incidence @ self.estimate(posterior).log()
        return likelihood


@dataclass(frozen=True, eq=False)
class Accuracies:
    """One accuracy for each worker, whatever the class; errors fall on all other classes alike.

    Parameters
    ----------
    right, answers : ndarray of float64, shape (n_workers,)
        Answers believed to be right, and answers.
    n_classes : int
        At least 2.
    smoothing : float
        ``s``, added to each cell of a matrix row: ``a_w = (s + right) / (K s + answers)``.
    """

    right: Floats
    answers: Floats
    n_classes: int
    smoothing: float

    def skill(self, prior: Floats) -> Floats:
        """Accuracy, shape (n_workers,), whatever ``prior``; nan for a worker without answers."""
        accuracy = (self.right + self.smoothing) / (self.answers + self.n_classes * self.smoothing)
        return np.where(self.answers > 0, accuracy, np.nan)

    def log_odds(self) -> Floats:
        """Log ratio of a right answer to one certain wrong answer, shape (n_workers,)."""
        others = self.n_classes - 1
        wrong = (self.answers - self.right + others * self.smoothing) / others
        odds: Floats = np.log((self.right + self.smoothing) / wrong)
        return odds

    def confusion(self, weights: Floats) -> Floats:
        """Matrix of the accuracy over the answers of weighted workers, shape (K, K)."""
        answers = weights @ self.answers
        if answers == 0:
            return np.full((self.n_classes, self.n_classes), np.nan)
        accuracy = (weights @ self.right + self.smoothing) / (answers + self.n_classes * self.smoothing)
        matrix = np.full((self.n_classes, self.n_classes), (1 - accuracy) / (self.n_classes - 1))
        np.fill_diagonal(matrix, accuracy)
        return matrix


class AccuracyModel:
    """One accuracy for each worker: the one-coin model (Zhang, Chen, Zhou and Jordan 2016, section 2).

    A wrong label is as likely whichever it is, so up to a constant of the task the log likelihood of class k is the sum
    of the log odds of those who answered k.
    """

    def __init__(self, codes: AnswerCodes, smoothing: float) -> None:
        self._shape = (codes.n_tasks, codes.n_classes)
        self._cell = codes.task.astype(np.int64) * codes.n_classes + codes.label
        self._worker = codes.worker
        self._answers = codes.per_worker.astype(np.float64)
        self._smoothing = smoothing

    def estimate(self, posterior: Floats) -> Accuracies:
        """Estimate accuracies from the posterior of tasks, shape (T, K)."""
        right = np.bincount(self._worker, posterior.ravel()[self._cell], minlength=len(self._answers))
        return Accuracies(right.astype(np.float64, copy=False), self._answers, self._shape[1], self._smoothing)

    def log_likelihood(self, posterior: Floats) -> Floats:
        """Log likelihood of each task's answers by class up to a constant of the task, shape (T, K)."""
        odds = self.estimate(posterior).log_odds()[self._worker]
        sums = np.bincount(self._cell, odds, minlength=self._shape[0] * self._shape[1])
        return sums.reshape(self._shape).astype(np.float64, copy=False)
