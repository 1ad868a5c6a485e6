"""Bootstrap intervals of a transition matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, parameter_error
from tamis.noise.consensus import MomentTargets, minimise
from tamis.noise.fit import ConsensusFit, check_fit_parameters
from tamis.noise.moments import ConsensusMoments, moments_of_counts

_SMALLEST_WARM_START = 1e-4


@dataclass(frozen=True, eq=False)
class TransitionBootstrap:
    """Percentile intervals of T and p over resampled triples.

    Parameters
    ----------
    low, high : ndarray, shape (K, K)
        Interval of each ``T_ij``.
    p_low, p_high : ndarray, shape (K,)
        Interval of each ``p_i``.
    replicates : ndarray, shape (B, K, K)
        T of every replicate.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p_low: NDArray[np.float64]
    p_high: NDArray[np.float64]
    replicates: NDArray[np.float64]


def bootstrap_transition(
    fit: ConsensusFit,
    moments: ConsensusMoments,
    *,
    n_bootstrap: int = 100,
    n_steps: int = 1501,
    learning_rate: float = 0.1,
    level: float = 0.95,
    rng: np.random.Generator,
) -> TransitionBootstrap:
    """Resample items and refit T, all replicates in one batched run that starts at the fit.

    Resampling items is drawing the K^3 triple counts from a multinomial, since the moments see an item only through
    its triple. Starting at the fit keeps hidden classes from swapping names between replicates.

    Parameters
    ----------
    fit : ConsensusFit
    moments : ConsensusMoments
        The moments behind ``fit``; they must hold counts.
    n_bootstrap : int, default=100
        Replicates.
    n_steps : int, default=1501
        300 steps give the same widths as full refits for well identified rows, and widths a third too small for rare
        classes (p = 0.015, diagonal 0.6); 1501 steps agree there too and cost about 0.5 s for 100 replicates at K = 6.
    learning_rate : float, default=0.1
    level : float, default=0.95
        Coverage asked of the percentile interval.
    rng : numpy.random.Generator

    Returns
    -------
    TransitionBootstrap

    Raises
    ------
    DataError
        If the moments hold no counts.

    Notes
    -----
    Triples of neighbouring items overlap and are treated as independent, so the intervals are rather too narrow; and
    they say nothing about bias from violated clusterability. At a diagonal of 0.45 they are far too narrow even for
    ideal data: they describe the neighbourhood of one local minimum.

    Examples
    --------
    >>> from tamis.noise.fit import fit_transition
    >>> from tamis.noise.moments import triple_moments
    >>> moments = triple_moments([[0, 0, 0]] * 40 + [[1, 1, 1]] * 40 + [[0, 0, 1], [1, 1, 0]], 2)
    >>> rng = np.random.default_rng(0)
    >>> fit = fit_transition(moments, rng=rng)
    >>> result = bootstrap_transition(fit, moments, n_bootstrap=20, rng=rng)
    >>> bool((result.low <= result.high).all())
    True
    """
    check_fit_parameters("bootstrap_transition", n_restarts=1, n_steps=n_steps, learning_rate=learning_rate)
    if n_bootstrap < 2:
        raise parameter_error("bootstrap_transition", "n_bootstrap", "an int in [2, inf)", n_bootstrap)
    if not 0.0 < level < 1.0:
        raise parameter_error("bootstrap_transition", "level", "a float in (0, 1)", level)
    if moments.n_triples == 0:
        raise DataError("bootstrap_transition expects moments counted from data. Got moments without counts.")
    draws = rng.multinomial(moments.n_triples, moments.counts.ravel() / moments.n_triples, size=n_bootstrap)
    symmetric = bool(np.array_equal(moments.c2, moments.c2.T))
    resampled = moments_of_counts(draws.reshape(n_bootstrap, *moments.counts.shape), symmetric=symmetric)
    start = np.log(np.maximum(np.vstack([fit.T, fit.p]), _SMALLEST_WARM_START))
    theta = np.repeat(start[None], n_bootstrap, axis=0)
    solutions, _ = minimise(theta, MomentTargets.of(*resampled), n_steps=n_steps, learning_rate=learning_rate)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(solutions, tails, axis=0)
    return TransitionBootstrap(
        low=low[:-1], high=high[:-1], p_low=low[-1], p_high=high[-1], replicates=solutions[:, :-1].copy()
    )
