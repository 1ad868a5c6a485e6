"""Checks of labels, neighbours and distances, with one-sentence errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError

_BLOCK = 65_536


def checked_labels(labels: ArrayLike, n_classes: int, owner: str) -> NDArray[np.int64]:
    """Return ``labels`` as int64 (N,), refusing values outside -1..K-1.

    Raises
    ------
    DataError
        If ``labels`` is not one-dimensional, not integer-valued, or holds a value outside -1..K-1.

    Examples
    --------
    >>> checked_labels([0, -1, 2], 3, "demo")
    array([ 0, -1,  2])
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{owner} expects integer labels of shape (N,), -1 for missing. Got {array.dtype} of shape {array.shape}; "
            "encode the labels as 0..K-1 first."
        )
    values = array.astype(np.int64, copy=False)
    bad = np.flatnonzero((values < -1) | (values >= n_classes))
    if bad.size:
        raise DataError(
            f"{owner} expects labels in -1..{n_classes - 1} for {n_classes} classes. Got {int(values[bad[0]])} in row "
            f"{int(bad[0])} ({bad.size} such rows); use -1 for missing and 0..{n_classes - 1} for the classes."
        )
    return values


def checked_neighbors(idx: ArrayLike, n_items: int, owner: str, *, at_least: int = 1) -> NDArray[np.signedinteger]:
    """Return ``idx`` as a signed integer array (N, k), refusing rows out of range and items that list themselves.

    Raises
    ------
    DataError
        If the shape is wrong, an entry is outside -1..N-1, or an item is its own neighbour.

    Examples
    --------
    >>> checked_neighbors([[1], [0]], 2, "demo").shape
    (2, 1)
    """
    array = np.asarray(idx)
    if array.ndim != 2 or array.shape[0] != n_items or array.shape[1] < at_least or array.dtype.kind != "i":
        raise DataError(
            f"{owner} expects integer neighbours of shape ({n_items}, k) with k >= {at_least}. Got {array.dtype} of "
            f"shape {array.shape}; pass one row of neighbour indices per label."
        )
    if array.size and (array.min() < -1 or array.max() >= n_items):
        raise DataError(
            f"{owner} expects neighbour indices in -1..{n_items - 1}. Got values from {array.min()} to {array.max()}; "
            "the graph must be built on the same rows as the labels."
        )
    for start in range(0, n_items, _BLOCK):
        own = np.arange(start, min(start + _BLOCK, n_items))[:, None]
        if (array[start : start + _BLOCK] == own).any():
            raise DataError(
                f"{owner} expects neighbours that exclude the item itself. Got a graph in which an item is its own "
                "neighbour; build it with self excluded (after merging exact duplicates)."
            )
    return array


def checked_distances(dist: ArrayLike, neighbors: NDArray[np.signedinteger], owner: str) -> NDArray[np.floating]:
    """Return ``dist`` as floats of the shape of ``neighbors``; real neighbours need finite distances.

    Raises
    ------
    DataError
        If the shape differs or a distance of a real neighbour is not finite.

    Examples
    --------
    >>> checked_distances([[0.5]], np.array([[1]]), "demo")
    array([[0.5]])
    """
    distances = np.asarray(dist)
    if distances.shape != neighbors.shape or distances.dtype.kind != "f":
        raise DataError(
            f"{owner} expects float distances of shape {neighbors.shape}, one per neighbour. Got {distances.dtype} of "
            f"shape {distances.shape}."
        )
    for start in range(0, distances.shape[0], _BLOCK):
        block = slice(start, start + _BLOCK)
        if not np.isfinite(distances[block][neighbors[block] >= 0]).all():
            raise DataError(f"{owner} expects finite distances. Got nan or inf for a neighbour; rebuild the graph.")
    return distances
