"""How far each judge can be trusted, as far as its ratings alone can tell. None of it is accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from tamis.curate.rating.judge_matrices import matrix_findings
from tamis.curate.rating.judge_raters import rater_findings
from tamis.curate.rating.judge_tables import RatingTable, rating_tables
from tamis.curate.scale import RatingScale
from tamis.errors import DataError, did_you_mean, parameter_error
from tamis.evidence.agreement import agreement
from tamis.noise import TransitionMatrix
from tamis.runs.digests import derive_seed

_ROWS = ("unit_id", "characters", "truncated", "suspect")


def judge_findings(
    ratings: pl.DataFrame,
    rows: pl.DataFrame,
    *,
    criterion: str,
    low: int,
    high: int,
    seed: int,
    matrices: Mapping[str, TransitionMatrix] | None = None,
    scales: Mapping[str, RatingScale] | None = None,
) -> dict[str, Any]:
    """Measure distribution, repeatability, agreement, length bias and gaps of judges, as JSON values.

    Every estimate is a list ``[value, low, high]`` with its 95 % interval over units, None for what is not defined.

    Parameters
    ----------
    ratings : pl.DataFrame
        ``unit_id``, ``rater``, ``criterion``, ``sample`` (0-based), ``value`` (null unless ok), ``status`` (ok,
        missing, refused, unparsed); one row a measurement.
    rows : pl.DataFrame
        Units that were to be rated: ``unit_id``, ``characters``, ``truncated``, ``suspect`` (null = not suspect).
    criterion : str
        The overall criterion: the one that comes first, and that the matrices are about.
    low, high : int
        Ends of the scale.
    seed : int
        Of the intervals. Those of one judge do not depend on which others there are.
    matrices : mapping of str to TransitionMatrix, optional
        By rater. For a fair comparison with the repeats it should be estimated from one sample of each unit: the mean
        over samples is less noisy than a single rating.

    scales : mapping of str to RatingScale, optional
        How each rater's ratings became the classes of its matrix. Default: found by the names of the classes.

    Returns
    -------
    dict
        ``criterion``, ``scale``, ``rows`` (counts), ``raters`` (one entry a rater and criterion, the overall criterion
        first; see :func:`~tamis.curate.rating.judge_raters.rater_findings`), ``pairs`` (agreement of every two raters
        by a criterion, on the means over samples) and ``matrices`` (see
        :func:`~tamis.curate.rating.judge_matrices.matrix_findings`).

    Raises
    ------
    RecipeError
        If ``low`` is not below ``high``.
    DataError
        If columns are absent, a unit is unknown, something was measured twice, or nobody rated by ``criterion``.

    Examples
    --------
    >>> units = ["a", "b", "c", "d"]
    >>> ratings = pl.DataFrame({
    ...     "unit_id": units * 2, "rater": ["x"] * 4 + ["y"] * 4, "criterion": "overall", "sample": 0,
    ...     "value": [1.0, 2, 3, 3, 1, 2, 3, None], "status": ["ok"] * 7 + ["refused"],
    ... })
    >>> rows = pl.DataFrame({"unit_id": units, "characters": [10, 20, 30, 40], "truncated": False, "suspect": None})
    >>> found = judge_findings(ratings, rows, criterion="overall", low=1, high=3, seed=0)
    >>> found["pairs"][0]["n"], found["pairs"][0]["exact"][0], found["raters"][1]["status"]["refused"]
    (3, 1.0, 1)
    """
    if low >= high:
        raise parameter_error("judge_findings", "high", f"an int above low = {low}", high)
    absent = [name for name in _ROWS if name not in rows.columns]
    if absent:
        raise DataError(f"The rows rated must have the columns {', '.join(_ROWS)}. Got none called {absent[0]!r}.")
    tables = rating_tables(ratings, rows)
    criteria = list(dict.fromkeys(table.criterion for table in tables))
    if tables and criterion not in criteria:
        raise DataError(f"Nobody rated by the criterion {criterion!r}.{did_you_mean(criterion, criteria)}")
    ordered = sorted(criteria, key=lambda name: name != criterion)
    tables = [table for name in ordered for table in tables if table.criterion == name]
    main = {table.rater: table for table in tables if table.criterion == criterion}
    return {
        "criterion": criterion,
        "scale": [low, high],
        "rows": {
            "n": len(rows),
            "truncated": int(rows["truncated"].fill_null(False).sum()),
            "suspect": len(rows) - rows["suspect"].null_count(),
        },
        "raters": [rater_findings(table, rows, low=low, high=high, seed=seed) for table in tables],
        "pairs": _pairs(tables, seed),
        "matrices": [
            {
                "rater": rater,
                "criterion": criterion,
                **matrix_findings(
                    matrix, main.get(rater), low=low, high=high, seed=seed, scale=(scales or {}).get(rater)
                ),
            }
            for rater, matrix in (matrices or {}).items()
        ],
    }


def _pairs(tables: list[RatingTable], seed: int) -> list[dict[str, Any]]:
    """Agreement of every two raters of a criterion, on units that both measured."""
    found = []
    for one, two in combinations(tables, 2):
        if one.criterion != two.criterion:
            continue
        rng = np.random.default_rng(derive_seed(seed, "pair", one.criterion, one.rater, two.rater))
        compared = agreement(one.means, two.means, rng=rng).to_dict()
        found.append({"criterion": one.criterion, "a": one.rater, "b": two.rater, **compared})
    return found
