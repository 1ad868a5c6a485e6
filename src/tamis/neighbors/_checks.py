"""What makes four arrays a neighbour graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

_BLOCK_ROWS = 16384


def check_graph(
    idx: NDArray[np.int32], dist: NDArray[np.float32], group: NDArray[np.int64], first: NDArray[np.int64]
) -> None:
    """Raise DataError unless the arrays keep the promises of :class:`tamis.neighbors.NeighborGraph`."""
    if idx.ndim != 2 or idx.shape != dist.shape or idx.shape[0] == 0:
        raise DataError(
            "A neighbour graph must have idx and dist of one shape (rows, k) with at least one row. "
            f"Got {idx.shape} and {dist.shape} instead."
        )
    _check_groups(idx.shape[0], group, first)
    for start in range(0, idx.shape[0], _BLOCK_ROWS):
        _check_rows(idx[start : start + _BLOCK_ROWS], dist[start : start + _BLOCK_ROWS], start, idx.shape[0])


def _check_groups(n_unique: int, group: NDArray[np.int64], first: NDArray[np.int64]) -> None:
    """Check that ``group`` and ``first`` describe the same merging of copies."""
    fits = (
        group.ndim == 1
        and first.shape == (n_unique,)
        and group.shape[0] >= n_unique
        and bool((np.diff(first) > 0).all())
        and int(first[0]) >= 0
        and int(first[-1]) < group.shape[0]
        and bool(((group >= 0) & (group < n_unique)).all())
    )
    if fits:
        fits = bool((group[first] == np.arange(n_unique)).all() and (first[group] <= np.arange(group.shape[0])).all())
    if not fits:
        raise DataError(
            f"group and first of a neighbour graph must map every original row to one of its {n_unique} unique rows "
            f"and back to the first copy. Got arrays of shapes {group.shape} and {first.shape} that do not; build them "
            "with merge_duplicates."
        )


def _check_rows(idx: NDArray[np.int32], dist: NDArray[np.float32], start: int, n_unique: int) -> None:
    """Check a block of neighbour lists whose first row is ``start``."""
    own = np.arange(start, start + idx.shape[0])[:, None]
    padded = idx == -1
    _refuse((idx < -1) | (idx >= n_unique), start, f"neighbours from 0 to {n_unique - 1}, or -1 for none", idx)
    _refuse(idx == own, start, "no row as its own neighbour (drop the row itself from its list)", idx)
    in_order = np.sort(idx, axis=1)
    twice = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] >= 0)
    _refuse(twice, start, "each neighbour once per row", in_order[:, 1:])
    _refuse(padded != np.isinf(dist), start, "an infinite distance where, and only where, the neighbour is -1", dist)
    _refuse(~(dist >= 0), start, "distances that are numbers and not negative", dist)
    near, far = dist[:, :-1], dist[:, 1:]
    tie_swapped = (near == far) & (idx[:, :-1] > idx[:, 1:]) & ~padded[:, 1:]
    _refuse((near > far) | tie_swapped, start, "ascending distances, ties by lower index", far)


def _refuse(bad: NDArray[np.bool_], start: int, expected: str, values: NDArray[np.generic]) -> None:
    """Raise DataError for the first entry of ``bad``, if there is one."""
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"A neighbour graph must have {expected}. Got {values[row, column]} in row {start + row}; "
            f"{int(bad.any(axis=1).sum())} rows of this block are at fault."
        )
