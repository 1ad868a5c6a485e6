"""A judge's transition matrix from neighbours beside its own repeats: two looks at one noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.curate.rating.judge_tables import RatingTable
from tamis.curate.scale import RatingScale
from tamis.errors import DataError, RecipeError
from tamis.evidence.resampling import UNDEFINED, Estimate, difference_interval, estimates, to_json
from tamis.noise import TransitionMatrix, model_moments
from tamis.runs.digests import derive_seed

Floats = NDArray[np.float64]
_DRAWS = 1000
_Z = 1.959964


def matrix_findings(
    matrix: TransitionMatrix,
    table: RatingTable | None,
    *,
    low: int,
    high: int,
    seed: int,
    scale: RatingScale | None = None,
) -> dict[str, Any]:
    """Hold the repeat that a matrix implies against the repeat that was measured, on the same classes.

    A repeat compares two noisy ratings and not a rating with the truth, so it is not T that a retest can be compared
    with but ``c2 = T' diag(p) T`` (the second moment of Zhu, Song and Liu, ICML 2021): two ratings of one record are
    equal with probability ``sum_a c2[a, a]``. The two can differ although both are right: the matrix describes the
    ratings it was estimated from (means over samples vary less than single ratings), and neighbours may deserve
    different ratings, which the matrix counts as noise.

    Parameters
    ----------
    matrix : TransitionMatrix
        From neighbours.
    table : RatingTable or None
        The judge's ratings; the repeat is left out without repeated samples.
    low, high : int
        Ends of the scale.
    seed : int
    scale : RatingScale, optional
        How ratings became the classes of the matrix. Default: the scale whose classes have the names of the matrix.

    Returns
    -------
    dict
        ``verdict``, ``warnings``, ``transition`` (the matrix), ``diagonal`` (mean of ``T_ii``, weighted by p),
        ``neighbors`` (kappa to the first neighbour, z), ``implied`` (share of equal ratings in a repeat under T),
        ``repeat`` (None, or ``n``, ``exact``, ``kappa``, ``by_class``, ``row_l1``), ``gap`` (measured minus implied),
        ``agree`` (whether the interval of the gap holds 0; None if it is unknown), ``clusterability`` (kappa of
        neighbours over kappa of repeats: the share of neighbours with the record's own true class if the others have
        any class; its interval covers the repeats only), ``reason`` (why there is no repeat).
    """
    rng = np.random.default_rng(derive_seed(seed, "" if table is None else table.rater, "matrix"))
    diagonal, implied = _propagated(matrix, rng)
    found: dict[str, Any] = {
        "verdict": matrix.verdict,
        "warnings": matrix.warnings(),
        "transition": matrix.to_dict(),
        "diagonal": to_json(diagonal),
        "neighbors": {"kappa": matrix.diagnostics.agreement.kappa, "z": matrix.diagnostics.agreement.z},
        "implied": to_json(implied),
        "repeat": None,
        "gap": None,
        "agree": None,
        "clusterability": None,
        "reason": "",
    }
    if table is not None and scale is None:
        scale = matching_scale(matrix.class_names, low, high, table.means)
    if table is None or scale is None:
        return {**found, "reason": "the classes of the matrix are not those of any scale of these ratings"}
    classes = np.column_stack([scale.classes(column) for column in np.clip(table.values, scale.low, scale.high).T])
    repeated = classes[(classes >= 0).sum(axis=1) >= 2]
    if len(repeated) < 2:
        return {**found, "reason": "no row was rated more than once"}
    exact, kappa, joint = _repeat(repeated, matrix.n_classes, rng)
    gap = difference_interval(exact, implied)
    bounded = not np.isnan(gap).any()
    return {
        **found,
        "repeat": {
            "n": len(repeated),
            "exact": to_json(exact),
            "kappa": to_json(kappa),
            **_by_class(matrix, joint),
        },
        "gap": to_json(gap),
        "agree": gap[1] <= 0 <= gap[2] if bounded else None,
        "clusterability": to_json(_over(matrix.diagnostics.agreement.kappa, kappa)),
    }


def implied_repeat(matrix: TransitionMatrix) -> Floats:
    """P(second rating = j | first rating = i) if T were the noise of each rating, shape (K, K); nan for a class unseen.

    Examples
    --------
    >>> from tamis.noise import diagnose
    >>> T, p = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.5, 0.5])
    >>> implied_repeat(TransitionMatrix.of_fit(T, p, diagnostics=diagnose(T, p, model_moments(T, p))))
    array([[0.773, 0.227], [0.278, 0.722]])
    """
    return _conditional(model_moments(matrix.T, matrix.p).c2)


def matching_scale(names: tuple[str, ...], low: int, high: int, means: Floats) -> RatingScale | None:
    """Find the scale whose classes have these names: the whole range, the detected one, or quantiles of the means."""
    measured = np.clip(means[~np.isnan(means)], low, high)
    if not len(measured):
        return None
    for text in (f"{low}-{high}", "auto", f"quantile:{len(names)}"):
        try:
            scale = RatingScale.parse(text, measured)
        except (DataError, RecipeError):
            continue
        if scale.names == names:
            return scale
    return None


def _propagated(matrix: TransitionMatrix, rng: np.random.Generator) -> tuple[Estimate, Estimate]:
    """Mean diagonal and implied equal share, with intervals from the cells' intervals taken as independent."""

    def figures(T: Floats) -> tuple[Floats, Floats]:
        own = np.einsum("i,...ii->...", matrix.p, T)
        return own, np.einsum("i,...ia->...", matrix.p, T**2)

    points = [float(value) for value in figures(matrix.T)]
    if matrix.low is None or matrix.high is None:
        return (points[0], *UNDEFINED[1:]), (points[1], *UNDEFINED[1:])
    spread = (matrix.high - matrix.low) / (2 * _Z)
    drawn = np.maximum(0.0, matrix.T + spread * rng.standard_normal((_DRAWS, *matrix.T.shape)))
    drawn /= np.maximum(drawn.sum(axis=2, keepdims=True), 1e-12)
    ends = [np.quantile(values, [0.025, 0.975]) for values in figures(drawn)]
    # clipping at 0 pulls the draws inwards, so an end may pass the estimate itself
    first, second = ((v, min(v, float(low)), max(v, float(high))) for v, (low, high) in zip(points, ends, strict=True))
    return first, second


