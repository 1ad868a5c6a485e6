"""How far two ratings of the same units agree, and one rating with its own repeats, each figure with its interval."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError
from tamis.evidence.resampling import (
    FLAT,
    UNDEFINED,
    Estimate,
    Floats,
    RankedPairs,
    estimates,
    ratio,
    share_interval,
    to_json,
)

__all__ = ["Agreement", "Estimate", "Retest", "agreement", "rank_correlation", "retest", "share_interval"]


@dataclass(frozen=True)
class Agreement:
    """Agreement of two ratings, over the units that both rated. Agreement is not accuracy: both may be wrong alike.

    Attributes
    ----------
    n : int
        Units rated by both.
    exact : Estimate
        Share of units with the same rating, after rounding to the nearest whole number (halves upward).
    within_one : Estimate
        Share of units whose ratings differ by at most one point.
    kappa : Estimate
        Quadratic weighted kappa, ``2 cov(a, b) / (var a + var b + (mean a - mean b)^2)``: Cohen's kappa with squared
        weights (Cohen 1968), which for ratings that are not whole numbers is Lin's concordance coefficient (1989).
    spearman : Estimate
        Rank correlation, ties at their mean rank.
    difference : Estimate
        Mean of ``a - b``.
    """

    n: int
    exact: Estimate
    within_one: Estimate
    kappa: Estimate
    spearman: Estimate
    difference: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON: each estimate as ``[value, low, high]``, None for what is not defined."""
        return _plain(self)


