"""Scores of layers that need no model, and what all scores must hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, RecipeError, parameter_error
from tamis.runs.digests import derive_seed


def reverse_scores(n: int) -> NDArray[np.float64]:
    """Score of each of ``n`` layers that prunes the last ones first (arXiv 2411.15558, "reverse-order").

    Examples
    --------
    >>> reverse_scores(4).tolist()
    [3.0, 2.0, 1.0, 0.0]
    """
    _require_layers("reverse_scores", n)
    return np.arange(n, dtype=np.float64)[::-1].copy()


def random_scores(n: int, seed: int = 42) -> NDArray[np.float64]:
    """Score of each of ``n`` layers that prunes them in random order: each rank from 0 to ``n - 1`` once.

    The layers that a smaller k prunes are among those that a larger one does.

    Examples
    --------
    >>> sorted(random_scores(4).tolist()), bool((random_scores(9) == random_scores(9, seed=43)).all())
    ([0.0, 1.0, 2.0, 3.0], False)
    """
    _require_layers("random_scores", n)
    rng = np.random.default_rng(derive_seed(seed, "layers in random order"))
    return rng.permutation(n).astype(np.float64)


def require_finite(
    criterion: str, scores: NDArray[np.float64], layers: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Return the scores if all are finite.

    Parameters
    ----------
    criterion : str
        What the message calls them.
    scores : ndarray of float64, shape (C,)
    layers : sequence of int, optional
        Whose they are. Default: layers 0 to C - 1.

    Raises
    ------
    DataError
        If one is not: it is no sort key.

    Examples
    --------
    >>> require_finite("taylor", np.array([1.0, np.nan]))
    Traceback (most recent call last):
    tamis.errors.DataError: The criterion 'taylor' gives no finite score for the layers [1]; compute in float32
    (dtype='float32'), and if that does not help, look for damaged weights.
    """
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        named = [at if layers is None else layers[at] for at in bad.tolist()]
        raise DataError(
            f"The criterion {criterion!r} gives no finite score for the layers {named}; compute in float32 "
            "(dtype='float32'), and if that does not help, look for damaged weights."
        )
    return scores


def free_layers(criterion: str, allowed: NDArray[np.bool_], n: int, k: int) -> list[int]:
    """Return the layers that may be pruned, in order.

    Parameters
    ----------
    criterion : str
        What the message calls it.
    allowed : ndarray of bool, shape (n,)
        Whether each of the network's ``n`` layers may be pruned.
    n, k : int
        Layers of the network, and how many are to be pruned.

    Raises
    ------
    RecipeError
        If ``allowed`` is not one flag a layer, or fewer than ``k`` are true.

    Examples
    --------
    >>> free_layers("sleb", np.array([False, True, True, False]), 4, 2)
    [1, 2]
    """
    if allowed.shape != (n,) or allowed.dtype != np.bool_:
        got = f"{allowed.dtype} of shape {allowed.shape}"
        raise parameter_error(criterion, "allowed", f"one bool for each of the {n} layers", got)
    free = [int(layer) for layer in np.flatnonzero(allowed)]
    if k < 1:
        raise parameter_error(criterion, "k", "an int >= 1", k)
    if len(free) < k:
        raise RecipeError(
            f"The criterion {criterion!r} is to prune {k} layers, and only {len(free)} of the {n} are free: {free}; "
            "prune fewer or protect fewer."
        )
    return free


def _require_layers(owner: str, n: int) -> None:
    if n < 1:
        raise parameter_error(owner, "n", "an int >= 1", n)
