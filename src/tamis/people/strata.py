"""Answers grouped by what an LLM said about their task: the strata of conditioned scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamis.data.answer_codes import AnswerCodes

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Stratum:
    """The tasks that an LLM gave one label, and the answers about them.

    Attributes
    ----------
    tasks : ndarray of shape (T_z,)
        Codes of the tasks that somebody answered.
    counts : csr_array of shape (T_z, K)
        How often each of them was given each label.
    place : ndarray of shape (n_z,)
        Row of ``counts`` of each answer.
    group : ndarray of shape (n_z,)
        The worker of each answer, numbered from 0 within the stratum, ascending.
    answers : slice
        Where the answers stand in the order of :class:`Strata`.
    """

    tasks: Indices
    counts: sparse.csr_array
    place: Indices
    group: Indices
    answers: slice


@dataclass(frozen=True, eq=False)
class Strata:
    """Answers in order of stratum, worker and task. Answers about tasks without an LLM label are left out.

    Attributes
    ----------
    codes : AnswerCodes
        All answers.
    z : ndarray of int32, shape (n_tasks,)
        Stratum of each task, -1 for none.
    order : ndarray of shape (m,)
        The answers that are in a stratum, as positions in ``codes``.
    bounds : ndarray of shape (n_strata + 1,)
        Where strata begin in ``order``.
    group : ndarray of shape (m,)
        Number of the (stratum, worker) pair that each answer belongs to, ascending.
    group_worker, group_stratum : ndarray of shape (n_groups,)
    weight : ndarray of shape (n_strata,)
        Share of each stratum among the tasks that have an LLM label and an answer: P(z).
    """

    codes: AnswerCodes
    z: NDArray[np.int32]
    order: Indices
    bounds: Indices
    group: Indices
    group_worker: Indices
    group_stratum: Indices
    weight: Floats

    @classmethod
    def of(cls, codes: AnswerCodes, z: NDArray[np.int32]) -> Strata:
        """Group answers by the stratum of their task.

        Examples
        --------
        >>> codes = AnswerCodes.of([0, 1, 2, 0, 1], [0, 0, 0, 1, 1], [0, 1, 1, 0, 0])
        >>> strata = Strata.of(codes, np.array([1, 0, -1], dtype=np.int32))
        >>> strata.order.tolist(), strata.weight.tolist()
        ([1, 4, 0, 3], [0.5, 0.5])
        """
        z = np.where(codes.per_task > 0, z, -1).astype(np.int32)
        n_strata = int(z.max(initial=-1)) + 1
        known = np.flatnonzero(z[codes.task] >= 0)
        stratum = z[codes.task[known]]
        sorted_ = np.argsort(stratum, kind="stable")  # answers come sorted by worker and task, and stay so inside
        order, stratum = known[sorted_], stratum[sorted_]
        worker = codes.worker[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (stratum[1:] != stratum[:-1]) | (worker[1:] != worker[:-1])
        sizes = np.bincount(z[z >= 0], minlength=n_strata)
        return cls(
            codes=codes,
            z=z,
            order=order,
            bounds=np.searchsorted(stratum, np.arange(n_strata + 1)),
            group=np.cumsum(first) - 1,
            group_worker=worker[first].astype(np.intp),
            group_stratum=stratum[first].astype(np.intp),
            weight=sizes / max(1, sizes.sum()),
        )

    @classmethod
    def whole(cls, codes: AnswerCodes) -> Strata:
        """Put all tasks into one stratum: nothing is conditioned on."""
        return cls.of(codes, np.zeros(codes.n_tasks, dtype=np.int32))

    @property
    def n_strata(self) -> int:
        """Strata, empty ones included."""
        return len(self.weight)

    def __iter__(self) -> Iterator[Stratum]:
        task = self.codes.task[self.order]
        by_stratum = np.argsort(self.z, kind="stable")
        starts = np.searchsorted(self.z[by_stratum], np.arange(self.n_strata + 1))
        place_of = np.empty(self.codes.n_tasks, dtype=np.intp)
        for s in range(self.n_strata):
            tasks = by_stratum[starts[s] : starts[s + 1]]
            place_of[tasks] = np.arange(len(tasks))
            answers = slice(int(self.bounds[s]), int(self.bounds[s + 1]))
            group = self.group[answers]
            first = group[0] if len(group) else 0
            yield Stratum(tasks, self.codes.counts[tasks], place_of[task[answers]], group - first, answers)
