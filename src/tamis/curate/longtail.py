"""Rarity of a record: how far its nearest neighbours are."""

from __future__ import annotations

import numpy as np


def longtail_score(dist: np.ndarray, k: int, *, include_self: bool = False) -> np.ndarray:
    """Long-tail score: how far a record is from its neighbours.

    Parameters
    ----------
    dist : ndarray of shape (n, >= k), float32
        Cosine distances to the nearest neighbours, ascending, self excluded.
    k : int
        Neighbours to average over.
    include_self : bool, default False
        Count the record itself, at distance 0, as one of the k; the released code does.

    Returns
    -------
    ndarray of shape (n,), float64
        LT = tanh(mean distance / 2), in [0, 1); higher = rarer. It is 2 / (1 + exp(-x)) - 1 for the mean distance x
        and ranks records as the mean distance does. A pool of one has no neighbours: its score is 0.

    Examples
    --------
    >>> longtail_score(np.array([[0.2, 0.4]], dtype=np.float32), 2).round(4).tolist()
    [0.1489]
    """
    near = dist[:, : k - 1 if include_self else k].astype(np.float64)
    there = np.isfinite(near)  # a graph brought by the user may have fewer neighbours in some rows
    count = there.sum(axis=1) + int(include_self)
    rarity: np.ndarray = np.tanh(np.where(there, near, 0).sum(axis=1) / np.maximum(count, 1) / 2)
    return rarity
