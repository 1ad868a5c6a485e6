"""Figures beside the score: plain agreement, and likeness to an LLM. None of them detects LLM use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.data import AnswerCodes
from tamis.people.strata import Floats


def output_agreement(codes: AnswerCodes, z: NDArray[np.int32] | None = None) -> Floats:
    """Mean share of a task's other raters who wrote the same label, shape (n_workers,) (OA).

    Parameters
    ----------
    codes : AnswerCodes
    z : ndarray of int32, shape (n_tasks,), optional
        Labels of an LLM. Answers that equal it then count as 0 (OA_Z). This punishes good workers for agreeing with a
        good LLM: it is no detector.

    Returns
    -------
    ndarray of shape (n_workers,)
        nan for workers none of whose tasks has another rater.
    """
    n = codes.per_task[codes.task]
    cell = codes.task.astype(np.int64) * codes.n_classes + codes.label
    _, of_cell, votes = np.unique(cell, return_inverse=True, return_counts=True)
    same = votes[of_cell]
    share = np.where(n > 1, (same - 1) / np.maximum(n - 1, 1), 0.0)
    if z is not None:
        share[codes.label == z[codes.task]] = 0.0
    total = np.bincount(codes.worker, share, minlength=codes.n_workers)
    tasks = np.bincount(codes.worker, n > 1, minlength=codes.n_workers)
    agreement: Floats = np.divide(total, tasks, out=np.full(codes.n_workers, np.nan), where=tasks > 0)
    return agreement


def similarity(codes: AnswerCodes, z: NDArray[np.int32]) -> Floats:
    """Share of a worker's answers that equal an LLM's label of the task, shape (n_workers,).

    A right LLM resembles every good worker: likeness alone says nothing about use. nan without a labelled task.

    Examples
    --------
    >>> codes = AnswerCodes.of([0, 1, 0], [0, 0, 1], [1, 0, 0])
    >>> similarity(codes, np.array([1, -1], dtype=np.int32)).tolist()
    [1.0, 0.0]
    """
    known = z[codes.task] >= 0
    same = known & (codes.label == z[codes.task])
    n = np.bincount(codes.worker, known, minlength=codes.n_workers)
    total = np.bincount(codes.worker, same, minlength=codes.n_workers)
    share: Floats = np.divide(total, n, out=np.full(codes.n_workers, np.nan), where=n > 0)
    return share
