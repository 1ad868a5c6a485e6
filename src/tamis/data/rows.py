"""Which rows of a table are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from tamis.errors import RecipeError


def row_positions(rows: Sequence[int] | Sequence[bool] | pl.Series | Any, height: int) -> pl.Series:
    """Return row positions as integers, from positions or a boolean mask.

    Parameters
    ----------
    rows : sequence, NumPy array or Series
        Positions in 0..height-1, or ``height`` booleans; a null in a mask is false.
    height : int
        Rows of the table.

    Raises
    ------
    RecipeError
        If a position is out of range, a mask has another length, or the values are neither.

    Examples
    --------
    >>> row_positions([True, False, True], 3).to_list()
    [0, 2]
    """
    wanted = rows if isinstance(rows, pl.Series) else pl.Series(list(rows), dtype=None if len(rows) else pl.Int64)
    if wanted.dtype == pl.Boolean:
        if len(wanted) != height:
            raise RecipeError(f"The mask of Table.take must have {height} values, one per row. Got {len(wanted)}.")
        return wanted.fill_null(False).arg_true()
    if not wanted.dtype.is_integer():
        raise RecipeError(f"The 'rows' of Table.take must be integers or booleans. Got {wanted.dtype} instead.")
    wrong = wanted.filter((wanted < 0) | (wanted >= height)).head(1).to_list()
    if wrong:
        raise RecipeError(f"The 'rows' of Table.take must lie in 0..{height - 1}. Got {wrong[0]} instead.")
    return wanted


def quoted(names: Sequence[str]) -> str:
    """Return names for a message.

    Examples
    --------
    >>> quoted(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(repr(name) for name in names)
