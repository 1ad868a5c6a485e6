"""Embeddings as float32 rows of length one, checked on the way in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError

_BLOCK_ROWS = 4096
_UNIT_TOLERANCE = 1e-6
"""Largest ``|norm**2 - 1|`` of a row that counts as normalised; float32 normalisation leaves about 1e-7."""
_SHOWN = 5


def as_matrix(X: ArrayLike, *, name: str = "X") -> NDArray[Any]:
    """Return ``X`` as a numeric 2-D array with at least one row and one column, without copying an array.

    Raises
    ------
    DataError
        If ``X`` is not a non-empty numeric matrix.

    Examples
    --------
    >>> as_matrix([[1, 0], [0, 1]]).shape
    (2, 2)
    """
    matrix = np.asarray(X)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(
            f"{name} must be a matrix of shape (rows, dimensions) with at least one of each. Got shape {matrix.shape} "
            "instead; give one embedding per record."
        )
    if matrix.dtype.kind not in "fiu":
        raise DataError(f"{name} must hold real numbers. Got dtype {matrix.dtype} instead; convert it to float32.")
    return matrix


def float32_block(X: NDArray[Any], start: int, stop: int) -> NDArray[np.float32]:
    """Return rows ``start:stop`` of ``X`` as C-contiguous float32; values beyond float32 become infinite.

    Examples
    --------
    >>> float32_block(np.eye(3), 1, 3).dtype
    dtype('float32')
    """
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X[start:stop], dtype=np.float32)


def unit_rows(X: ArrayLike, *, copy: bool) -> NDArray[np.float32]:
    """Check embeddings and give them length one.

    A row whose squared length is within 1e-6 of one is kept bit for bit; any other is divided by its length (summed in
    float64). What becomes of a row depends on that row alone, never on its place or on the rest.

    Parameters
    ----------
    X : array-like of shape (N, d)
        Embeddings: any real dtype, a NumPy memory map included. Never written to.
    copy : bool
        If False, an ``X`` that already is C-contiguous float32 with unit rows comes back as a view of itself.
        Otherwise one new array is made.

    Returns
    -------
    ndarray of shape (N, d), float32, C-contiguous

    Raises
    ------
    DataError
        If ``X`` is not a non-empty real matrix, or if rows hold NaN or infinity or only zeros *as float32*: a zero row
        has no direction. The message names the first such rows and how many there are.

    Examples
    --------
    >>> unit_rows([[3.0, 4.0], [0.0, -2.0]], copy=True)
    array([[ 0.6,  0.8],
           [ 0. , -1. ]], dtype=float32)
    """
    matrix = as_matrix(X)
    norms = _norms(matrix)
    rescale = np.abs(norms * norms - 1.0) > _UNIT_TOLERANCE
    ready = matrix.dtype == np.float32 and matrix.flags.c_contiguous and not rescale.any()
    if ready and not copy:
        return np.asarray(matrix)
    unit = np.empty(matrix.shape, dtype=np.float32)
    divisors = np.where(rescale, norms, 1.0)
    for start in range(0, matrix.shape[0], _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, matrix.shape[0])
        unit[start:stop] = float32_block(matrix, start, stop) / divisors[start:stop, None]
    return unit


def _norms(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Return the float64 length of every row; refuse rows without a finite one above zero."""
    squares = np.empty(matrix.shape[0], dtype=np.float64)
    for start in range(0, matrix.shape[0], _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, matrix.shape[0])
        block = float32_block(matrix, start, stop)
        squares[start:stop] = np.square(block, dtype=np.float64).sum(axis=1)
    _refuse(~np.isfinite(squares), "NaN or infinite values", "re-embed or leave out these records")
    _refuse(squares == 0.0, "only zeros and so no direction", "an empty text often embeds to zero: leave it out")
    return np.sqrt(squares)


def _refuse(bad: NDArray[np.bool_], what: str, advice: str) -> None:
    """Raise DataError naming the first rows of ``bad``, if there are any."""
    rows = np.flatnonzero(bad)
    if rows.size:
        shown = ", ".join(str(row) for row in rows[:_SHOWN]) + (", ..." if rows.size > _SHOWN else "")
        raise DataError(
            f"X must have finite, non-zero rows in float32. Got {rows.size} of {bad.size} rows with {what} "
            f"(rows {shown}); {advice}."
        )
