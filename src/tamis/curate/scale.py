"""From ratings as a judge writes them to the classes 0..K-1 that a transition matrix is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tamis.errors import DataError, RecipeError

MISSING = -1
N_QUANTILES = 6
COMPRESSED = np.array([0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 5])
"""DS2's rescaling of 1-10: 4 and below -> 0, 5 -> 1, 6 -> 2, 7 -> 3, 8 -> 4, 9 and 10 -> 5."""

_RANGE = re.compile(r"(-?\d+)-(\d+)")
_QUANTILES = re.compile(r"quantile(?::(\d+))?")


@dataclass(frozen=True)
class RatingScale:
    """How ratings become classes.

    Attributes
    ----------
    kind : {"range", "compress", "quantile"}
        One class per integer of a range; DS2's compression of 1-10 to six classes; or equally filled classes for
        ratings that are not whole numbers, such as expected scores.
    low, high : float
        Ends of the rater's scale.
    names : tuple of str, length K
        What each class means, for reports.
    edges : tuple of float
        Upper edges of the quantile classes, empty otherwise.
    """

    kind: str
    low: float
    high: float
    names: tuple[str, ...]
    edges: tuple[float, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.names)

    @classmethod
    def parse(cls, text: str, values: np.ndarray) -> RatingScale:
        """Build the scale called ``text`` for one rater's ratings.

        Parameters
        ----------
        text : str
            ``"LOW-HIGH"`` (``"1-10"`` is compressed to six classes as in DS2), ``"quantile"`` or ``"quantile:K"``, or
            ``"auto"``: whole numbers take the first of 1-5, 0-5 and 1-10 that holds them, others are cut at quantiles.
        values : ndarray of shape (n,), float64
            The rater's measured ratings, without missing ones.

        Raises
        ------
        RecipeError
            If ``text`` is none of these.
        DataError
            If a rating lies outside the scale, or ``auto`` finds no scale.

        Examples
        --------
        >>> RatingScale.parse("auto", np.array([1.0, 7.0, 10.0])).names
        ('1-4', '5', '6', '7', '8', '9-10')
        """
        quantiles = _QUANTILES.fullmatch(text)
        if text == "auto":
            return cls._detect(values)
        if quantiles:
            return cls._quantile(values, int(quantiles[1] or N_QUANTILES))
        span = _RANGE.fullmatch(text)
        if not span or int(span[1]) >= int(span[2]) or int(span[2]) - int(span[1]) > 30:
            raise RecipeError(
                "The 'scale' parameter of DS2 must be 'auto', 'LOW-HIGH' such as '0-5', or 'quantile:K'. "
                f"Got {text!r} instead."
            )
        return cls._range(int(span[1]), int(span[2]), values)

    @classmethod
    def _range(cls, low: int, high: int, values: np.ndarray) -> RatingScale:
        outside = values[(values < low) | (values > high)]
        if len(outside):
            raise DataError(
                f"{len(outside)} ratings lie outside the scale {low}-{high} (first: {outside[0]:g}); "
                "correct them or give the right scale with --scale."
            )
        if (low, high) == (1, 10):
            return cls("compress", low, high, ("1-4", "5", "6", "7", "8", "9-10"))
        return cls("range", low, high, tuple(str(v) for v in range(low, high + 1)))

    @classmethod
    def _quantile(cls, values: np.ndarray, n_classes: int) -> RatingScale:
        if n_classes < 2:
            raise RecipeError(
                f"The 'scale' parameter of DS2 needs at least 2 quantile classes. Got {n_classes} instead."
            )
        edges = np.unique(np.quantile(values, np.arange(1, n_classes) / n_classes))
        edges = edges[edges < values.max()]
        if not len(edges):  # so many at the top that every quantile is the maximum: the top is a class of its own
            edges = np.unique(values)[-2:-1]
        bounds = [float(values.min()), *edges.tolist(), float(values.max())]
        names = tuple(f"{a:.2f}-{b:.2f}" for a, b in pairwise(bounds))
        return cls("quantile", bounds[0], bounds[-1], names, tuple(edges.tolist()))

    @classmethod
    def _detect(cls, values: np.ndarray) -> RatingScale:
        if not np.array_equal(values, np.round(values)):
            return cls._quantile(values, N_QUANTILES)
        for low, high in ((1, 5), (0, 5), (1, 10)):
            if values.min() >= low and values.max() <= high:
                return cls._range(low, high, values)
        raise DataError(
            f"The ratings run from {values.min():g} to {values.max():g}, which fits neither 1-5, 0-5 nor 1-10; "
            "give the scale with --scale."
        )

    def classes(self, values: np.ndarray) -> np.ndarray:
        """Class of each rating.

        Parameters
        ----------
        values : ndarray of shape (n,), float64
            Ratings; NaN where there is none. A rating between two whole numbers is rounded, halves upward.

        Returns
        -------
        ndarray of shape (n,), int64
            0..K-1, and -1 where there is no rating: a missing rating is never a zero.

        Examples
        --------
        >>> RatingScale.parse("1-10", np.array([1.0])).classes(np.array([4, 5, 9, np.nan])).tolist()
        [0, 1, 5, -1]
        """
        measured = ~np.isnan(values)
        out = np.full(len(values), MISSING, dtype=np.int64)
        if self.kind == "quantile":
            out[measured] = np.searchsorted(self.edges, values[measured], side="left")
            return out
        whole = np.floor(values[measured] + 0.5).astype(np.int64)
        out[measured] = COMPRESSED[whole] if self.kind == "compress" else whole - int(self.low)
        return out
