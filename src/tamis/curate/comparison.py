"""What changed between two rating runs, or between two selections."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data import Signal
from tamis.errors import DataError
from tamis.evidence.agreement import agreement, rank_correlation
from tamis.evidence.resampling import to_json
from tamis.runs.digests import derive_seed
from tamis.select import Selection

MOST = 20
MAX_LEVELS = 31
"""Distinct whole ratings up to which two raters are shown as a joint table."""
UNDECIDED = "undecided"


def compare_ratings(a: Signal, b: Signal, *, seed: int) -> dict[str, Any]:
    """Compare two signals on the units that both hold, as JSON values.

    Parameters
    ----------
    a, b : Signal
    seed : int
        Of the intervals.

    Returns
    -------
    dict
        ``units`` (``shared``, ``only_a``, ``only_b``), ``criteria`` (those that both have) and ``pairs``: for each
        criterion every rater of ``a`` with every rater of ``b``; two raters of one name come first. A pair holds
        ``agreement`` (see :class:`tamis.evidence.agreement.Agreement`; ``difference`` is a minus b), ``statuses``
        (``[state in a, state in b, units]``; a unit that a rater's signal does not hold is ``absent``),
        ``status_changed`` (units whose state differs), ``most_changed`` (units whose ratings differ most) and
        ``joint`` (``levels_a``, ``levels_b``, ``counts``; None unless both rate in few whole numbers).

    Raises
    ------
    DataError
        If they share no unit, or no criterion.

    Examples
    --------
    >>> a = Signal.from_frame([{"id": "x", "value": 5}, {"id": "y", "value": 3}], rater="old")
    >>> b = Signal.from_frame([{"id": "x", "value": 4}, {"id": "y", "value": None}], rater="new")
    >>> [pair] = compare_ratings(a, b, seed=0)["pairs"]
    >>> pair["statuses"], pair["most_changed"]
    ([['ok', 'missing', 1], ['ok', 'ok', 1]], [{'unit_id': 'x', 'a': 5.0, 'b': 4.0, 'change': -1.0}])
    """
    units_a, units_b = (set(signal.frame["unit_id"].unique().to_list()) for signal in (a, b))
    shared = units_a & units_b
    if not shared:
        raise DataError(
            f"The two signals share no unit: the first holds {len(units_a)}, e.g. {min(units_a, default='none')!r}, "
            f"the second {len(units_b)}, e.g. {min(units_b, default='none')!r}; compare ratings of the same pool."
        )
    criteria = [name for name in a.criteria if name in b.criteria]
    if not criteria:
        raise DataError(
            f"The two signals share no criterion: the first is about {', '.join(a.criteria)}, the second about "
            f"{', '.join(b.criteria)}."
        )
    return {
        "units": {"shared": len(shared), "only_a": len(units_a - shared), "only_b": len(units_b - shared)},
        "criteria": criteria,
        "pairs": [pair for name in criteria for pair in _rater_pairs(a, b, name, shared, seed)],
    }


def compare_selections(a: Selection, b: Selection, *, seed: int = 0) -> dict[str, Any]:
    """Compare two selections on the units that both name, as JSON values.

    Parameters
    ----------
    a, b : Selection
    seed : int, default 0
        Of the interval of the rank correlation.

    Returns
    -------
    dict
        ``units`` (as in :func:`compare_ratings`), ``chosen`` (``both``, ``only_a``, ``only_b`` and ``jaccard``, their
        overlap as a share of what either chose; None if nothing was; units that only one selection names count here
        too), ``scores`` (``n``, ``spearman`` as ``[value, low, high]``), ``decisions`` (``[in a, in b, units]``),
        ``changed`` (how many units got another decision) and ``first_changed``: twenty of them with both reasons, those
        that stand highest in ``a`` first.

    Raises
    ------
    DataError
        If they share no unit.

    Examples
    --------
    >>> a = Selection(pl.DataFrame({"unit_id": ["x", "y"], "decision": ["keep", "drop"], "reason": ["best", "worst"]}))
    >>> b = Selection(pl.DataFrame({"unit_id": ["x", "y"], "decision": ["keep", "keep"], "reason": ["fine", "fine"]}))
    >>> found = compare_selections(a, b)
    >>> found["chosen"], found["first_changed"][0]["reason_b"]
    ({'both': 1, 'only_a': 0, 'only_b': 1, 'jaccard': 0.5}, 'fine')
    """
    both = a.frame.join(b.frame, on="unit_id", how="inner", suffix="_b", maintain_order="left")
    if both.is_empty():
        raise DataError(
            f"The two selections share no unit (they name {len(a)} and {len(b)}); compare selections from one pool."
        )
    chosen_a, chosen_b = set(a.kept), set(b.kept)
    either = len(chosen_a | chosen_b)
    both = both.with_columns(pl.col("decision", "decision_b").fill_null(UNDECIDED))
    changed = both.filter(pl.col("decision") != pl.col("decision_b")).sort("rank", nulls_last=True, maintain_order=True)
    x, y = (both[name].fill_null(float("nan")).to_numpy() for name in ("score", "score_b"))
    return {
        "units": {"shared": len(both), "only_a": len(a) - len(both), "only_b": len(b) - len(both)},
        "chosen": {
            "both": len(chosen_a & chosen_b),
            "only_a": len(chosen_a - chosen_b),
            "only_b": len(chosen_b - chosen_a),
            "jaccard": len(chosen_a & chosen_b) / either if either else None,
        },
        "scores": {
            "n": int((~np.isnan(x) & ~np.isnan(y)).sum()),
            "spearman": to_json(rank_correlation(x, y, rng=np.random.default_rng(derive_seed(seed, "scores")))),
        },
        "decisions": _counted(both, "decision", "decision_b"),
        "changed": len(changed),
        "first_changed": changed.head(MOST)
        .select(
            "unit_id",
            pl.col("decision").alias("a"),
            pl.col("decision_b").alias("b"),
            pl.col("reason").alias("reason_a"),
            "reason_b",
        )
        .to_dicts(),
    }


def _rater_pairs(a: Signal, b: Signal, criterion: str, shared: set[str], seed: int) -> list[dict[str, Any]]:
    sides = []
    for signal in (a, b):
        frame = signal.frame.filter(
            (pl.col("criterion") == criterion) & pl.col("unit_id").is_in(pl.Series(sorted(shared)).implode())
        ).select("unit_id", "value", pl.col("status").cast(pl.String), "rater")
        sides.append(frame.partition_by("rater", maintain_order=True, as_dict=True, include_key=False))
    names = [(one, two) for (one,) in sides[0] for (two,) in sides[1]]
    ordered = sorted(names, key=lambda pair: pair[0] != pair[1])
    return [
        {
            "criterion": criterion,
            "a": one,
            "b": two,
            **_pair(sides[0][(one,)], sides[1][(two,)], derive_seed(seed, criterion, str(one), str(two))),
        }
        for one, two in ordered
    ]


def _pair(one: pl.DataFrame, two: pl.DataFrame, seed: int) -> dict[str, Any]:
    both = one.join(two, on="unit_id", how="full", coalesce=True, suffix="_b", maintain_order="left_right")
    both = both.with_columns(pl.col("status", "status_b").fill_null("absent"))
    x, y = (both[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("value", "value_b"))
    change = both.select("unit_id", a=pl.col("value"), b=pl.col("value_b")).with_columns(
        change=pl.col("b") - pl.col("a")
    )
    most = change.filter(pl.col("change").is_not_null() & (pl.col("change") != 0))
    return {
        "agreement": agreement(x, y, rng=np.random.default_rng(seed)).to_dict(),
        "statuses": _counted(both, "status", "status_b"),
        "status_changed": int((both["status"] != both["status_b"]).sum()),
        "most_changed": most.sort(pl.col("change").abs(), "unit_id", descending=[True, False]).head(MOST).to_dicts(),
        "joint": _joint(x, y),
    }


def _joint(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, Any] | None:
    measured = ~np.isnan(x) & ~np.isnan(y)
    sides = [np.unique(values[measured], return_inverse=True) for values in (x, y)]
    few = all(0 < len(levels) <= MAX_LEVELS and np.array_equal(levels, np.round(levels)) for levels, _ in sides)
    if not few:
        return None
    (rows, i), (columns, j) = sides
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    np.add.at(counts, (i, j), 1)
    return {"levels_a": rows.tolist(), "levels_b": columns.tolist(), "counts": counts.tolist()}


def _counted(frame: pl.DataFrame, a: str, b: str) -> list[list[Any]]:
    """Rows of (state in a, state in b, n), the most frequent first."""
    counted = frame.group_by(a, b).len("n").sort("n", a, b, descending=[True, False, False])
    return [list(row) for row in counted.rows()]
