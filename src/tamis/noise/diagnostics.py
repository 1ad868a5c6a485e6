"""What can be said about the trustworthiness of an estimated transition matrix without clean labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError
from tamis.noise._inputs import checked_labels, checked_neighbors
from tamis.noise.agreement import implied_flag_rate
from tamis.noise.moments import ConsensusMoments, first_two_labelled

RARE_PRIOR = 0.02
MIN_EXCESS_Z = 4.0
MIN_KAPPA = 0.02
_SINGULAR = 1e16


@dataclass(frozen=True)
class ExcessAgreement:
    """Agreement of an item with its first neighbour beyond what the label frequencies give.

    Parameters
    ----------
    excess : float
        ``sum_a c2[a,a] - sum_a c1[a]^2``; near 0 = labels ignore the features.
    kappa : float
        Cohen's kappa between own and first neighbour's label: excess over chance as a share of what is possible.
    z : float or None
        Excess over chance in standard errors under independence; None for moments without counts.
    """

    excess: float
    kappa: float
    z: float | None

    @property
    def follows_features(self) -> bool:
        """Whether the excess is both significant (z >= 4) and large enough to matter (kappa >= 0.02)."""
        return (self.z is None or self.z >= MIN_EXCESS_Z) and self.kappa >= MIN_KAPPA


def excess_agreement(moments: ConsensusMoments) -> ExcessAgreement:
    """Test whether labels agree inside neighbourhoods more often than independent labels would.

    The statistic is ``sum_a q[a,a] - r[a] s[a]`` with q the raw frequencies of (own, first neighbour), r and s its
    margins, so that hubs with a common label do not count as agreement. Its variance under independence is at most
    ``2 v / E`` with ``v = s2 - 2 s3 + s2^2``, ``s_m = sum_a r[a]^m``: the doubly centred match indicator is
    uncorrelated between pairs that share one item, and a directed first-neighbour graph names a pair at most twice.
    The bound is the choice made here; z is therefore conservative on one graph, and too large for moments summed
    over overlapping rounds.

    Examples
    --------
    >>> from tamis.noise.moments import triple_moments
    >>> same = triple_moments([[0, 0, 0]] * 50 + [[1, 1, 1]] * 50, 2)
    >>> excess_agreement(same)
    ExcessAgreement(excess=0.5, kappa=1.0, z=7.07)
    """
    excess = float(np.trace(moments.c2) - (moments.c1**2).sum())
    joint = moments.counts.sum(axis=2) / moments.n_triples if moments.n_triples else moments.c2
    own, nearest = joint.sum(axis=1), joint.sum(axis=0)
    chance = float(own @ nearest)
    if chance >= 1.0:  # a single label everywhere: agreement says nothing
        return ExcessAgreement(excess=excess, kappa=0.0, z=0.0)
    beyond = float(np.trace(joint)) - chance
    second, third = float((own**2).sum()), float((own**3).sum())
    variance = 2.0 * (second - 2.0 * third + second**2) / max(1, moments.n_triples)
    z = beyond / math.sqrt(variance) if moments.n_triples else None
    return ExcessAgreement(excess=excess, kappa=beyond / (1.0 - chance), z=z)


@dataclass(frozen=True, eq=False)
class NoiseDiagnostics:
    """Everything measured about an estimated transition matrix besides the matrix itself.

    Parameters
    ----------
    agreement : ExcessAgreement
        Whether labels follow the features at all.
    row_max : ndarray of bool, shape (K,)
        Whether ``T_ii`` is its row's maximum.
    rare : ndarray of bool, shape (K,)
        Whether ``p_i < 0.02``: such a row is not identified.
    condition_number : float
        2-norm condition number of T, at most 1e16; a large one means rows that look alike.
    marginal_gap : float
        ``||T'p - c1||_2``, how far the fit misses the label frequencies.
    flag_rate : ndarray of float64, shape (K,)
        Share r_i of each observed class that the rank rule would flag.
    observed : ndarray of float64, shape (K,)
        Label frequencies behind ``flag_rate``.
    widths : ndarray of float64, shape (K, K), or None
        Widths of the bootstrap intervals.
    duplicate_share : float
        Share of rows that were exact copies (to be merged before the graph is built).
    namings_agree : bool
        Whether the ordinal sort and the Hungarian assignment name the hidden classes alike.
    """

    agreement: ExcessAgreement
    row_max: NDArray[np.bool_]
    rare: NDArray[np.bool_]
    condition_number: float
    marginal_gap: float
    flag_rate: NDArray[np.float64]
    observed: NDArray[np.float64]
    widths: NDArray[np.float64] | None
    duplicate_share: float
    namings_agree: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers that JSON can hold."""
        return {
            "excess": self.agreement.excess,
            "kappa": self.agreement.kappa,
            "excess_z": self.agreement.z,
            "row_max": self.row_max.tolist(),
            "rare": self.rare.tolist(),
            "condition_number": self.condition_number,
            "marginal_gap": self.marginal_gap,
            "flag_rate": self.flag_rate.tolist(),
            "observed": self.observed.tolist(),
            "widths": None if self.widths is None else self.widths.tolist(),
            "duplicate_share": self.duplicate_share,
            "namings_agree": self.namings_agree,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NoiseDiagnostics:
        """Rebuild what `to_dict` returned."""
        return cls(
            agreement=ExcessAgreement(excess=data["excess"], kappa=data["kappa"], z=data["excess_z"]),
            row_max=np.asarray(data["row_max"], dtype=bool),
            rare=np.asarray(data["rare"], dtype=bool),
            condition_number=float(data["condition_number"]),
            marginal_gap=float(data["marginal_gap"]),
            flag_rate=np.asarray(data["flag_rate"], dtype=np.float64),
            observed=np.asarray(data["observed"], dtype=np.float64),
            widths=None if data["widths"] is None else np.asarray(data["widths"], dtype=np.float64),
            duplicate_share=float(data["duplicate_share"]),
            namings_agree=bool(data["namings_agree"]),
        )


def diagnose(
    T: NDArray[np.float64],
    p: NDArray[np.float64],
    moments: ConsensusMoments,
    *,
    widths: NDArray[np.float64] | None = None,
    duplicate_share: float = 0.0,
    namings_agree: bool = True,
    observed: NDArray[np.float64] | None = None,
) -> NoiseDiagnostics:
    """Compute the diagnostics of a fitted matrix; nothing here needs clean labels.

    Parameters
    ----------
    T, p : ndarray, shapes (K, K) and (K,)
        The fit.
    moments : ConsensusMoments
        What it was fitted to.
    widths : ndarray, shape (K, K), optional
        Bootstrap interval widths.
    duplicate_share : float, default=0.0
        Share of exact copies among the rows.
    namings_agree : bool, default=True
        Whether both ways of naming hidden classes gave the same order.
    observed : ndarray, shape (K,), optional
        Label frequencies of the whole pool; those of the triples by default.

    Examples
    --------
    >>> from tamis.noise.moments import model_moments
    >>> T, p = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.5, 0.5])
    >>> diagnose(T, p, model_moments(T, p)).row_max
    array([ True,  True])
    """
    frequencies = moments.c1 if observed is None else observed
    return NoiseDiagnostics(
        agreement=excess_agreement(moments),
        row_max=np.diagonal(T) >= T.max(axis=1),
        rare=p < RARE_PRIOR,
        condition_number=min(float(np.linalg.cond(T)), _SINGULAR),
        marginal_gap=float(np.linalg.norm(T.T @ p - moments.c1)),
        flag_rate=implied_flag_rate(T, p, frequencies),
        observed=frequencies,
        widths=widths,
        duplicate_share=duplicate_share,
        namings_agree=namings_agree,
    )


def two_nn_purity(truth: ArrayLike, idx: ArrayLike) -> float:
    """Return the share of items whose two nearest neighbours have the item's own true class.

    This measures the clusterability that HOC assumes; it can only be computed where the truth is known.

    Parameters
    ----------
    truth : array-like of int, shape (N,)
        True classes, -1 unknown: such items are skipped, also as neighbours.
    idx : array-like of int, shape (N, k)
        Neighbours ascending by distance, self excluded.

    Raises
    ------
    DataError
        If no item has a known class and two neighbours with known classes.

    Examples
    --------
    >>> two_nn_purity([0, 0, 0, 1], [[1, 2], [0, 2], [0, 1], [0, 1]])
    0.75
    """
    values = np.asarray(truth)
    n_classes = int(values.max()) + 1 if values.size else 1
    known = checked_labels(values, max(n_classes, 1), "two_nn_purity")
    neighbors = checked_neighbors(idx, known.shape[0], "two_nn_purity", at_least=2)
    first, second = first_two_labelled(known, neighbors)
    whole = (known >= 0) & (second >= 0)
    if not whole.any():
        raise DataError("two_nn_purity expects items with known classes and two such neighbours. Got none.")
    return float(((first == known) & (second == known))[whole].mean())
