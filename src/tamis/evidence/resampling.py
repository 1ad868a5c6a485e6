"""Estimates with their intervals: figures under resampled weights of distinct cells, all resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Floats = NDArray[np.float64]
Estimate = tuple[float, float, float]
"""Value, lower and upper end of its interval; nan where a quantity is not defined."""

UNDEFINED: Estimate = (float("nan"),) * 3
FLAT = 1e-12
"""Variance below which ratings count as all the same: what is left of rounding."""

_CELLS_AT_ONCE = 1 << 22
_CELLS_IN_ALL = 1 << 26
_FEWEST_DRAWS = 200
_MULTINOMIAL_CELLS = 4096


def to_json(estimate: Estimate) -> list[float | None]:
    """Write an estimate the way JSON can hold it: ``[value, low, high]``, None for what is not defined.

    Examples
    --------
    >>> to_json((0.5, float("nan"), float("nan")))
    [0.5, None, None]
    """
    return [None if np.isnan(part) else float(part) for part in estimate]


def share_interval(count: float, n: float, *, level: float = 0.95) -> Estimate:
    """Share with its Wilson interval, which does not shrink to nothing at 0 and 1 (Wilson 1927).

    Parameters
    ----------
    count, n : float
        Successes among n independent trials. Where trials come in groups that are not independent, give the number
        of groups as n and the share times n as count.
    level : float, default 0.95

    Returns
    -------
    Estimate
        nan for n = 0.

    Examples
    --------
    >>> share_interval(0, 60)
    (0.0, 0.0, 0.060...)
    """
    if n <= 0:
        return UNDEFINED
    z = float(norm.ppf((1 + level) / 2))
    p = count / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return float(p), max(0.0, middle - half) if p > 0 else 0.0, min(1.0, middle + half) if p < 1 else 1.0


def student_interval(values: Sequence[float], *, level: float = 0.95) -> Estimate:
    """Mean of repeats, such as seeds or rounds, with a Student interval; of one, without it.

    Examples
    --------
    >>> student_interval([1.0, 2.0, 3.0])
    (2.0, -0.484..., 4.484...)
    """
    n, mean = len(values), float(np.mean(values))
    half = float(t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return mean, mean - half, mean + half


def difference_interval(a: Estimate, b: Estimate) -> Estimate:
    """Difference of two independent estimates, its interval from theirs (MOVER, Zou and Donner 2008).

    ``low = (a - b) - sqrt((a - a_low)^2 + (b_high - b)^2)``, and ``high`` the other way round.

    Examples
    --------
    >>> difference_interval((0.75, 0.25, 1.0), (0.5, 0.25, 0.75))
    (0.25, -0.309..., 0.603...)
    """
    value = a[0] - b[0]
    below = np.hypot(a[0] - a[1], b[2] - b[0])
    above = np.hypot(a[2] - a[0], b[0] - b[1])
    return value, float(value - below), float(value + above)


@dataclass(frozen=True, eq=False)
class RankedPairs:
    """Cells of two ratings with the level that each holds in either, ready to be ranked under any weights."""

    levels: tuple[NDArray[np.intp], NDArray[np.intp]]
    orders: tuple[NDArray[np.intp], NDArray[np.intp]]
    starts: tuple[NDArray[np.intp], NDArray[np.intp]]

    @classmethod
    def of(cls, x: Floats, y: Floats) -> RankedPairs:
        """Rank the levels of two ratings of the same cells."""
        inverse = [np.unique(values, return_inverse=True)[1].astype(np.intp) for values in (x, y)]
        orders = [np.argsort(levels, kind="stable") for levels in inverse]
        starts = [np.searchsorted(i[o], np.arange(i.max() + 1)) for i, o in zip(inverse, orders, strict=True)]
        return cls((inverse[0], inverse[1]), (orders[0], orders[1]), (starts[0], starts[1]))

    def correlation(self, weights: Floats) -> Floats:
        """Spearman's correlation of each row of weights, shape (B, cells) -> (B,)."""
        n = weights.sum(axis=1, keepdims=True)
        ranks = []
        for level, order, start in zip(self.levels, self.orders, self.starts, strict=True):
            each = np.add.reduceat(weights[:, order], start, axis=1)
            middle = np.cumsum(each, axis=1) - each / 2 - n / 2  # mid-rank less the mean rank
            ranks.append(middle[:, level])
        covariance = (weights * ranks[0] * ranks[1]).sum(axis=1)
        spread = [(weights * r**2).sum(axis=1) for r in ranks]
        varies = (spread[0] > FLAT * n[:, 0] ** 3) & (spread[1] > FLAT * n[:, 0] ** 3)
        return ratio(covariance, np.sqrt(spread[0] * spread[1]), varies)


def ratio(above: Floats, below: Floats, defined: NDArray[np.bool_]) -> Floats:
    """Divide where it is defined, nan elsewhere."""
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=defined)
    return quotient


def estimates(
    measure: Callable[[Floats], Floats],
    counts: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    n_bootstrap: int = 1000,
    level: float = 0.95,
) -> list[Estimate]:
    """Values of some quantities with percentile intervals over resampled units.

    Parameters
    ----------
    measure : callable
        From weights of the distinct cells, shape (B, cells), to quantities, shape (B, Q); all B at once.
    counts : ndarray of int, shape (cells,)
        Units in each cell: units that look alike to ``measure`` are one cell.
    rng : numpy.random.Generator
    n_bootstrap : int, default 1000
        Fewer are drawn for more than 67,000 cells, never fewer than 200.
    level : float, default 0.95

    Returns
    -------
    list of Estimate, length Q
        Without an interval where less than half of the resamples have the quantity.

    Examples
    --------
    >>> levels = np.array([0.0, 1.0])
    >>> [(mean, low, high)] = estimates(
    ...     lambda w: (w @ levels / w.sum(axis=1))[:, None], np.array([50, 50]), rng=np.random.default_rng(0)
    ... )
    >>> mean, 0.38 < low < 0.42, 0.58 < high < 0.62
    (0.5, True, True)
    """
    value = measure(counts[None, :].astype(np.float64))[0]
    draws = min(n_bootstrap, max(_FEWEST_DRAWS, _CELLS_IN_ALL // len(counts)))
    block = max(1, _CELLS_AT_ONCE // len(counts))
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    drawn = np.concatenate([measure(_resampled(counts, size, rng)) for size in sizes])
    tails = [(1 - level) / 2, (1 + level) / 2]
    found: list[Estimate] = []
    for point, sample in zip(value.tolist(), drawn.T, strict=True):
        defined = sample[~np.isnan(sample)]
        # an interval of the few resamples in which a quantity exists would look surer than it is
        enough = 2 * len(defined) >= len(sample) and not np.isnan(point)
        low, high = np.quantile(defined, tails).tolist() if enough else (float("nan"),) * 2
        found.append((point, low, high))
    return found


def _resampled(counts: NDArray[np.int64], size: int, rng: np.random.Generator) -> Floats:
    """How often each cell is drawn when n units are drawn with replacement, shape (size, cells)."""
    n, cells = int(counts.sum()), len(counts)
    if cells <= _MULTINOMIAL_CELLS or 10 * cells <= n:
        return np.asarray(rng.multinomial(n, counts / n, size=size), dtype=np.float64)
    cell_of = np.repeat(np.arange(cells), counts)
    return np.stack(
        [np.bincount(cell_of[rng.integers(0, n, n)], minlength=cells).astype(np.float64) for _ in range(size)]
    )
