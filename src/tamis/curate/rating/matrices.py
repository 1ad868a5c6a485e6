"""Each judge's transition matrix, from the neighbours of the records that it rated."""

from __future__ import annotations

import numpy as np
import polars as pl

from tamis.curate.ratings import labels_by_rater
from tamis.curate.scale import RatingScale
from tamis.data import Signal, Table
from tamis.errors import DataError
from tamis.neighbors import knn_graph, unit_rows
from tamis.noise import TransitionMatrix, estimate_transition

MIN_ROWS = 200
"""Rated records below which no matrix is estimated: its intervals would span everything."""
N_NEIGHBORS = 10


def scale_for(values: np.ndarray, low: int, high: int) -> str:
    """How a judge's ratings become classes: the rubric's scale if they are whole numbers, else quantiles.

    Examples
    --------
    >>> scale_for(np.array([1.0, 7.0]), 1, 10), scale_for(np.array([5.3, 7.0]), 1, 10)
    ('1-10', 'quantile')
    """
    return f"{low}-{high}" if np.array_equal(values, np.round(values)) else "quantile"


def judge_matrices(
    ratings: pl.DataFrame, table: Table, vectors: np.ndarray, *, criterion: str, low: int, high: int, seed: int
) -> tuple[dict[str, TransitionMatrix], dict[str, RatingScale], dict[str, str]]:
    """Estimate the matrix of every rater that rated enough records apart, from the first sample of each.

    A mean over samples is less noisy than a rating and would make the judge look better than it is.

    Parameters
    ----------
    ratings : pl.DataFrame
        One row a unit, rater, criterion and sample.
    table : Table
        The n records that were to be rated.
    vectors : ndarray of shape (n, d)
    criterion : str
    low, high : int
        Ends of the rubric's scale.
    seed : int

    Returns
    -------
    matrices : dict of rater to TransitionMatrix
    scales : dict of rater to RatingScale
        How its ratings became the classes of the matrix.
    reasons : dict of rater to str
        Why there is no matrix.
    """
    matrices: dict[str, TransitionMatrix] = {}
    scales: dict[str, RatingScale] = {}
    reasons: dict[str, str] = {}
    graph = None
    first = ratings.filter((pl.col("sample") == 0) & (pl.col("criterion") == criterion))
    for (rater,), frame in first.group_by("rater", maintain_order=True):
        own = Signal.from_frame(frame.drop("sample"))
        values = own.frame["value"].drop_nulls().to_numpy()
        if len(values) < MIN_ROWS:
            reasons[str(rater)] = f"{len(values)} rated records are too few for neighbours; {MIN_ROWS} are needed"
            continue
        try:
            scale = scale_for(values, low, high)
            labels = labels_by_rater(table, own, criterion=criterion, rater=str(rater), scale=scale)[0]
        except DataError as error:
            reasons[str(rater)] = str(error)
            continue
        if graph is None:
            graph = knn_graph(unit_rows(vectors, copy=True), k=min(N_NEIGHBORS, len(table) - 1))
        scales[str(rater)] = labels.scale
        matrices[str(rater)] = estimate_transition(
            labels.of_groups(graph),
            graph.idx,
            labels.scale.n_classes,
            duplicate_share=graph.duplicate_share,
            class_names=labels.scale.names,
            seed=seed,
        )
    return matrices, scales, reasons
