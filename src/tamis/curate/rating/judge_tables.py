"""Ratings of one judge by one criterion as a table of units and samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.signal_checks import STATUSES
from tamis.errors import DataError

_COLUMNS = ("unit_id", "rater", "criterion", "sample", "value", "status")
_KEY = ["unit_id", "rater", "criterion", "sample"]


@dataclass(frozen=True, eq=False)
class RatingTable:
    """What one judge said by one criterion.

    Attributes
    ----------
    rater, criterion : str
    values : ndarray of float64, shape (n, k)
        Rows as the rows rated, columns as the samples; nan where there is no rating.
    status : dict of str to int
        Measurements in each state. One that has no row at all counts as missing.
    """

    rater: str
    criterion: str
    values: NDArray[np.float64]
    status: dict[str, int]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Whether a unit has a rating, shape (n,)."""
        return np.asarray((~np.isnan(self.values)).any(axis=1))

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean over a unit's samples, shape (n,); nan where there is none."""
        counts = (~np.isnan(self.values)).sum(axis=1)
        sums = np.nansum(self.values, axis=1)
        means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means


def rating_tables(ratings: pl.DataFrame, rows: pl.DataFrame) -> list[RatingTable]:
    """Split ratings by rater and criterion, in the order in which they occur.

    Parameters
    ----------
    ratings : pl.DataFrame
        ``unit_id, rater, criterion, sample, value, status``, one row a measurement.
    rows : pl.DataFrame
        ``unit_id`` of every unit that was to be rated.

    Raises
    ------
    DataError
        If a column is absent, a unit is not among the rows, or something was measured twice.

    Examples
    --------
    >>> ratings = pl.DataFrame({
    ...     "unit_id": ["a", "a"], "rater": "j", "criterion": "overall", "sample": [0, 1], "value": [7.0, None],
    ...     "status": ["ok", "refused"],
    ... })
    >>> [table] = rating_tables(ratings, pl.DataFrame({"unit_id": ["a", "b"]}))
    >>> table.values.tolist(), table.status
    ([[7.0, nan], [nan, nan]], {'ok': 1, 'missing': 2, 'refused': 1, 'unparsed': 0})
    """
    _check(ratings, rows)
    places = rows.select("unit_id").with_row_index("place")
    placed = ratings.join(places, on="unit_id", how="left", maintain_order="left")
    if placed["place"].null_count():
        unit = placed.filter(pl.col("place").is_null())["unit_id"][0]
        raise DataError(f"There are ratings of the unit {unit!r}, which is not among the {len(rows)} rows rated.")
    groups = placed.partition_by("rater", "criterion", maintain_order=True, as_dict=True)
    return [_table(str(rater), str(criterion), part, len(rows)) for (rater, criterion), part in groups.items()]


def _check(ratings: pl.DataFrame, rows: pl.DataFrame) -> None:
    absent = [name for name in _COLUMNS if name not in ratings.columns]
    if absent or "unit_id" not in rows.columns:
        raise DataError(
            f"Judges are compared by ratings with the columns {', '.join(_COLUMNS)} and rows with unit_id. "
            f"Got ratings with {', '.join(ratings.columns)} and rows with {', '.join(rows.columns)}."
        )
    for frame, key, what in ((ratings, _KEY, "ratings"), (rows, ["unit_id"], "rows")):
        twice = frame.select(key).filter(frame.select(key).is_duplicated())
        if len(twice):
            raise DataError(
                f"The {what} hold {', '.join(str(v) for v in twice.row(0))} more than once; give each once."
            )


def _table(rater: str, criterion: str, part: pl.DataFrame, n: int) -> RatingTable:
    samples, column = np.unique(part["sample"].to_numpy(), return_inverse=True)
    values = np.full((n, len(samples)), np.nan)
    values[part["place"].to_numpy(), column] = part["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    seen = dict(part["status"].cast(pl.String).value_counts().iter_rows())
    status = {name: int(seen.get(name, 0)) for name in STATUSES}
    status["missing"] += n * len(samples) - len(part)
    return RatingTable(rater, criterion, values, status)
