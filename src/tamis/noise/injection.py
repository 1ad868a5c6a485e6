"""Noise of known shape, injected on purpose, and ways to break the assumptions that HOC makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, RecipeError, parameter_error
from tamis.noise._inputs import checked_labels

_ORDINAL_DECAY = 0.5
_ROW_SUM_TOLERANCE = 1e-8
_MAX_DRAWS = 10_000


@dataclass(frozen=True, eq=False)
class Injected:
    """Noisy labels with everything known about how they were made.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Noisy labels; -1 where the clean label was missing.
    T : ndarray of float64, shape (K, K)
        Nominal transition matrix, row = clean class.
    realised : ndarray of float64, shape (K, K)
        Frequencies that came out; a row of ``nan`` for a class without items.
    changed : ndarray of bool, shape (N,)
        Whether the label differs from the clean one.
    """

    labels: NDArray[np.int64]
    T: NDArray[np.float64]
    realised: NDArray[np.float64]
    changed: NDArray[np.bool_]


def transition_family(
    kind: Literal["random", "ordinal"], n_classes: int, diagonal: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a transition matrix with the given diagonal and ``T_ii > T_ij``.

    Parameters
    ----------
    kind : {"random", "ordinal"}
        "random" spreads the off-diagonal mass of each row by a flat Dirichlet draw (drawn again while an entry reaches
        the diagonal); "ordinal" puts it on nearby scores, halving with each step away, and draws nothing.
    n_classes : int
        Number of classes K, at least 2.
    diagonal : float
        ``T_ii``, in (0, 1].
    rng : numpy.random.Generator

    Raises
    ------
    RecipeError
        If a parameter is out of range or no such matrix exists with ``T_ii > T_ij``.

    Examples
    --------
    >>> transition_family("ordinal", 3, 0.7, np.random.default_rng(0))
    array([[0.7 , 0.2 , 0.1 ],
           [0.15, 0.7 , 0.15],
           [0.1 , 0.2 , 0.7 ]])
    """
    owner = "transition_family"
    if n_classes < 2:
        raise parameter_error(owner, "n_classes", "an int in [2, inf)", n_classes)
    if not 0.0 < diagonal <= 1.0:
        raise parameter_error(owner, "diagonal", "a float in (0, 1]", diagonal)
    if kind == "ordinal":
        steps = np.abs(np.subtract.outer(np.arange(n_classes), np.arange(n_classes)))
        T = _with_diagonal(_ORDINAL_DECAY**steps, diagonal)
    elif kind == "random":
        T = np.stack([_random_row(i, n_classes, diagonal, rng) for i in range(n_classes)])
    else:
        raise parameter_error(owner, "kind", "'random' or 'ordinal'", kind)
    return checked_transition(T, n_classes, owner)


def checked_transition(T: ArrayLike, n_classes: int | None, owner: str) -> NDArray[np.float64]:
    """Return T as float64 (K, K) after checking that rows are distributions with ``T_ii > T_ij``.

    Raises
    ------
    RecipeError
        If the shape, the row sums or the diagonal are wrong.

    Examples
    --------
    >>> checked_transition([[0.9, 0.1], [0.2, 0.8]], 2, "demo").shape
    (2, 2)
    """
    rows = np.asarray(T, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] != rows.shape[1] or n_classes not in (None, rows.shape[0]):
        raise parameter_error(owner, "T", f"a square matrix of {n_classes or 'K'} classes", rows.shape)
    if not np.isfinite(rows).all() or (rows < 0).any() or np.abs(rows.sum(axis=1) - 1).max() > _ROW_SUM_TOLERANCE:
        raise parameter_error(owner, "T", "rows of probabilities that sum to 1", rows.tolist())
    others = rows - 2 * np.eye(rows.shape[0])
    bad = np.flatnonzero(np.diagonal(rows) <= others.max(axis=1))
    if bad.size:
        raise RecipeError(
            f"{owner} needs T_ii > T_ij in every row, or the true class cannot be recovered. Got "
            f"{rows[bad[0]].tolist()} in row {int(bad[0])}; raise the diagonal."
        )
    return rows


def inject_noise(y: ArrayLike, T: ArrayLike, rng: np.random.Generator) -> Injected:
    """Write each clean label y down as j with probability ``T[y, j]``, independently of everything else.

    Parameters
    ----------
    y : array-like of int, shape (N,)
        Clean labels 0..K-1; -1 stays -1. One uniform is drawn per row whether missing or not, so a missing label does
        not change what happens to the others.
    T : array-like, shape (K, K)
        Rows sum to 1 and ``T_ii > T_ij``.
    rng : numpy.random.Generator

    Returns
    -------
    Injected

    Raises
    ------
    RecipeError
        If T is not such a matrix.
    DataError
        If labels are malformed.

    Examples
    --------
    >>> noisy = inject_noise([0, 1, -1], [[0.9, 0.1], [0.0, 1.0]], np.random.default_rng(0))
    >>> noisy.labels, noisy.changed
    (array([ 0,  1, -1]), array([False, False, False]))
    """
    rows = checked_transition(T, None, "inject_noise")
    n_classes = rows.shape[0]
    clean = checked_labels(y, n_classes, "inject_noise")
    noisy = _categorical(rows, clean, rng)
    noisy[clean < 0] = -1
    known = clean >= 0
    counts = np.bincount(clean[known] * n_classes + noisy[known], minlength=n_classes**2).reshape(n_classes, n_classes)
    total = counts.sum(axis=1, keepdims=True)
    realised = np.divide(counts, total, out=np.full(rows.shape, np.nan), where=total > 0)
    return Injected(labels=noisy, T=rows, realised=realised, changed=noisy != clean)


