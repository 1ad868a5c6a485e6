"""How well scores rank the positive units before the others: the area under the ROC curve, with its interval."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError

if TYPE_CHECKING:
    from tamis.evidence.resampling import Estimate

Floats = NDArray[np.float64]


def auroc(scores: ArrayLike, positive: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Return the probability that a positive unit scores above another one, ties counting half, with its interval.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
        Higher means more positive. Units without a score (nan) are left out: no measurement is no bad score.
    positive : array-like of bool, shape (n,)
        True class of each unit.
    level : float, default 0.95
        Coverage asked of the interval.

    Returns
    -------
    Estimate
        Value, low and high. All are nan if one class is absent, the interval alone if one has a single unit.

    Raises
    ------
    DataError
        If the shapes differ, or ``positive`` holds other values than true and false (0 and 1).

    Notes
    -----
    The value is the Mann-Whitney statistic by mid-ranks. Its variance is that of DeLong, DeLong and Clarke-Pearson,
    Biometrics 44 (1988), computed from mid-ranks as in Sun and Xu, IEEE Signal Processing Letters 21 (2014), and the
    interval is symmetric on the logit scale, so that it stays inside (0, 1). Where that variance is 0, as when the
    classes are perfectly apart, a width of nothing would be a claim that no sample supports: the Wilson interval of the
    value is given instead, with as many trials as the smaller class has units.

    Examples
    --------
    >>> value, low, high = auroc([0.1, 0.4, 0.35, 0.8, 0.7], [False, False, True, True, True])
    >>> round(value, 3), 0 < low < value < high < 1
    (0.833, True)
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(positive)
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"auroc expects one score and one class per unit, shape (n,). Got {x.shape} and {y.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise DataError("auroc expects 'positive' of true and false, or 1 and 0. Got other values; compare first.")
    measured = ~np.isnan(x)
    x, y = x[measured], y[measured].astype(bool)
    above, below = _placements(x, y)
    smaller = min(len(above), len(below))
    nan = float("nan")
    if smaller == 0:
        return nan, nan, nan
    value = float(above.mean())
    if smaller == 1:
        return value, nan, nan
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    if variance < 1e-14:  # what is left of rounding
        from tamis.evidence.resampling import share_interval  # scipy.stats takes seconds to import

        return share_interval(value * smaller, smaller, level=level)
    half = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance) / (value * (1 - value))
    low, high = 1 / (1 + (1 - value) / value * np.exp([half, -half]))
    return value, float(low), float(high)


def _placements(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """DeLong's components: share of the other class that each positive scores above, and each other one below."""
    ranks = _mid_ranks(scores)
    n_positive = int(positive.sum())
    n_other = len(scores) - n_positive
    above = (ranks[positive] - _mid_ranks(scores[positive])) / max(n_other, 1)
    below = 1 - (ranks[~positive] - _mid_ranks(scores[~positive])) / max(n_positive, 1)
    return above, below


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties at the mean of theirs; as scipy.stats.rankdata, which is slow to import."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks: Floats = middle[level]
    return ranks
