"""Agreement of an item's label with its neighbours, and the two rules that flag labels from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, parameter_error
from tamis.noise._inputs import checked_distances, checked_labels, checked_neighbors

_BLOCK = 65_536
_RATE_AT_ONE, _RATE_AT_ZERO = 0.95, 0.05
_WHOLE_POSITION = 1e-9


@dataclass(frozen=True, eq=False)
class Agreement:
    """How the neighbours of each item vote, and how far they support its own label.

    Parameters
    ----------
    score : ndarray of float64, shape (N,)
        Agreement ``v_n[own label]``, at most 1, higher = better supported. ``nan`` where it was not measured: no own
        label, or no labelled neighbour with a weight other than 0. A missing measurement is neither agreement nor
        disagreement.
    vote : ndarray of int64, shape (N,)
        ``argmax_c v_n[c]`` (lowest class on ties), -1 without a labelled neighbour.
    votes : ndarray of float64, shape (N, K)
        Neighbour votes ``v_n``, L2-normalised per item; zeros without a labelled neighbour.
    """

    score: NDArray[np.float64]
    vote: NDArray[np.int64]
    votes: NDArray[np.float64]


def knn_agreement(
    labels: ArrayLike, idx: ArrayLike, dist: ArrayLike, n_classes: int, *, k: int = 10, include_self: bool = False
) -> Agreement:
    """Measure how far the nearest labelled neighbours support each item's label.

    ``v_n[c] = sum_j (1 - d_j) 1[label_j = c]`` over the k nearest labelled neighbours, L2-normalised (the soft
    k-NN labels of SimiFeat, Zhu, Dong and Liu, ICML 2022, as used in DS2, arXiv 2410.10877).

    Parameters
    ----------
    labels : array-like of int, shape (N,)
        Labels 0..K-1, -1 missing.
    idx : array-like of int, shape (N, m)
        Neighbours ascending by distance, self excluded, -1 as padding.
    dist : array-like of float, shape (N, m)
        ``1 - cosine`` distances.
    n_classes : int
        Number of classes K.
    k : int, default=10
        Neighbours used per item; a row that holds fewer labelled ones uses those it has.
    include_self : bool, default=False
        The official code's variant: the item's own label counts as one of the k, at distance ``2 d_1 - d_2``
        (linear extrapolation from its two nearest labelled neighbours).

    Returns
    -------
    Agreement

    Raises
    ------
    RecipeError
        If ``k`` is below 1.
    DataError
        If labels, neighbours or distances are malformed.

    Examples
    --------
    >>> result = knn_agreement([0, 0, 1], [[1, 2], [0, 2], [0, 1]], [[0.1, 0.5], [0.1, 0.6], [0.5, 0.6]], 2)
    >>> result.score
    array([0.874, 0.914, 0.   ])
    >>> result.vote
    array([0, 0, 0])
    """
    if k < 1:
        raise parameter_error("knn_agreement", "k", "an int in [1, inf)", k)
    own = checked_labels(labels, n_classes, "knn_agreement")
    neighbors = checked_neighbors(idx, own.shape[0], "knn_agreement")
    distances = checked_distances(dist, neighbors, "knn_agreement")
    votes = np.zeros((own.shape[0], n_classes))
    for start in range(0, own.shape[0], _BLOCK):
        rows = slice(start, start + _BLOCK)
        votes[rows] = _block_votes(own, neighbors[rows], distances[rows], own[rows], n_classes, k, include_self)
    norm = np.sqrt(np.einsum("nc,nc->n", votes, votes))
    measured = norm > 0
    votes[measured] /= norm[measured, None]
    vote = np.where(measured, votes.argmax(axis=1), -1)
    score = np.full(own.shape[0], np.nan)
    whole = np.flatnonzero(measured & (own >= 0))
    score[whole] = votes[whole, own[whole]]
    return Agreement(score=score, vote=vote, votes=votes)


def implied_flag_rate(T: ArrayLike, p: ArrayLike, observed: ArrayLike) -> NDArray[np.float64]:
    """Return r_i, the share of items labelled i that the rank rule flags.

    ``r_i = 1 - min(1, T_ii p_i / P(label = i))``: one minus the posterior that a label i is true. Exact hits are
    moved: ``r_i >= 1`` becomes 0.95 and ``r_i <= 0`` becomes 0.05, as in the official code; nothing between is
    clipped.

    Parameters
    ----------
    T : array-like, shape (K, K)
    p : array-like, shape (K,)
    observed : array-like, shape (K,)
        Relative frequency of each label in the whole pool.

    Examples
    --------
    >>> implied_flag_rate([[0.8, 0.2], [0.0, 1.0]], [0.5, 0.5], [0.4, 0.6])
    array([0.05 , 0.167])
    """
    correct: NDArray[np.float64] = np.diagonal(np.asarray(T, dtype=np.float64)) * np.asarray(p, dtype=np.float64)
    frequency = np.asarray(observed, dtype=np.float64)
    posterior = np.divide(correct, frequency, out=np.full(correct.shape, np.inf), where=frequency > 0)
    rate: NDArray[np.float64] = 1.0 - np.minimum(1.0, posterior)
    rate[rate >= 1.0] = _RATE_AT_ONE
    rate[rate <= 0.0] = _RATE_AT_ZERO
    return rate


def label_frequencies(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return the relative frequency of each label, missing ones left out (zeros if there is none).

    Examples
    --------
    >>> label_frequencies(np.array([0, 1, 1, -1]), 2)
    array([0.333, 0.667])
    """
    counts = np.bincount(labels[labels >= 0], minlength=n_classes)
    return np.asarray(counts / max(1, int(counts.sum())), dtype=np.float64)


