"""Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tamis.data.parsed import Parsed
from tamis.data.source import Source
from tamis.errors import DataError


def read_parquet(paths: Sequence[Path], source: Source) -> Parsed:
    """Read Parquet files, in the order given; types, also nested ones, stay as they are.

    A column that some shards lack is null there, and number types are widened to the common one. Rows are numbered
    from 1 in each file.

    Raises
    ------
    DataError
        If a file is no Parquet, or shards disagree about a column's type.
    """
    frames = [_read_one(path) for path in paths]
    try:
        frame = pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        cause = str(error).partition("\n")[0]
        raise DataError(
            f"The shards of {source.name} do not fit together ({cause}); give them the same types."
        ) from None
    files = [str(path) for path, part in zip(paths, frames, strict=True) for _ in range(part.height)]
    lines = [line for part in frames for line in range(1, part.height + 1)]
    return Parsed(frame, source, files=files, lines=lines)


def _read_one(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as Parquet ({cause}); get the file again or give format=.") from None
