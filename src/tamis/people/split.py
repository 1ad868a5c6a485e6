"""The published estimator of the joint distribution: raters split into two groups (``fidelity="paper"``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamis.people.sign_tensor import Joint

Codes = NDArray[np.integer]


def split_groups(place: Codes, worker: Codes, n_tasks: int) -> tuple[set[int], set[int]]:
    """Walk over the tasks: the first two raters join group 1, the others group 2.

    If one of the first two is in group 1 already, or one of the others in group 2, the two sides change places. So a
    worker can end up in both groups, and then agrees with himself on the diagonal: a property of the released code
    that this follows on purpose.

    Parameters
    ----------
    place, worker : ndarray of int, shape (n,)
        Task and worker of each answer. Raters of a task come in order of their code.
    n_tasks : int

    Examples
    --------
    >>> split_groups(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 4, 5]), 2)
    ({0, 1, 3, 4}, {2, 5})
    """
    order = np.lexsort((worker, place))
    raters = np.split(worker[order], np.searchsorted(place[order], np.arange(1, n_tasks)))
    one: set[int] = set()
    two: set[int] = set()
    for each in raters:
        first, rest = each[:2].tolist(), each[2:].tolist()
        if not one.isdisjoint(first) or not two.isdisjoint(rest):
            first, rest = rest, first
        one.update(first)
        two.update(rest)
    return one, two


def split_joint(place: Codes, worker: Codes, label: Codes, shape: tuple[int, int]) -> Joint:
    """Estimate from one rater of each group: ``P = mean_t p1_t p2_t'`` over tasks where both groups answered.

    Parameters
    ----------
    place, worker, label : ndarray of int, shape (n,)
        The answers of one stratum.
    shape : (T, K)
        Tasks of the stratum and classes.
    """
    n_workers = int(worker.max(initial=-1)) + 1
    shares, there = [], []
    for group in split_groups(place, worker, shape[0]):
        inside = np.zeros(n_workers, dtype=bool)
        inside[list(group)] = True
        mine = inside[worker]
        counts = sparse.csr_array((np.ones(int(mine.sum())), (place[mine], label[mine])), shape=shape)
        n = np.asarray(counts.sum(axis=1)).ravel()
        shares.append(sparse.diags_array(1 / np.maximum(n, 1)) @ counts)
        there.append(n > 0)
    both = np.flatnonzero(there[0] & there[1])
    joint = (shares[0][both].T @ shares[1][both]).toarray() / max(1, len(both))
    margins = [
        np.asarray(share.sum(axis=0)).ravel() / max(1, int(here.sum()))
        for share, here in zip(shares, there, strict=True)
    ]
    return Joint(joint, np.outer(*margins), len(both))