def _repeat(classes: NDArray[np.int64], K: int, rng: np.random.Generator) -> tuple[Estimate, Estimate, Floats]:
    """Share of equal pairs, Cohen's kappa of pairs in either order, and their joint frequencies (K, K)."""
    cells, counts = np.unique(classes, axis=0, return_counts=True)
    pairs = np.zeros((len(cells), K * K))
    for s in range(classes.shape[1]):
        for t in range(s + 1, classes.shape[1]):
            both = np.flatnonzero((cells[:, s] >= 0) & (cells[:, t] >= 0))
            np.add.at(pairs, (both, cells[both, s] * K + cells[both, t]), 0.5)
            np.add.at(pairs, (both, cells[both, t] * K + cells[both, s]), 0.5)

    def measure(weights: Floats) -> Floats:
        joint = (weights @ pairs).reshape(-1, K, K)
        joint = joint / joint.sum(axis=(1, 2), keepdims=True)
        equal = np.einsum("bii->b", joint)
        chance = (joint.sum(axis=1) ** 2).sum(axis=1)
        varies = chance < 1 - 1e-12
        kappa = np.divide(equal - chance, 1 - chance, out=np.full(len(equal), np.nan), where=varies)
        return np.column_stack([equal, kappa])

    exact, kappa = estimates(measure, counts, rng=rng)
    joint = (counts @ pairs).reshape(K, K)
    return exact, kappa, np.asarray(joint / joint.sum(), dtype=np.float64)


def _by_class(matrix: TransitionMatrix, joint: Floats) -> dict[str, Any]:
    measured, implied, written = _conditional(joint), implied_repeat(matrix), joint.sum(axis=1)
    distance = np.abs(np.nan_to_num(measured) - np.nan_to_num(implied)).sum(axis=1)
    rows = [
        {
            "class": name,
            "written": float(written[c]),
            "measured": None if np.isnan(measured[c, c]) else float(measured[c, c]),
            "implied": None if np.isnan(implied[c, c]) else float(implied[c, c]),
        }
        for c, name in enumerate(matrix.class_names)
    ]
    return {"by_class": rows, "row_l1": float(written @ distance)}


def _conditional(joint: Floats) -> Floats:
    total = joint.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(joint, total, out=np.full(joint.shape, np.nan), where=total > 0)
    return shares


def _over(value: float, by: Estimate) -> Estimate:
    """Quotient of a figure and an estimate that is clearly above 0, else nan."""
    if not by[1] > 0:
        return UNDEFINED
    low, high = sorted((value / by[1], value / by[2]))
    return value / by[0], low, high