def rank_rule(
    labels: ArrayLike,
    score: ArrayLike,
    T: ArrayLike,
    p: ArrayLike,
    n_classes: int,
    *,
    classes: ArrayLike | None = None,
) -> NDArray[np.bool_]:
    """Flag, in each observed class i, the share r_i of items that agree least with their neighbours.

    The threshold is the ``100 (1 - r_i)`` percentile (linear interpolation) of ``-log(agreement + 1e-8)`` inside
    the class; ties are flagged. Since the transform is monotone, the rule needs only one order statistic of the
    agreement itself, which also keeps negative agreements (distances above 1) in order.

    Parameters
    ----------
    labels : array-like of int, shape (N,)
        Labels, -1 missing.
    score : array-like of float, shape (N,)
        Agreement, higher = better supported. Items with ``nan`` are neither flagged nor counted.
    T, p : array-like, shapes (K, K) and (K,)
        Transition matrix and prior.
    n_classes : int
        Number of classes K.
    classes : array-like of int, optional
        Observed classes in which items may be flagged; all by default.

    Returns
    -------
    ndarray of bool, shape (N,)

    Examples
    --------
    >>> T, p = [[0.75, 0.25], [0.0, 1.0]], [0.5, 0.5]
    >>> rank_rule([0, 0, 1, 1, 1, 1], [0.9, 0.8, 0.9, 0.1, 0.8, 0.7], T, p, 2)
    array([False,  True, False,  True, False, False])
    """
    own = checked_labels(labels, n_classes, "rank_rule")
    values = np.asarray(score, dtype=np.float64)
    if values.shape != own.shape:
        raise DataError(f"rank_rule expects one score per label, shape {own.shape}. Got shape {values.shape}.")
    rates = implied_flag_rate(T, p, label_frequencies(own, n_classes))
    flags = np.zeros(own.shape[0], dtype=bool)
    for observed in chosen_classes(classes, n_classes, "rank_rule"):
        members = np.flatnonzero((own == observed) & np.isfinite(values))
        if members.size:
            position = threshold_position(members.size, float(rates[observed]))
            threshold = np.partition(values[members], position)[position]
            flags[members] = values[members] <= threshold
    return flags


def chosen_classes(classes: ArrayLike | None, n_classes: int, owner: str) -> NDArray[np.int64]:
    """Return the classes that may be flagged, all K by default.

    Raises
    ------
    RecipeError
        If a class is outside 0..K-1.

    Examples
    --------
    >>> chosen_classes([2, 0], 3, "demo")
    array([0, 2])
    """
    if classes is None:
        return np.arange(n_classes)
    chosen = np.unique(np.asarray(classes, dtype=np.int64))
    if chosen.size and (chosen[0] < 0 or chosen[-1] >= n_classes):
        raise parameter_error(owner, "classes", f"class indices in 0..{n_classes - 1}", classes)
    return chosen


def threshold_position(n_members: int, rate: float) -> int:
    """Return which agreement, counted from the lowest (0), is the highest one flagged.

    The percentile sits at position ``(n - 1)(1 - r)`` of the ascending ``-log`` values; everything at or above it is
    flagged, so the first flagged value is the next whole position.

    Examples
    --------
    >>> threshold_position(4, 0.25)
    0
    """
    position = (n_members - 1) * (1.0 - rate)
    nearest = round(position)
    whole = nearest if abs(position - nearest) < _WHOLE_POSITION * max(1, n_members) else int(np.ceil(position))
    return n_members - 1 - whole


def vote_rule(labels: ArrayLike, vote: ArrayLike) -> NDArray[np.bool_]:
    """Flag items whose neighbours vote for another label; needs no transition matrix.

    Items without a label or without a vote (-1) are not flagged.

    Examples
    --------
    >>> vote_rule([0, 1, -1, 1], [1, 1, 0, -1])
    array([ True, False, False, False])
    """
    own, voted = np.asarray(labels), np.asarray(vote)
    if own.shape != voted.shape:
        raise DataError(f"vote_rule expects one vote per label, shape {own.shape}. Got shape {voted.shape}.")
    return np.asarray((own >= 0) & (voted >= 0) & (own != voted), dtype=bool)


def _block_votes(
    labels: NDArray[np.int64],
    neighbors: NDArray[np.signedinteger],
    distances: NDArray[np.floating],
    own: NDArray[np.int64],
    n_classes: int,
    k: int,
    include_self: bool,
) -> NDArray[np.float64]:
    """Return unnormalised votes (m, K) of the first labelled neighbours of each row."""
    label = np.where(neighbors >= 0, labels[neighbors], -1)
    order = np.cumsum(label >= 0, axis=1)
    taken = (label >= 0) & (order <= (k - 1 if include_self else k))
    row, column = np.nonzero(taken)
    cell = row * n_classes + label[row, column]
    counted = np.bincount(cell, weights=1.0 - distances[row, column], minlength=own.shape[0] * n_classes)
    # bincount forgets the type of its weights when there are none
    votes: NDArray[np.float64] = counted.astype(np.float64, copy=False).reshape(own.shape[0], n_classes)
    if include_self:
        first = np.where((label >= 0) & (order == 1), distances, 0.0).sum(axis=1)
        second = np.where((label >= 0) & (order == 2), distances, 0.0).sum(axis=1)
        count = order[:, -1]
        extrapolated = np.where(count >= 2, 2 * first - second, first)
        labelled = np.flatnonzero((own >= 0) & (count >= 1))
        votes[labelled, own[labelled]] += 1.0 - extrapolated[labelled]
    return votes
