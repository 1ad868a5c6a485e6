"""What the ratings of one judge look like: how many, how spread, how repeatable, and what they follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student

from tamis.curate.rating.judge_tables import RatingTable
from tamis.evidence import mean_interval
from tamis.evidence.agreement import agreement, rank_correlation, retest, share_interval
from tamis.evidence.resampling import UNDEFINED, Estimate, estimates, to_json
from tamis.runs.digests import derive_seed

Floats = NDArray[np.float64]
MIN_GROUP = 10
"""Rows of a kind below which a difference of means is not given: its interval would say nothing."""
_CONTINUOUS_BINS = 4
_MAX_BINS = 40


def rater_findings(table: RatingTable, rows: pl.DataFrame, *, low: int, high: int, seed: int) -> dict[str, Any]:
    """Describe one judge by one criterion, as JSON values; every estimate is ``[value, low, high]``.

    Parameters
    ----------
    table : RatingTable
    rows : pl.DataFrame
        ``characters``, ``truncated`` and ``suspect`` of the rows of the table, in their order.
    low, high : int
        Ends of the scale.
    seed : int
        Of the intervals.

    Returns
    -------
    dict
        ``rater, criterion, samples, status, unmeasured, mean, sd, distribution, ceiling, retest, shift, length,
        suspect, truncated``. ``retest`` and ``shift`` are None without repeated samples; all that needs a rating is
        None where there is none.
    """

    def rng(what: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(seed, table.rater, table.criterion, what))

    n, measured, means = len(table.values), table.measured, table.means
    values = table.values[~np.isnan(table.values)]
    found: dict[str, Any] = {
        "rater": table.rater,
        "criterion": table.criterion,
        "samples": table.values.shape[1],
        "status": table.status,
        "measured": int(measured.sum()),
        "unmeasured": {"n": int((~measured).sum()), "share": to_json(share_interval(int((~measured).sum()), n))},
        "mean": None,
        "sd": None,
        "distribution": None,
        "ceiling": None,
        "retest": None,
        "shift": None,
        "length": None,
        "suspect": _of_group(means, rows["suspect"].is_not_null().to_numpy()),
        "truncated": _of_group(means, rows["truncated"].fill_null(False).to_numpy()),
    }
    if not len(values):
        return found
    rho = rank_correlation(means, rows["characters"].cast(pl.Float64).to_numpy(), rng=rng("length"))
    return {
        **found,
        "mean": to_json((float(np.nanmean(means)), *mean_interval(means, rng=rng("mean")))),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "distribution": distribution(values, low, high),
        "ceiling": ceiling(table.values, high, rng=rng("ceiling")),
        "retest": _retest(table.values, rng("retest")),
        "shift": _shift(table.values, rng("shift")),
        "length": {"n": int(measured.sum()), "rho": to_json(rho)},
    }


def distribution(values: Floats, low: int, high: int) -> dict[str, Any]:
    """Count single ratings over the scale: one bin a value where they are whole or half points.

    Returns
    -------
    dict
        ``width`` of a step (1, 0.5, or None for ratings in between), ``edges`` and ``counts``.

    Examples
    --------
    >>> distribution(np.array([1.0, 3.0, 3.0]), 1, 3)
    {'width': 1.0, 'edges': [0.5, 1.5, 2.5, 3.5], 'counts': [1, 0, 2]}
    """
    start, stop = min(float(low), float(values.min())), max(float(high), float(values.max()))
    width = _step(values)
    if width is None:
        bins = min(_MAX_BINS, _CONTINUOUS_BINS * max(1, round(stop - start)))
        edges = np.linspace(start, stop, bins + 1)
    else:
        steps = round((stop - start) / width) + 1
        edges = np.linspace(start - width / 2, stop + width / 2, steps + 1)
    return {"width": width, "edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}


def ceiling(values: Floats, high: int, *, rng: np.random.Generator) -> dict[str, Any]:
    """How far ratings pile up: in the top value, in the value used most, and on how few values in effect.

    Ratings that are neither whole nor half points are rounded to whole ones first. A unit's samples are not
    independent, so intervals count units and not ratings.

    Parameters
    ----------
    values : ndarray of shape (n, k)
        nan where there is no rating; at least one is there.
    high : int
        Top of the scale.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``top`` (share that rounds to ``high``), ``mode`` (``value``, ``share``), ``used`` (distinct values),
        ``entropy`` in bits and ``effective``, the number of equally used values with that entropy (``2^entropy``; the
        Hill number of order 1).

    Examples
    --------
    >>> found = ceiling(np.array([[10.0], [10.0], [9.0], [8.0]]), 10, rng=np.random.default_rng(0))
    >>> found["top"][0], found["mode"]["value"], found["used"], round(found["effective"][0], 3)
    (0.5, 10.0, 3, 2.828)
    """
    units = values[~np.isnan(values).all(axis=1)]
    single = units[~np.isnan(units)]
    whole = np.floor(single + 0.5)
    levels, counts = np.unique(single if _step(single) is not None else whole, return_counts=True)
    most = int(counts.argmax())
    top = float((whole >= high).mean())

    def entropy(weights: Floats) -> Floats:
        shares = weights / weights.sum(axis=1, keepdims=True)
        bits = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)
        return np.asarray(np.column_stack([bits, 2.0**bits]))

    bits, effective = estimates(entropy, counts, rng=rng) if len(units) > 1 else (UNDEFINED, UNDEFINED)
    return {
        "top": to_json(share_interval(top * len(units), len(units))),
        "mode": {
            "value": float(levels[most]),
            "share": to_json(share_interval(counts[most] / len(single) * len(units), len(units))),
        },
        "used": len(levels),
        "entropy": to_json(bits),
        "effective": to_json(effective),
    }


def _step(values: Floats) -> float | None:
    """Step that all ratings are multiples of: 1, a half, or None."""
    for width in (1.0, 0.5):
        if np.array_equal(values / width, np.round(values / width)):
            return width
    return None


def _retest(values: Floats, rng: np.random.Generator) -> dict[str, Any] | None:
    found = retest(values, rng=rng)
    return found.to_dict() if found.n else None


def _shift(values: Floats, rng: np.random.Generator) -> dict[str, Any] | None:
    """Difference of the first two samples, which is a position bias where samples are positions, and none else."""
    if values.shape[1] < 2:
        return None
    found = agreement(values[:, 0], values[:, 1], rng=rng)
    if not found.n:
        return None
    means = [float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else None for column in values.T]
    return {"n": found.n, "difference": to_json(found.difference), "means": means}


def _of_group(means: Floats, members: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean rating of some rows beside that of the others, with the interval of the difference for ten or more."""
    measured = ~np.isnan(means)
    inside, others = means[members & measured], means[~members & measured]
    enough = min(len(inside), len(others)) >= MIN_GROUP
    return {
        "n": int(members.sum()),
        "measured": len(inside),
        "mean": float(inside.mean()) if len(inside) else None,
        "others": float(others.mean()) if len(others) else None,
        "difference": to_json(_welch(inside, others)) if enough else None,
    }


def _welch(a: Floats, b: Floats) -> Estimate:
    """Difference of two means with Welch's interval (1947)."""
    parts = [x.var(ddof=1) / len(x) for x in (a, b)]
    value, variance = float(a.mean() - b.mean()), float(sum(parts))
    if variance == 0:
        return value, value, value
    freedom = variance**2 / sum(part**2 / (len(x) - 1) for part, x in zip(parts, (a, b), strict=True))
    half = float(student.ppf(0.975, freedom)) * variance**0.5
    return value, value - half, value + half
