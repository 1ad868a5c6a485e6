"""Where a table came from, and what a writer needs to give the same file back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl


class Layout(NamedTuple):
    """The shape of one JSON object: what a typed column cannot tell.

    Attributes
    ----------
    keys : tuple of str
        Keys of the object in the order they were written. A column that is not listed was absent from the
        object, which is not the same as ``null``.
    integers : frozenset of str
        Keys whose value was written as an integer although the column holds floats, or text ids.
    """

    keys: tuple[str, ...]
    integers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """Origin of a :class:`~tamis.data.Table`.

    Parameters
    ----------
    format : str
        ``jsonl``, ``json``, ``csv``, ``tsv``, ``parquet`` for files; ``records``, ``polars``, ``pandas``,
        ``arrow``, ``datasets`` for objects in memory.
    path : Path, optional
        File or folder that was read, None for objects in memory.
    id_column : str, optional
        Column the ids were taken from, None when they were generated from the content.
    id_dtype : polars data type, optional
        Type of the id column before it became text, None when it was text.
    id_position : int
        Place of the id column among the columns of the source.
    json_columns : tuple of str
        Columns whose cells are JSON text, because their values were nested or of mixed types.
    layouts : tuple of Layout
        Distinct shapes of the JSON objects; a table knows the layout of each of its rows.

    Examples
    --------
    >>> source = Source("jsonl", Path("data/dolly.jsonl"))
    >>> source.name, source.generated_ids
    ('data/dolly.jsonl', True)
    """

    format: str
    path: Path | None = None
    id_column: str | None = None
    id_dtype: pl.DataType | None = None
    id_position: int = 0
    json_columns: tuple[str, ...] = ()
    layouts: tuple[Layout, ...] = ()

    @property
    def generated_ids(self) -> bool:
        """Whether the ids are digests of the content and no column of the source."""
        return self.id_column is None

    @property
    def name(self) -> str:
        """What messages call the source: its path, or the kind of object."""
        return str(self.path) if self.path is not None else f"<{self.format}>"