@dataclass(frozen=True)
class Retest:
    """Agreement of repeated ratings of the same units.

    Attributes
    ----------
    n : int
        Units with at least two ratings; the others are left out.
    n_pairs : int
        Pairs of ratings of one unit.
    sd : Estimate
        Pooled standard deviation within units, ``sqrt(sum of squares within / (ratings - units))``, in points.
    all_equal : Estimate
        Share of units whose ratings are all equal.
    exact : Estimate
        Share of pairs that are equal. The same as ``all_equal`` for two ratings each.
    difference : Estimate
        Mean absolute difference of a pair, in points.
    kappa : Estimate
        Quadratic weighted kappa over pairs (earlier, later sample).
    reliability : Estimate
        ICC(1,1) of Shrout and Fleiss (1979), with the mean group size of a one-way analysis of variance where units
        have different numbers of ratings: the share of the variance of a single rating that lies between units.
    """

    n: int
    n_pairs: int
    sd: Estimate
    all_equal: Estimate
    exact: Estimate
    difference: Estimate
    kappa: Estimate
    reliability: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON: each estimate as ``[value, low, high]``, None for what is not defined."""
        return _plain(self)


def agreement(
    a: ArrayLike, b: ArrayLike, *, rng: np.random.Generator, n_bootstrap: int = 1000, level: float = 0.95
) -> Agreement:
    """Compare two ratings of the same units.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Ratings; nan where there is none. Only units with both count.
    rng : numpy.random.Generator
        Resamples units. For more than 67,000 distinct pairs of ratings fewer than 1,000 resamples are drawn (never
        fewer than 200), so that time stays bounded.
    n_bootstrap : int, default 1000
    level : float, default 0.95
        Coverage asked of the percentile intervals.

    Returns
    -------
    Agreement
        Everything is nan for fewer than two units, and ``kappa`` and ``spearman`` are where one of the ratings is the
        same everywhere: there is nothing to agree about, which is not an agreement of zero.

    Raises
    ------
    DataError
        If the shapes differ.

    Examples
    --------
    >>> found = agreement([1, 2, 3, 4], [1, 2, 3, 2], rng=np.random.default_rng(0))
    >>> found.n, found.exact[0], round(found.kappa[0], 3), found.difference[0]
    (4, 0.75, 0.5, 0.5)
    """
    x, y = _both(a, b, "agreement")
    if len(x) < 2:
        return Agreement(len(x), *(UNDEFINED,) * 5)
    cells, counts = np.unique(np.column_stack([x, y]), axis=0, return_counts=True)
    x, y = cells.T
    near = np.abs(x - y) <= 1 + 1e-9
    alike = np.floor(x + 0.5) == np.floor(y + 0.5)
    pairs = _moment_columns(x, y, (x @ counts) / counts.sum())
    ranked = RankedPairs.of(x, y)

    def measure(weights: Floats) -> Floats:
        shares = weights @ np.column_stack([alike, near]) / weights.sum(axis=1, keepdims=True)
        kappa, difference = _kappa(weights @ pairs)
        return np.column_stack([shares, kappa, ranked.correlation(weights), difference])

    found = estimates(measure, counts, rng=rng, n_bootstrap=n_bootstrap, level=level)
    return Agreement(int(counts.sum()), *found)


def rank_correlation(
    x: ArrayLike, y: ArrayLike, *, rng: np.random.Generator, n_bootstrap: int = 1000, level: float = 0.95
) -> Estimate:
    """Spearman's rank correlation with its interval, e.g. of ratings with the length of what was rated.

    Parameters and resampling are those of :func:`agreement`; nan for fewer than two units or a constant.

    Examples
    --------
    >>> value, low, high = rank_correlation(range(9), [1, 0, 2, 3, 5, 4, 7, 6, 8], rng=np.random.default_rng(0))
    >>> round(value, 3), low < value < high
    (0.95, True)
    """
    one, two = _both(x, y, "rank_correlation")
    if len(one) < 2:
        return UNDEFINED
    cells, counts = np.unique(np.column_stack([one, two]), axis=0, return_counts=True)
    ranked = RankedPairs.of(cells[:, 0], cells[:, 1])
    return estimates(lambda w: ranked.correlation(w)[:, None], counts, rng=rng, n_bootstrap=n_bootstrap, level=level)[0]


def retest(values: ArrayLike, *, rng: np.random.Generator, n_bootstrap: int = 1000, level: float = 0.95) -> Retest:
    """Measure how far repeated ratings of one unit differ.

    Parameters
    ----------
    values : array-like of float, shape (n, k)
        Samples of each unit; nan where there is none.
    rng : numpy.random.Generator
        Resamples units, not samples: what is asked is how the figures move with the units drawn.
    n_bootstrap : int, default 1000
    level : float, default 0.95

    Returns
    -------
    Retest
        nan for fewer than two units with two ratings; ``kappa`` and ``reliability`` also if all ratings are equal.

    Raises
    ------
    DataError
        If ``values`` is no table.

    Examples
    --------
    >>> found = retest([[1, 1], [2, 4], [5, 5]], rng=np.random.default_rng(0))
    >>> round(found.sd[0], 3), round(found.all_equal[0], 3), round(found.reliability[0], 3)
    (0.816, 0.667, 0.846)
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise DataError(f"retest expects ratings of shape (units, samples). Got shape {table.shape}.")
    table = table[(~np.isnan(table)).sum(axis=1) >= 2]
    n_pairs = int(sum(m * (m - 1) // 2 for m in (~np.isnan(table)).sum(axis=1).tolist()))
    if len(table) < 2:
        return Retest(len(table), n_pairs, *(UNDEFINED,) * 6)
    cells, counts = _distinct_rows(table)
    within, pairs = _within_columns(cells - np.nanmean(table)), _pair_columns(cells, float(np.nanmean(table)))

    def measure(weights: Floats) -> Floats:
        n = weights.sum(axis=1)
        found = weights @ pairs
        kappa, _ = _kappa(found[:, 2:])
        sd, reliability = _variance_shares(n, weights @ within)
        equal = weights @ _all_equal(cells) / n
        return np.column_stack([sd, equal, found[:, :2] / found[:, 2:3], kappa, reliability])

    return Retest(len(table), n_pairs, *estimates(measure, counts, rng=rng, n_bootstrap=n_bootstrap, level=level))


def _plain(found: Agreement | Retest) -> dict[str, Any]:
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: to_json(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _both(a: ArrayLike, b: ArrayLike, owner: str) -> tuple[Floats, Floats]:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"{owner} expects two ratings of the same units, shape (n,). Got {x.shape} and {y.shape}.")
    measured = ~np.isnan(x) & ~np.isnan(y)
    return x[measured], y[measured]


def _distinct_rows(table: Floats) -> tuple[Floats, NDArray[np.int64]]:
    absent = float(np.nanmax(table)) + 1.0  # nan is equal to nothing, so rows that hold it would all be distinct
    cells, counts = np.unique(np.where(np.isnan(table), absent, table), axis=0, return_counts=True)
    return np.where(cells == absent, np.nan, cells), counts


def _all_equal(cells: Floats) -> Floats:
    return np.asarray(np.nanmax(cells, axis=1) == np.nanmin(cells, axis=1), dtype=np.float64)


def _moment_columns(x: Floats, y: Floats, center: float) -> Floats:
    """What a quadratic kappa needs to have summed: 1, x, y, xx, yy, xy, taken about a common center."""
    u, v = x - center, y - center
    return np.column_stack([np.ones_like(u), u, v, u * u, v * v, u * v])


def _kappa(sums: Floats) -> tuple[Floats, Floats]:
    """Quadratic kappa and mean difference from sums of :func:`_moment_columns`, shape (B, 6) -> two of (B,)."""
    n = sums[:, 0]
    x, y, xx, yy, xy = (sums[:, 1:] / n[:, None]).T
    va, vb = xx - x**2, yy - y**2
    varies = (va > FLAT * (1 + xx)) & (vb > FLAT * (1 + yy))
    return ratio(2 * (xy - x * y), va + vb + (x - y) ** 2, varies), x - y


def _pair_columns(cells: Floats, center: float) -> Floats:
    """Per cell, summed over its pairs of samples: equal, absolute difference, and the columns of a kappa."""
    k = cells.shape[1]
    total = np.zeros((len(cells), 8))
    for s in range(k):
        for t in range(s + 1, k):
            x, y = cells[:, s], cells[:, t]
            columns = np.column_stack([x == y, np.abs(x - y), _moment_columns(x, y, center)])
            total += np.where(np.isnan(x + y)[:, None], 0.0, columns)
    return total


def _within_columns(cells: Floats) -> Floats:
    """Per cell: ratings m, their sum S, sum of squares within, S^2 / m, m^2."""
    m = (~np.isnan(cells)).sum(axis=1).astype(np.float64)
    total = np.nansum(cells, axis=1)
    within = np.nansum((cells - (total / m)[:, None]) ** 2, axis=1)
    return np.column_stack([m, total, within, total**2 / m, m**2])


def _variance_shares(n: Floats, sums: Floats) -> tuple[Floats, Floats]:
    """Pooled standard deviation within units, and ICC(1,1), from sums of :func:`_within_columns`."""
    ratings, total, within, squares, sizes = sums.T
    msw = within / (ratings - n)
    between = (squares - total**2 / ratings) / (n - 1)
    size = (ratings - sizes / ratings) / (n - 1)
    whole = between + (size - 1) * msw
    return np.sqrt(msw), ratio(between - msw, whole, whole > FLAT * (1 + squares / ratings))
