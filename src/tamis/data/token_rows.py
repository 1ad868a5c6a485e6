"""``TokenRows``: token ids of records, flat, and which of them are response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError

Flat = NDArray[Any]


@dataclass(frozen=True, repr=False, eq=False)
class TokenRows:
    """Token ids of n records, one after the other. Never changed; methods return new ones.

    Parameters
    ----------
    unit_ids : polars.Series of String, shape (n,)
        Ids of the records, unique.
    ids : ndarray of int32, shape (T,)
        Token ids.
    offsets : ndarray of int64, shape (n + 1,)
        Record i holds the tokens ``offsets[i]`` to ``offsets[i + 1] - 1``.
    response : ndarray of bool, shape (T,)
        Whether a token is part of an answer, hence trained on by default. The first token of a record is never: there
        is nothing to predict it from.

    Raises
    ------
    DataError
        If lengths do not fit each other, ids repeat, or a record has no token.

    Examples
    --------
    >>> rows = TokenRows.from_lists(["a", "b"], [[5, 6, 7], [5, 8]], [[False, True, True], [False, True]])
    >>> rows
    TokenRows(2 records, 5 tokens, 3 of them response)
    >>> rows.take([1]).ids.tolist(), rows.lengths.tolist(), rows.row_of.tolist()
    ([5, 8], [3, 2], [0, 0, 0, 1, 1])
    """

    unit_ids: pl.Series
    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    response: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n, total = len(self.unit_ids), len(self.ids)
        if len(self.offsets) != n + 1 or self.offsets[0] != 0 or self.offsets[-1] != total:
            raise DataError(
                f"The offsets of TokenRows must be {n + 1} numbers from 0 to {total}, the number of tokens. "
                f"Got {len(self.offsets)} from {self.offsets[:1].tolist()} to {self.offsets[-1:].tolist()} instead."
            )
        if len(self.response) != total:
            raise DataError(f"TokenRows need one response flag a token: {total} tokens, {len(self.response)} flags.")
        if self.unit_ids.n_unique() != n or self.unit_ids.null_count():
            twice = self.unit_ids.filter(self.unit_ids.is_duplicated()).unique(maintain_order=True).head(3).to_list()
            raise DataError(f"The ids of TokenRows must be unique and not null. Got more than once or null: {twice}.")
        if n and int(self.lengths.min()) < 1:
            raise DataError(f"The record {self.unit_ids[int(self.lengths.argmin())]!r} has no token; leave it out.")

    @classmethod
    def from_lists(
        cls,
        unit_ids: Sequence[str] | pl.Series,
        ids: Sequence[Sequence[int] | NDArray[np.int32]],
        response: Sequence[Sequence[bool] | NDArray[np.bool_]],
    ) -> TokenRows:
        """Make rows from one list of token ids, and one of flags, a record."""
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        if lengths.tolist() != [len(flags) for flags in response]:
            raise DataError("TokenRows need one response flag a token in every record.")
        flat = np.concatenate([np.asarray(row, dtype=np.int32) for row in ids]) if len(ids) else np.zeros(0, np.int32)
        flags = np.concatenate([np.asarray(row, dtype=bool) for row in response]) if len(ids) else np.zeros(0, bool)
        return cls(pl.Series("unit_id", unit_ids, dtype=pl.String), flat, offsets_of(lengths), flags)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> TokenRows:
        """Make rows from the columns ``unit_id``, ``input_ids`` (list of int) and ``response`` (list of bool).

        Raises
        ------
        DataError
            If a column is missing, or lists of a record differ in length.
        """
        for name in ("unit_id", "input_ids", "response"):
            if name not in frame.columns:
                raise DataError(f"Token rows need the column {name!r}; found {frame.columns}.")
        ids, flags = frame["input_ids"], frame["response"]
        for lists, expected, holds in ((ids, "token ids", _holds_ids), (flags, "true and false", _holds_flags)):
            if not holds(lists):
                raise DataError(f"The column {lists.name!r} of token rows must hold lists of {expected}, none null.")
        lengths = ids.list.len()
        if not lengths.equals(flags.list.len().alias(lengths.name)):
            raise DataError("Token rows need one response flag a token in every record.")
        offsets = offsets_of(lengths.to_numpy())
        return cls(frame["unit_id"].cast(pl.String), flat_of(ids, np.int32), offsets, flat_of(flags, np.bool_))

    def to_frame(self, **flat: Flat) -> pl.DataFrame:
        """Return the columns ``unit_id``, ``input_ids`` and ``response``, and more lists from flat arrays.

        Parameters
        ----------
        **flat : ndarray, shape (T,)
            One value a token, by name of the column.

        Examples
        --------
        >>> rows = TokenRows.from_lists(["a"], [[5, 6]], [[False, True]])
        >>> rows.to_frame(loss=np.array([0.0, 1.5], dtype=np.float32)).row(0)
        ('a', [5, 6], [False, True], [0.0, 1.5])
        """
        columns = {"input_ids": self.ids, "response": self.response, **flat}
        lists = [listed(values, self.offsets).alias(name) for name, values in columns.items()]
        return pl.DataFrame([self.unit_ids.alias("unit_id"), *lists])

    def __len__(self) -> int:
        return len(self.unit_ids)

    def __repr__(self) -> str:
        return f"TokenRows({len(self)} records, {len(self.ids)} tokens, {int(self.response.sum())} of them response)"

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each record, shape (n,)."""
        return np.diff(self.offsets)

    @cached_property
    def row_of(self) -> NDArray[np.int64]:
        """Position of each token's record, shape (T,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> TokenRows:
        """Return the records at these positions, in this order."""
        at: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        where = self.places(at)
        return TokenRows(self.unit_ids[at], self.ids[where], offsets_of(self.lengths[at]), self.response[where])

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat positions of the tokens of some records, one record after the other."""
        lengths = self.lengths[rows]
        starts = offsets_of(lengths)[:-1]
        return np.arange(int(lengths.sum())) + np.repeat(self.offsets[:-1][rows] - starts, lengths)


def _holds_ids(lists: pl.Series) -> bool:
    inner = getattr(lists.dtype, "inner", None)
    if inner is None or not inner.is_integer() or lists.null_count():
        return False
    values = lists.explode().to_frame("id")
    wrong = values.filter(pl.col("id").is_null() | ~pl.col("id").is_between(0, (1 << 31) - 1))
    return wrong.is_empty()


def _holds_flags(lists: pl.Series) -> bool:
    inner = getattr(lists.dtype, "inner", None)
    return inner == pl.Boolean and not lists.null_count() and not lists.explode().null_count()


def offsets_of(lengths: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Offsets of rows of these lengths, shape (n + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def flat_of(lists: pl.Series, dtype: Any) -> Flat:
    """Values of a list column, one list after the other."""
    return lists.explode().drop_nulls().to_numpy().astype(dtype, copy=False) if len(lists) else np.zeros(0, dtype)


def listed(values: Flat, offsets: NDArray[np.int64]) -> pl.Series:
    """Flat values as a list column; nothing is copied."""
    import pyarrow as pa

    array = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
    return pl.Series(pl.from_arrow(array))
