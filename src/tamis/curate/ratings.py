"""Ratings of a pool as classes, one set a rater."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tamis.curate.scale import MISSING, RatingScale
from tamis.data import Signal, Table
from tamis.errors import DataError, RecipeError, did_you_mean
from tamis.neighbors import NeighborGraph


@dataclass(frozen=True)
class RaterLabels:
    """One rater's ratings of the n rows of a pool.

    Attributes
    ----------
    rater : str
    scale : RatingScale
    values : ndarray of shape (n,), float64
        As rated; NaN where there is no rating.
    status : ndarray of shape (n,), str
        ``ok``, ``missing``, ``refused`` or ``unparsed``.
    observed : ndarray of shape (n,), int64
        Class, -1 where there is no rating.
    """

    rater: str
    scale: RatingScale
    values: np.ndarray
    status: np.ndarray
    observed: np.ndarray

    def of_groups(self, graph: NeighborGraph) -> np.ndarray:
        """Class of each distinct record: the lower median over its rated copies, -1 if none is rated.

        Returns
        -------
        ndarray of shape (graph.n_unique,), int64
        """
        return _lower_medians(self.observed, graph)

    def classes_of_groups(self, values: np.ndarray, graph: NeighborGraph) -> np.ndarray:
        """Class of each distinct record by other ratings on the same scale, such as true ones."""
        return _lower_medians(self.scale.classes(values), graph)

    def copies_rated_apart(self, graph: NeighborGraph) -> tuple[int, int]:
        """Count (records with several rated copies, those of them whose copies got different classes).

        The second number over the first is noise seen directly, free of every assumption of the matrix.
        """
        rated = self.observed >= 0
        low = np.full(graph.n_unique, np.iinfo(np.int64).max)
        high = np.full(graph.n_unique, -1)
        np.minimum.at(low, graph.group[rated], self.observed[rated])
        np.maximum.at(high, graph.group[rated], self.observed[rated])
        several = np.bincount(graph.group[rated], minlength=graph.n_unique) > 1
        return int(several.sum()), int((several & (low < high)).sum())


def _lower_medians(classes: np.ndarray, graph: NeighborGraph) -> np.ndarray:
    rated = np.flatnonzero(classes >= 0)
    group, observed = graph.group[rated], classes[rated]
    order = np.lexsort((observed, group))
    members, start, count = np.unique(group[order], return_index=True, return_counts=True)
    out = np.full(graph.n_unique, MISSING, dtype=np.int64)
    out[members] = observed[order][start + (count - 1) // 2]
    return out


def labels_by_rater(
    table: Table, ratings: str | Signal | np.ndarray, *, criterion: str, rater: str | None, scale: str
) -> list[RaterLabels]:
    """Align ratings with the pool and turn them into classes, rater by rater.

    Raises
    ------
    DataError
        If there is no rating, all are equal, or one lies outside the scale.
    RecipeError
        If the column, the rater or the criterion does not exist.
    """
    if isinstance(ratings, str):
        signal = Signal.from_column(table, ratings)
    elif isinstance(ratings, Signal):
        signal = ratings
    else:
        signal = _signal_of_array(table, np.asarray(ratings, dtype=np.float64))
    names = signal.raters
    if rater is not None:
        if rater not in names:
            raise RecipeError(f"There is no rater {rater!r} in the ratings.{did_you_mean(rater, names)}")
        names = [rater]
    rated = signal.frame.filter(pl.col("criterion") == criterion)["rater"].unique()
    names = [name for name in names if name in rated]
    if not names:
        raise RecipeError(
            f"The ratings have no criterion {criterion!r}.{did_you_mean(criterion, signal.criteria)} "
            "Choose one with --criterion."
        )
    aligned = {name: signal.aligned(table, rater=name, criterion=criterion) for name in names}
    for name, (values, _) in aligned.items():
        measured = values[~np.isnan(values)]
        if len(measured) == 0:
            raise DataError(f"The rater {name!r} has no usable rating of criterion {criterion!r} for this pool.")
        if measured.min() == measured.max():
            raise DataError(
                f"All {len(measured)} ratings of the rater {name!r} equal {measured[0]:g}: there is nothing to tell "
                "apart; rate again with a rubric that spreads the scores."
            )
    pooled = np.concatenate([v[~np.isnan(v)] for v, _ in aligned.values()])
    shared = RatingScale.parse(scale, pooled)
    labels = []
    for name, (values, status) in aligned.items():
        # quantiles are cut per rater; a range is one for all, so that classes mean the same
        measured = values[~np.isnan(values)]
        own = RatingScale.parse(scale, measured) if shared.kind == "quantile" else shared
        labels.append(RaterLabels(name, own, values, np.asarray(status), own.classes(values)))
    return labels


def require_measured(
    table: Table, signal: Signal, *, criterion: str, rater: str | None, scale: str, truth: np.ndarray | None = None
) -> None:
    """Raise before anything is computed if the ratings, or the true ones, cannot be used."""
    require_truth(truth, labels_by_rater(table, signal, criterion=criterion, rater=rater, scale=scale))


def require_truth(truth: np.ndarray | None, labels: Sequence[RaterLabels]) -> None:
    """Check that true ratings lie on the scale of every rater.

    Raises
    ------
    DataError
        If there is not one true rating (or NaN) a row, or one lies outside a scale that has fixed ends.
    """
    if truth is None:
        return
    values = np.asarray(truth, dtype=np.float64)
    for rater in labels:
        if values.shape != rater.values.shape:
            raise DataError(f"The true ratings have shape {values.shape}; expected {rater.values.shape}, one a row.")
        scale = rater.scale
        if not ((rater.observed >= 0) & ~np.isnan(values)).any():
            raise DataError(f"No record that the rater {rater.rater!r} rated has a true rating; leave truth out.")
        outside = values[(values < scale.low) | (values > scale.high)]
        if scale.kind != "quantile" and len(outside):
            raise DataError(
                f"{len(outside)} true ratings lie outside the scale {scale.low:g}-{scale.high:g} of the rater "
                f"{rater.rater!r} (first: {outside[0]:g}); truth must be given on the raters' scale."
            )


def combine_scores(curated: Sequence[np.ndarray], how: str) -> np.ndarray:
    """One score a row from the raters' curated classes; a rater without a rating for a row has no say in it.

    Returns
    -------
    ndarray of shape (n,), float64
        NaN where no rater has a rating.
    """
    stacked = np.array(curated, dtype=np.float64)
    stacked[stacked < 0] = np.nan
    reductions: dict[str, Callable[..., np.ndarray]] = {
        "mean": np.nanmean, "median": np.nanmedian, "min": np.nanmin, "max": np.nanmax,
    }  # fmt: skip
    out = np.full(stacked.shape[1], np.nan)
    rated = ~np.isnan(stacked).all(axis=0)
    out[rated] = reductions[how](stacked[:, rated], axis=0)
    return out


def _signal_of_array(table: Table, values: np.ndarray) -> Signal:
    if values.shape != (len(table),):
        raise DataError(f"The ratings have shape {values.shape}; expected ({len(table)},), one a row.")
    return Signal.from_frame(pl.DataFrame({"unit_id": table.ids, "rating": values}))
