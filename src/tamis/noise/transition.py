"""The one-call estimate of a transition matrix from noisy labels and a neighbour graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tamis.errors import parameter_error
from tamis.noise._inputs import checked_labels
from tamis.noise.agreement import label_frequencies
from tamis.noise.bootstrap import TransitionBootstrap, bootstrap_transition
from tamis.noise.consensus import consensus_loss
from tamis.noise.diagnostics import diagnose
from tamis.noise.fit import ConsensusFit, Naming, fit_transition, name_classes
from tamis.noise.matrix import TransitionMatrix
from tamis.noise.moments import count_moments

__all__ = [
    "ConsensusFit",
    "TransitionBootstrap",
    "TransitionMatrix",
    "bootstrap_transition",
    "consensus_loss",
    "estimate_transition",
    "fit_transition",
    "name_classes",
]


def estimate_transition(
    labels: ArrayLike,
    idx: ArrayLike,
    n_classes: int,
    *,
    ordinal: bool = True,
    naming: Naming = "matching",
    n_restarts: int = 4,
    n_bootstrap: int = 100,
    n_steps: int = 1501,
    duplicate_share: float = 0.0,
    class_names: Sequence[str] | None = None,
    seed: int | np.random.Generator,
) -> TransitionMatrix:
    """Estimate how often each true class is written down as each label, without any clean label.

    Parameters
    ----------
    labels : array-like of int, shape (N,)
        Noisy labels or scores 0..K-1, -1 missing.
    idx : array-like of int, shape (N, k)
        Nearest neighbours, ascending, self excluded, built after exact duplicates were merged (one row and one label
        per unique item). k of about 10 leaves room for missing labels.
    n_classes : int
        Number of classes K, at least 2.
    ordinal : bool, default=True
        Whether classes are ordered scores: warnings then speak of scores, and say if the two namings disagree.
    naming : {"matching", "order", "none"}, default="matching"
        How hidden classes are named, see `name_classes`.
    n_restarts, n_steps : int
        See `fit_transition`.
    n_bootstrap : int, default=100
        Replicates for the 95 % intervals; 0 for none.
    duplicate_share : float, default=0.0
        Share of rows that were exact copies, carried into the diagnostics.
    class_names : sequence of str, optional
        Names used in warnings and frames.
    seed : int or numpy.random.Generator
        Source of restarts and replicates.

    Returns
    -------
    TransitionMatrix

    Raises
    ------
    RecipeError
        If a parameter is out of range.
    DataError
        If labels or neighbours are malformed or give no triple.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([0, 1], 300)
    >>> labels = np.where(rng.random(600) < 0.9, truth, 1 - truth)
    >>> ring = np.arange(600)[:, None] + np.array([[-2, -1, 1, 2]])
    >>> idx = ring % 300 + 300 * truth[:, None]  # neighbours share the true class
    >>> result = estimate_transition(labels, idx, 2, n_bootstrap=20, seed=0)
    >>> result.verdict, bool(abs(result.T - [[0.9, 0.1], [0.1, 0.9]]).max() < 0.06)
    ('usable', True)
    """
    if n_bootstrap != 0 and n_bootstrap < 2:
        raise parameter_error("estimate_transition", "n_bootstrap", "0 or an int in [2, inf)", n_bootstrap)
    if not 0.0 <= duplicate_share <= 1.0:
        raise parameter_error("estimate_transition", "duplicate_share", "a float in [0, 1]", duplicate_share)
    rng = np.random.default_rng(seed)
    own = checked_labels(labels, n_classes, "estimate_transition")
    moments = count_moments(own, idx, n_classes)
    fit = fit_transition(moments, n_restarts=n_restarts, n_steps=n_steps, naming=naming, rng=rng)
    spread = bootstrap_transition(fit, moments, n_bootstrap=n_bootstrap, rng=rng) if n_bootstrap else None
    diagnostics = diagnose(
        fit.T,
        fit.p,
        moments,
        widths=None if spread is None else spread.high - spread.low,
        duplicate_share=duplicate_share,
        namings_agree=fit.namings_agree or not ordinal,
        observed=label_frequencies(own, n_classes),
    )
    return TransitionMatrix.of_fit(
        fit.T,
        fit.p,
        diagnostics=diagnostics,
        low=None if spread is None else spread.low,
        high=None if spread is None else spread.high,
        n_triples=moments.n_triples,
        losses=tuple(float(loss) for loss in fit.losses),
        class_names=None if class_names is None else tuple(class_names),
        ordinal=ordinal,
    )
