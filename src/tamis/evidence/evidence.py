"""``Evidence``: tidy rows of metrics before and after an action, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import DataError

SCHEMA: dict[str, Any] = {
    "metric": pl.String,
    "split": pl.String,
    "group": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "better": pl.String,
}
_BLOCK = 1 << 22
_MANY = 50_000
"""Distinct values beyond which a mean is normal for all purposes, and resampling takes seconds."""


class Evidence:
    """Rows ``metric, split, group, before, after, low, high, n, better``.

    ``low`` and ``high`` are the 95 % interval of ``after``; ``better`` is ``higher``, ``lower`` or ``neither``.

    Parameters
    ----------
    rows : iterable of dict
        One dict a row; an absent key is null.

    Raises
    ------
    DataError
        If a row has an ``after`` without an interval: an estimate is never given without its uncertainty.

    Examples
    --------
    >>> row = {"metric": "mean", "before": 1.0, "after": 2.0, "low": 1.5, "high": 2.5, "n": 9, "better": "higher"}
    >>> Evidence([row]).frame["after"].to_list()
    [2.0]
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self.frame = pl.DataFrame([{k: row.get(k) for k in SCHEMA} for row in rows], schema=SCHEMA)
        bare = self.frame.filter(pl.col("after").is_not_null() & (pl.col("low").is_null() | pl.col("high").is_null()))
        if len(bare):
            raise DataError(f"The metric {bare['metric'][0]!r} has no interval; give low and high with every estimate.")


def mean_interval(
    values: np.ndarray, *, rng: np.random.Generator, level: float = 0.95, n_bootstrap: int = 1000
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean; the normal one, which is the same, for more than 50,000 values.

    Parameters
    ----------
    values : ndarray of shape (n,)
        A sample; NaN is left out. It is treated as drawn independently from a larger population.
    rng : numpy.random.Generator
    level : float, default 0.95
    n_bootstrap : int, default 1000

    Returns
    -------
    (low, high) : tuple of float
        NaN if there is no value.

    Examples
    --------
    >>> low, high = mean_interval(np.arange(100.0), rng=np.random.default_rng(0))
    >>> low < 49.5 < high
    True
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        return float("nan"), float("nan")
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= 64:  # few distinct values: resampling their counts is the same draw, without touching n items
        draws = rng.multinomial(n, counts / n, size=n_bootstrap)
        means = draws @ levels / n
    elif n > _MANY:
        half = NormalDist().inv_cdf((1 + level) / 2) * float(values.std(ddof=1)) / n**0.5
        return float(values.mean()) - half, float(values.mean()) + half
    else:
        per_block = max(1, _BLOCK // n)
        sizes = [min(per_block, n_bootstrap - i) for i in range(0, n_bootstrap, per_block)]
        means = np.concatenate([values[rng.integers(0, n, size=(size, n))].mean(axis=1) for size in sizes])
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