def draw_truth_triples(p: ArrayLike, n_triples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw ideal 2-NN triples: rows (E, 3) that repeat one true class drawn from the prior ``p``.

    Examples
    --------
    >>> draw_truth_triples([0.0, 1.0], 1, np.random.default_rng(0))
    array([[1, 1, 1]])
    """
    prior = np.asarray(p, dtype=np.float64)
    truth = rng.choice(prior.shape[0], size=n_triples, p=prior / prior.sum())
    return np.repeat(truth[:, None], 3, axis=1).astype(np.int64)


def label_triples(truth_triples: ArrayLike, T: ArrayLike, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw an independent noisy label for every entry of true-class triples (E, 3).

    Examples
    --------
    >>> label_triples([[1, 1, 0]], [[1.0, 0.0], [0.0, 1.0]], np.random.default_rng(0))
    array([[1, 1, 0]])
    """
    truth = _checked_triples(truth_triples, "label_triples")
    return inject_noise(truth.ravel(), T, rng).labels.reshape(-1, 3)


def mix_neighbor_classes(
    truth_triples: ArrayLike,
    n_classes: int,
    share: float,
    rng: np.random.Generator,
    *,
    kind: Literal["random", "adjacent"] = "random",
) -> NDArray[np.int64]:
    """Break clusterability: give a share of the neighbours another true class.

    Parameters
    ----------
    truth_triples : array-like of int, shape (E, 3)
        True classes of item, first and second neighbour. The item's own class is kept.
    n_classes : int
        Number of classes K, at least 2.
    share : float
        Probability in [0, 1] with which each neighbour is changed, independently.
    rng : numpy.random.Generator
    kind : {"random", "adjacent"}, default="random"
        Another class uniformly, or one score up or down (at the ends, the only way there is).

    Returns
    -------
    ndarray of int64, shape (E, 3)

    Examples
    --------
    >>> mix_neighbor_classes([[0, 0, 0]], 2, 1.0, np.random.default_rng(0))
    array([[0, 1, 1]])
    """
    owner = "mix_neighbor_classes"
    truth = _checked_triples(truth_triples, owner).copy()
    if n_classes < 2:
        raise parameter_error(owner, "n_classes", "an int in [2, inf)", n_classes)
    if not 0.0 <= share <= 1.0:
        raise parameter_error(owner, "share", "a float in [0, 1]", share)
    neighbors = truth[:, 1:]
    if kind == "random":
        other = (neighbors + rng.integers(1, n_classes, size=neighbors.shape)) % n_classes
    elif kind == "adjacent":
        step = np.where(rng.random(neighbors.shape) < 0.5, -1, 1)
        step[neighbors == 0] = 1
        step[neighbors == n_classes - 1] = -1
        other = neighbors + step
    else:
        raise parameter_error(owner, "kind", "'random' or 'adjacent'", kind)
    truth[:, 1:] = np.where(rng.random(neighbors.shape) < share, other, neighbors)
    return truth


def copy_first_neighbors(labelled_triples: ArrayLike, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Break independence: make a share of first neighbours exact copies that carry the item's own label.

    Parameters
    ----------
    labelled_triples : array-like of int, shape (E, 3)
        Noisy labels of item, first and second neighbour.
    share : float
        Probability in [0, 1] of a copy.
    rng : numpy.random.Generator

    Examples
    --------
    >>> copy_first_neighbors([[0, 1, 1]], 1.0, np.random.default_rng(0))
    array([[0, 0, 1]])
    """
    if not 0.0 <= share <= 1.0:
        raise parameter_error("copy_first_neighbors", "share", "a float in [0, 1]", share)
    triples = _checked_triples(labelled_triples, "copy_first_neighbors").copy()
    copied = rng.random(triples.shape[0]) < share
    triples[copied, 1] = triples[copied, 0]
    return triples


def _checked_triples(triples: ArrayLike, owner: str) -> NDArray[np.int64]:
    array = np.asarray(triples)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise DataError(f"{owner} expects integer triples of shape (E, 3). Got {array.dtype} of shape {array.shape}.")
    return array.astype(np.int64, copy=False)


def _categorical(rows: NDArray[np.float64], clean: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    uniform = rng.random(clean.shape[0])
    cumulative = np.cumsum(rows, axis=1)
    drawn = np.zeros(clean.shape[0], dtype=np.int64)
    # the last column is left out, so a row sum of 1 - 1e-16 cannot give class K
    for column in range(rows.shape[1] - 1):
        drawn += uniform >= cumulative[clean, column]
    return drawn


def _with_diagonal(weights: NDArray[np.float64], diagonal: float) -> NDArray[np.float64]:
    off = weights * (1 - np.eye(weights.shape[0]))
    off *= (1 - diagonal) / off.sum(axis=1, keepdims=True)
    return np.asarray(off + diagonal * np.eye(weights.shape[0]), dtype=np.float64)


def _random_row(i: int, n_classes: int, diagonal: float, rng: np.random.Generator) -> NDArray[np.float64]:
    for _ in range(_MAX_DRAWS):
        share = rng.dirichlet(np.ones(n_classes - 1)) * (1 - diagonal)
        if share.max() < diagonal:
            return np.insert(share, i, diagonal)
    raise RecipeError(
        f"transition_family needs T_ii > T_ij, which a random row of {n_classes} classes with diagonal {diagonal} "
        "practically never has. Raise the diagonal."
    )
