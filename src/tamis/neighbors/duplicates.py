"""Exact copies among embeddings, found by hashing and confirmed byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.neighbors.vectors import as_matrix, float32_block

_BLOCK_ROWS = 1024
"""Rows hashed at a time: with the widened copy, a block of 384 columns stays within a core's cache."""
_MULTIPLIER_SEED = 20241077
"""Any value gives the same groups, since every hash match is confirmed; fixed, so that the work is the same too."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which rows are exact copies of which.

    Attributes
    ----------
    first : ndarray of shape (U,), int64
        Row of the first copy in each group, ascending: the rows that stay when copies are merged.
    group : ndarray of shape (N,), int64
        Position in ``first`` of the row that stands for each row; ``first[group[i]]`` is row ``i`` or its first copy.
    """

    first: NDArray[np.int64]
    group: NDArray[np.int64]

    @property
    def n_merged(self) -> int:
        """Rows that go away when copies are merged, N - U."""
        return int(self.group.shape[0] - self.first.shape[0])

    @property
    def share(self) -> float:
        """``n_merged`` as a share of all rows, in [0, 1)."""
        return self.n_merged / len(self.group)


def merge_duplicates(X: ArrayLike) -> Duplicates:
    """Group the rows of ``X`` that are equal byte for byte as float32, with -0.0 equal to 0.0.

    Near copies are not merged: one differing bit makes two groups. Rows are hashed with the multilinear hash
    ``sum_j m_j * bits_j mod 2**64`` (random odd multipliers ``m_j``, ``bits_j`` the 32 bits of value ``j``; Lemire and
    Kaser, "Strongly universal string hashing is fast", 2014) and rows that share a hash are then compared.

    Parameters
    ----------
    X : array-like of shape (N, d)
        Embeddings; a memory map will do. Dtypes other than float32 are compared after conversion.

    Returns
    -------
    Duplicates

    Raises
    ------
    DataError
        If ``X`` is not a non-empty real matrix.

    Notes
    -----
    Beyond its input it holds about 60 bytes per row, plus the copies being compared, a block at a time.

    Examples
    --------
    >>> found = merge_duplicates([[1.0, 0.0], [0.0, 1.0], [1.0, -0.0]])
    >>> found.first.tolist(), found.group.tolist(), found.n_merged
    ([0, 1], [0, 1, 0], 1)
    """
    matrix = as_matrix(X)
    leader = _leaders(matrix, _row_hashes(matrix))
    is_first = leader == np.arange(leader.shape[0])
    position = np.cumsum(is_first) - 1
    return Duplicates(first=np.flatnonzero(is_first), group=position[leader])


def unique_rows(X: NDArray[np.float32], first: NDArray[np.int64], *, in_place: bool) -> NDArray[np.float32]:
    """Return ``X[first]`` for ascending ``first``, inside ``X``'s own memory if ``in_place``.

    Examples
    --------
    >>> unique_rows(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 2]), in_place=True)
    array([[0., 1.],
           [4., 5.]], dtype=float32)
    """
    if not in_place:
        return np.asarray(X[first])
    # first[u] >= u, so a block only ever reads rows that no earlier block has overwritten.
    for start in range(0, first.shape[0], _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, first.shape[0])
        X[start:stop] = X[first[start:stop]]
    return X[: first.shape[0]]


def _bits(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the bit patterns of float32 rows; adding zero turns -0.0 into 0.0."""
    return (rows + np.float32(0.0)).view(np.uint32)


def _row_hashes(matrix: NDArray[Any]) -> NDArray[np.uint64]:
    """Return one 64-bit hash per row."""
    rows, columns = matrix.shape
    rng = np.random.default_rng(_MULTIPLIER_SEED)
    multipliers = rng.integers(0, 2**64, size=columns, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(rows, dtype=np.uint64)
    for start in range(0, rows, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, rows)
        hashes[start:stop] = _bits(float32_block(matrix, start, stop)).astype(np.uint64) @ multipliers
    return hashes


def _leaders(matrix: NDArray[Any], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return, for each row, the lowest row with the same bytes."""
    order = np.argsort(hashes, kind="stable")
    sorted_hashes = hashes[order]
    starts_run = np.concatenate([[True], sorted_hashes[1:] != sorted_hashes[:-1]])
    run_of = np.cumsum(starts_run) - 1
    head = order[np.flatnonzero(starts_run)[run_of]]
    leader = np.empty(hashes.shape[0], dtype=np.int64)
    leader[order] = head
    followers = order[~starts_run]
    heads = head[~starts_run]
    collided: set[int] = set()
    for start in range(0, followers.shape[0], _BLOCK_ROWS):
        rows, their_heads = followers[start : start + _BLOCK_ROWS], heads[start : start + _BLOCK_ROWS]
        differs = (_gathered_bits(matrix, rows) != _gathered_bits(matrix, their_heads)).any(axis=1)
        collided.update(int(row) for row in their_heads[differs])
    for row in collided:
        _split_run(matrix, np.sort(order[head == row]), leader)
    return leader


def _gathered_bits(matrix: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the bit patterns of the given rows."""
    return _bits(float32_block(matrix[rows], 0, rows.shape[0]))


def _split_run(matrix: NDArray[Any], rows: NDArray[np.int64], leader: NDArray[np.int64]) -> None:
    """Set the leaders of rows that share a hash without all being equal."""
    seen: dict[bytes, int] = {}
    for row in rows:
        key = _gathered_bits(matrix, np.array([row])).tobytes()
        leader[row] = seen.setdefault(key, int(row))
