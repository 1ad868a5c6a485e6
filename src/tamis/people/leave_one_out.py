"""Sign matrices that leave the scored worker's own answers out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.people.sign_tensor import Joint
from tamis.people.strata import Floats, Indices


def leave_one_out_signs(
    c: Floats, n: Floats, label: NDArray[np.int32], group: Indices, joint: Joint, *, guard: float, ordinal: bool
) -> Floats:
    """Return the sign matrix of each worker, estimated from the answers of all others.

    Parameters
    ----------
    c : ndarray of shape (m, K)
        Counts of the labels of the task of each answer, the answer itself included.
    n : ndarray of shape (m,)
        Answers to that task.
    label : ndarray of int32, shape (m,)
        The answer.
    group : ndarray of shape (m,)
        Worker of each answer, numbered from 0, ascending.
    joint : Joint
        Pair estimate from all answers of the stratum.
    guard, ordinal
        See :meth:`tamis.people.sign_tensor.Joint.signs`.

    Returns
    -------
    ndarray of shape (workers, K, K)
    """
    K = c.shape[1]
    less, fewer = c.copy(), n - 1
    less[np.arange(len(label)), label] -= 1
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    change = np.add.reduceat(_pairs(less, fewer) - _pairs(c, n), starts, axis=0)
    shift = np.add.reduceat(_shares(less, fewer) - _shares(c, n), starts, axis=0)
    lost = np.add.reduceat(((n >= 2) & (fewer < 2)).astype(np.int64), starts)
    margin = joint.independent.sum(axis=1)
    signs = np.empty((len(starts), K, K))
    for g in range(len(starts)):
        n_tasks = joint.n_tasks - int(lost[g])
        pairs = (joint.joint * joint.n_tasks + change[g]) / max(1, n_tasks)
        own = (margin * joint.n_tasks + shift[g]) / max(1, n_tasks)
        signs[g] = Joint(pairs, np.outer(own, own), n_tasks).signs(guard=guard, ordinal=ordinal)
    return signs


def _pairs(c: Floats, n: Floats) -> Floats:
    """Share of each ordered pair of labels among distinct raters of a task, shape (m, K, K); 0 for fewer than two."""
    pairs = c[:, :, None] * c[:, None, :]
    diagonal = np.arange(c.shape[1])
    pairs[:, diagonal, diagonal] -= c
    weight = np.where(n >= 2, 1 / np.maximum(n * (n - 1), 1), 0.0)
    found: Floats = pairs * weight[:, None, None]
    return found


def _shares(c: Floats, n: Floats) -> Floats:
    found: Floats = np.where((n >= 2)[:, None], c / np.maximum(n, 1)[:, None], 0.0)
    return found
