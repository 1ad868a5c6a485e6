"""Which suffix means which format, and files that may be gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tamis.errors import DataError, RecipeError, did_you_mean

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""Known suffixes and their formats."""

FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
"""Names the ``format`` parameters take."""


def check_format(owner: str, name: str) -> str:
    """Return ``name`` if it is a known format.

    Raises
    ------
    RecipeError
        If it is not.

    Examples
    --------
    >>> check_format("read", "jsonl")
    'jsonl'
    """
    if name not in FORMATS:
        raise RecipeError(
            f"The 'format' parameter of {owner} must be one of {', '.join(FORMATS)}. Got {name!r} instead."
            f"{did_you_mean(str(name), FORMATS)}"
        )
    return name


def is_gzipped(path: Path) -> bool:
    """Whether the name says that the file is gzipped.

    Examples
    --------
    >>> is_gzipped(Path("a.jsonl.gz"))
    True
    """
    return path.suffix.lower() == ".gz"


def data_suffix(path: Path) -> str:
    """Return the suffix that tells the format, without a ``.gz`` behind it.

    Examples
    --------
    >>> data_suffix(Path("a.JSONL.gz")), data_suffix(Path("out"))
    ('.jsonl', '')
    """
    return (Path(path.stem) if is_gzipped(path) else path).suffix.lower()


def format_of(path: Path) -> str:
    """Return the format that the suffix of ``path`` names.

    Raises
    ------
    DataError
        If the suffix is unknown, or the file is a gzipped Parquet file.

    Examples
    --------
    >>> format_of(Path("a.ndjson.gz"))
    'jsonl'
    """
    suffix = data_suffix(path)
    if suffix not in SUFFIXES:
        raise DataError(
            f"The suffix {suffix!r} of {path} names no known format; rename the file or give format=."
            f"{did_you_mean(suffix, SUFFIXES)}"
        )
    if is_gzipped(path) and SUFFIXES[suffix] == "parquet":
        raise DataError(
            f"{path} cannot be gzipped, since Parquet compresses its columns itself; use a name without .gz."
        )
    return SUFFIXES[suffix]


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, through gzip where its name ends in ``.gz``.

    Raises
    ------
    DataError
        If it cannot be read, or the gzip stream is damaged, also while the block reads it.
    """
    try:
        with gzip.open(path, "rb") if is_gzipped(path) else path.open("rb") as stream:
            yield cast(IO[bytes], stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked as gzip ({error}); get the file again or drop the .gz.") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check the path and its permissions."
        ) from None
