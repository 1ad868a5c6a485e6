"""Answers of a crowd as whole numbers: who answered what about which task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Codes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class AnswerCodes:
    """Answers as codes, at most one for each worker and task, in order of worker, then task.

    Parameters
    ----------
    task, worker, label : ndarray of int32, shape (n,)
        Codes from 0.
    n_tasks, n_workers, n_classes : int
        One more than the largest code that may occur.

    Examples
    --------
    >>> codes = AnswerCodes.of([0, 1, 0], [0, 0, 1], [1, 0, 1], n_classes=2)
    >>> codes.counts.toarray().tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """

    task: Codes
    worker: Codes
    label: Codes
    n_tasks: int
    n_workers: int
    n_classes: int

    @classmethod
    def of(
        cls,
        task: object,
        worker: object,
        label: object,
        *,
        n_tasks: int | None = None,
        n_workers: int | None = None,
        n_classes: int | None = None,
    ) -> AnswerCodes:
        """Sort answers into their order; sizes that are not given follow from the largest codes."""
        t, w, y = (np.asarray(values, dtype=np.int32) for values in (task, worker, label))
        order = np.lexsort((t, w))
        sizes = [
            int(codes.max(initial=-1)) + 1 if n is None else n
            for codes, n in zip((t, w, y), (n_tasks, n_workers, n_classes), strict=True)
        ]
        return cls(t[order], w[order], y[order], *sizes)

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def counts(self) -> sparse.csr_array:
        """How often each task was given each label, shape (n_tasks, n_classes)."""
        ones = np.ones(len(self))
        return sparse.csr_array((ones, (self.task, self.label)), shape=(self.n_tasks, self.n_classes))

    @cached_property
    def per_task(self) -> NDArray[np.int64]:
        """Answers to each task, shape (n_tasks,)."""
        return np.bincount(self.task, minlength=self.n_tasks)

    @cached_property
    def per_worker(self) -> NDArray[np.int64]:
        """Answers by each worker, shape (n_workers,)."""
        return np.bincount(self.worker, minlength=self.n_workers)

    def only(self, mask: NDArray[np.bool_]) -> AnswerCodes:
        """Return the answers where ``mask`` (shape (n,)) holds; codes and sizes stay as they are."""
        return AnswerCodes(
            self.task[mask], self.worker[mask], self.label[mask], self.n_tasks, self.n_workers, self.n_classes
        )

    def with_labels(self, label: NDArray[np.integer]) -> AnswerCodes:
        """Return the same answers with other labels, shape (n,)."""
        return replace(self, label=np.asarray(label, dtype=np.int32))
