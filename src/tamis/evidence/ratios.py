"""Ratios of sums over records, such as losses a token, with intervals over records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from tamis.evidence.resampling import UNDEFINED, Estimate


def ratio_interval(
    sums: NDArray[Any],
    counts: NDArray[Any],
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """Ratio of two sums over records, ``sum y_i / sum n_i``, with a Student interval over records.

    Tokens of one record are not independent, records are: the variance is that of the linearised ratio,
    ``n / (n - 1) * sum (y_i - r n_i)^2 / (sum n_i)^2`` (Cochran 1977, equation 6.13).

    Parameters
    ----------
    sums, counts : ndarray, shape (n,)
        y_i and n_i of each record; records with n_i = 0 are left out.
    level : float, default 0.95
    bounds : tuple of float, optional
        Lowest and highest value that the ratio can have.

    Returns
    -------
    Estimate
        nan without records; no interval with one.

    Examples
    --------
    >>> ratio_interval(np.array([1.0, 3.0, 2.0]), np.array([2, 4, 4]))
    (0.6, 0.205..., 0.994...)
    """
    y, n = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    y, n = y[n > 0], n[n > 0]
    records, total = len(n), float(n.sum())
    if records == 0:
        return UNDEFINED
    ratio = float(y.sum()) / total
    if records == 1:
        return ratio, float("nan"), float("nan")
    error = np.sqrt(records / (records - 1) * float(((y - ratio * n) ** 2).sum())) / total
    half = float(t.ppf((1 + level) / 2, records - 1)) * float(error)
    low, high = ratio - half, ratio + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return ratio, low, high
