"""Which tokens of a ranking are kept: exact counts, ties by position, no sorting of the whole where a cut will do."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
_BLOCK = 1 << 20


def n_kept(keep: float, n: int) -> int:
    """``floor(keep * n)``, with ``keep`` taken as the decimal number that it is written as.

    Examples
    --------
    >>> n_kept(0.29, 100), int(0.29 * 100)
    (29, 28)
    """
    return math.floor(Fraction(repr(float(keep))) * n)


def top_share(score: Floats, ranked: Mask, keep: float) -> tuple[Mask, float]:
    """Keep the share ``keep`` of the ranked tokens that score highest; of equal scores at the cut the earliest.

    Equal to a stable sort by falling score (arXiv 2502.01968, the threshold of section 4), in linear time.

    Parameters
    ----------
    score : ndarray of float32, shape (T,)
        Finite where ``ranked``.
    ranked : ndarray of bool, shape (T,)
    keep : float
        In (0, 1].

    Returns
    -------
    kept : ndarray of bool, shape (T,)
        True for ``floor(keep * n)`` of the n ranked tokens.
    cut : float
        Score of the last token kept, nan if none is.

    Examples
    --------
    >>> score = np.array([1.0, 3.0, 1.0, 1.0, 2.0], dtype=np.float32)
    >>> top_share(score, np.ones(5, dtype=bool), 0.6)
    (array([ True,  True, False, False,  True]), 1.0)
    """
    return top_n(score, ranked, n_kept(keep, int(np.count_nonzero(ranked))))


def top_n(score: Floats, ranked: Mask, n: int) -> tuple[Mask, float]:
    """Keep the n ranked tokens that score highest, as :func:`top_share` does.

    Examples
    --------
    >>> top_n(np.array([1.0, 3.0, 3.0], dtype=np.float32), np.ones(3, dtype=bool), 1)
    (array([False,  True, False]), 3.0)
    """
    places = np.flatnonzero(ranked)
    kept = np.zeros(len(score), dtype=bool)
    if n == 0:
        return kept, float("nan")
    values = score[places]
    cut = np.partition(values, len(values) - n)[len(values) - n]
    above = values > cut
    ties = np.flatnonzero(values == cut)[: n - int(np.count_nonzero(above))]
    kept[places[above]] = True
    kept[places[ties]] = True
    return kept, float(cut)


def top_share_by_group(
    score: Floats, ranked: Mask, keep: float, group: NDArray[np.integer[Any]]
) -> tuple[Mask, NDArray[np.int64]]:
    """Keep the share ``keep`` of the ranked tokens of each group, ``floor(keep * n_g)`` of its n_g.

    Parameters
    ----------
    score, ranked, keep
        As for :func:`top_share`.
    group : ndarray of int, shape (T,)
        Group of each token: its record (RHO of the paper), or its batch (RHO-1). Never falls.

    Returns
    -------
    kept : ndarray of bool, shape (T,)
    counts : ndarray of int64, shape (G,)
        Tokens kept in each group.

    Examples
    --------
    >>> score = np.array([1.0, 3.0, 2.0, 5.0, 5.0], dtype=np.float32)
    >>> kept, counts = top_share_by_group(score, np.ones(5, dtype=bool), 0.6, np.array([0, 0, 0, 1, 1]))
    >>> kept, counts
    (array([False,  True, False,  True, False]), array([1, 1]))
    """
    n_groups = int(group[-1]) + 1 if len(group) else 0
    ends = np.searchsorted(group, np.arange(n_groups), side="right")
    kept, counts = np.zeros(len(score), dtype=bool), np.zeros(n_groups, dtype=np.int64)
    first = 0
    while first < n_groups:  # block by block: temporary arrays stay small
        start = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, start + _BLOCK, side="right")))
        block = slice(start, int(ends[last - 1]))
        own = group[block] - first
        kept[block], counts[first:last] = _top_of_groups(score[block], ranked[block], keep, own, last - first)
        first = last
    return kept, counts


def _top_of_groups(
    score: Floats, ranked: Mask, keep: float, group: NDArray[np.integer[Any]], n_groups: int
) -> tuple[Mask, NDArray[np.int64]]:
    kept = np.zeros(len(score), dtype=bool)
    places = np.flatnonzero(ranked)
    own = group[places]
    sizes = np.bincount(own, minlength=n_groups)
    counts = np.array([n_kept(keep, n) for n in range(int(sizes.max(initial=0)) + 1)], dtype=np.int64)[sizes]
    if not len(places):
        return kept, counts
    starts = np.cumsum(sizes) - sizes
    key = (own.astype(np.uint64) << np.uint64(32)) | _falling(score[places])
    cuts = np.sort(key)[np.maximum(starts + counts - 1, 0)]
    above, tied = (key < cuts[own]) & (counts > 0)[own], key == cuts[own]
    # of the ties of a group, the earliest fill what is left
    before = np.cumsum(tied) - tied
    earlier = before - before[np.minimum(starts, len(key) - 1)][own]
    left = counts - np.bincount(own[above], minlength=n_groups)
    kept[places[above | (tied & (earlier < left[own]))]] = True
    return kept, counts


def _falling(score: Floats) -> NDArray[np.uint64]:
    """Numbers of 32 bits in the opposite order of the scores."""
    bits = (score + np.float32(0.0)).view(np.uint32)  # no -0.0
    rising = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64)
