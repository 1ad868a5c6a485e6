"""Consensus labels with and without flagged workers, what removal costs, and which tasks to label again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data import AnswerCodes
from tamis.noise import dawid_skene, majority_vote
from tamis.noise.dawid_skene import DawidSkene, dawid_skene_bytes
from tamis.people.strata import Floats

MOST_BYTES = 4_000_000_000
"""Memory from which majority vote takes the place of Dawid-Skene."""
MOST_VALUE_CLASSES = 64
"""Classes up to which the value of one more answer is computed; it takes time with their cube."""


@dataclass(frozen=True, eq=False)
class Consensus:
    """Probability of each label of each task, and where it comes from.

    Attributes
    ----------
    posterior : ndarray of shape (n_tasks, K)
        nan for tasks without an answer.
    n_answers : ndarray of int, shape (n_tasks,)
    model : DawidSkene or None
        None where majority vote stood in, because Dawid-Skene would not fit in memory.
    """

    posterior: Floats
    n_answers: NDArray[np.int64]
    model: DawidSkene | None

    @classmethod
    def of(cls, codes: AnswerCodes) -> Consensus:
        """Aggregate answers by Dawid-Skene; one that does not fit in memory is replaced by majority vote."""
        if not len(codes) or dawid_skene_bytes(codes) > MOST_BYTES:
            return cls(majority_vote(codes), codes.per_task, None)
        found = dawid_skene(codes)
        posterior = np.where(found.answered[:, None], found.posterior, np.nan)
        return cls(posterior, codes.per_task, found)

    @property
    def labels(self) -> NDArray[np.int32]:
        """Most probable label of each task, -1 without an answer."""
        best = np.nan_to_num(self.posterior, nan=-1.0).argmax(axis=1)
        return np.where(self.n_answers > 0, best, -1).astype(np.int32)

    @property
    def confidence(self) -> Floats:
        """Probability of that label, nan without an answer."""
        confidence: Floats = self.posterior.max(axis=1)
        return confidence


def value_of_answer(after: Consensus, kept: NDArray[np.bool_]) -> Floats:
    """How much one more answer by an average kept worker raises the probability that the consensus is right.

    ``V_t = sum_l max_k q_t(k) A(k, l) - max_k q_t(k)``: the expected value of sample information, with A the mean
    confusion matrix of the kept workers and q the posterior; a task without an answer starts from the prior.

    Parameters
    ----------
    after : Consensus
    kept : ndarray of bool, shape (n_workers,)

    Returns
    -------
    ndarray of shape (n_tasks,)
        nan if there is no Dawid-Skene model, no kept worker, or there are too many classes.
    """
    model = after.model
    if model is None or not kept.any() or after.posterior.shape[1] > MOST_VALUE_CLASSES:
        return np.full(len(after.posterior), np.nan)
    q, A = model.posterior, model.mean_confusion(kept)
    reached = sum((q * A[:, label]).max(axis=1) for label in range(A.shape[1]))
    value: Floats = np.maximum(reached - q.max(axis=1), 0.0)
    return value


def consensus_frame(
    tasks: pl.Series, classes: tuple[str, ...], before: Consensus, after: Consensus, value: Floats
) -> pl.DataFrame:
    """Consensus of every task before and after, and the tasks to collect again in order of value.

    Returns
    -------
    polars.DataFrame
        ``task``; ``n_before, label_before, confidence_before`` and the same ``_after``; ``changed``; ``value`` (null
        where unknown) and ``rank`` (0 = most valuable) of one more answer, ranked among tasks that lost answers.
    """
    names = pl.Series(classes, dtype=pl.String)

    def named(codes: NDArray[np.int32]) -> pl.Series:
        return names.gather(pl.Series(codes).replace(-1, None).cast(pl.UInt32))

    frame = pl.DataFrame(
        {
            "task": tasks,
            "n_before": before.n_answers,
            "label_before": named(before.labels),
            "confidence_before": before.confidence,
            "n_after": after.n_answers,
            "label_after": named(after.labels),
            "confidence_after": after.confidence,
            "value": value,
        }
    ).with_columns(pl.col("confidence_before", "confidence_after", "value").fill_nan(None))
    lost = pl.col("n_after") < pl.col("n_before")
    # without a value, tasks with the fewest answers left come first
    worth = pl.when(lost).then(pl.col("value").fill_null(0.0) - 1e-9 * pl.col("n_after"))
    return frame.with_columns(
        changed=pl.col("label_after").is_not_null() & (pl.col("label_after") != pl.col("label_before")),
        rank=worth.rank("ordinal", descending=True) - 1,
    )
