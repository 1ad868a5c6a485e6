"""CSV and TSV with a header line."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl

from tamis.data.formats import open_bytes
from tamis.data.parsed import Parsed
from tamis.data.readers.plain_text import plain_body, read_plain
from tamis.data.rejects import Rejects
from tamis.data.source import Source
from tamis.errors import DataError

DELIMITERS = {"csv": ",", "tsv": "\t"}
"""Delimiter of each format."""


def read_delimited(paths: Sequence[Path], source: Source) -> Parsed:
    """Read CSV or TSV files, in the order given.

    Fields are quoted as in RFC 4180 and may hold line breaks. A row with too few or too many fields, with a broken
    quote, or with bytes that are no UTF-8 goes to the rejects with the 1-based line it starts on. Blank lines are
    skipped. The format has no types and no null: a column whose filled cells are all integers, decimals or
    true/false becomes one (an empty cell is then null), except ids and texts; in text columns an empty cell is
    empty text.

    Raises
    ------
    DataError
        If the header is no UTF-8 or names a column twice.
    """
    rejects = Rejects()
    frames: list[pl.DataFrame] = []
    files: list[str] = []
    lines: list[int] = []
    for path in paths:
        with open_bytes(path) as stream:
            part = read_stream(stream, source, path, rejects)
        frames.append(part.frame)
        files.extend(part.files or ())
        lines.extend(part.lines or ())
    frame = pl.concat(frames, how="diagonal")
    return Parsed(frame, source, rejects, files=files, lines=lines, untyped=True)


def read_stream(
    stream: IO[bytes], source: Source, path: Path, rejects: Rejects | None = None, *, skipped: int = 0
) -> Parsed:
    """Read one stream of CSV or TSV that begins with its header, as :func:`read_delimited` reads a file.

    Parameters
    ----------
    stream : binary file
    source : Source
        Its format is the one read.
    path : Path
        What messages call it.
    rejects : Rejects, optional
        Collects what cannot be used.
    skipped : int
        Lines of the file between the header and the first row of the stream.
    """
    rejects = Rejects() if rejects is None else rejects
    delimiter, data = DELIMITERS[source.format], stream.read()
    frame = _plain_frame(data, path, delimiter)
    if frame is not None:
        places = list(range(2 + skipped, 2 + skipped + frame.height))
        return Parsed(frame, source, rejects, files=[str(path)] * frame.height, lines=places, untyped=True)
    header, rows, places = _read_one(io.BytesIO(data), path, delimiter, rejects, skipped)
    cells = zip(*rows, strict=True) if rows else ([] for _ in header)
    frame = pl.DataFrame(
        {name: pl.Series(list(column), dtype=pl.String) for name, column in zip(header, cells, strict=True)}
    )
    return Parsed(frame, source, rejects, files=[str(path)] * len(rows), lines=places, untyped=True)


def _plain_frame(data: bytes, path: Path, delimiter: str) -> pl.DataFrame | None:
    """The rows of a file without anything that needs care, else None."""
    plain = plain_body(data, delimiter)
    if plain is None:
        return None
    head, body = plain
    return read_plain(body, _header(csv.reader([head], delimiter=delimiter, strict=True), path), delimiter)


def _read_one(
    stream: IO[bytes], path: Path, delimiter: str, rejects: Rejects, skipped: int
) -> tuple[list[str], list[list[str]], list[int]]:
    rows: list[list[str]] = []
    places: list[int] = []
    wrapped = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    with _long_fields(), wrapped as text:
        taken: list[str] = []
        reader = csv.reader(_noting(text, taken), delimiter=delimiter, strict=True)
        header = _header(reader, path)
        while True:
            place = reader.line_num + 1 + skipped
            taken.clear()
            try:
                row = next(reader, None)
            except csv.Error as error:
                rejects.add(str(path), place, f"has broken quotes ({error})", "".join(taken))
                continue
            if row is None:
                break
            if not row:
                continue
            reason = _problem(row, len(header))
            if reason:
                rejects.add(str(path), place, reason, "".join(taken))
            else:
                rows.append(row)
                places.append(place)
    return header, rows, places


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 characters a field, which is one setting for the whole process."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _header(reader: Iterator[list[str]], path: Path) -> list[str]:
    try:
        header = next((row for row in reader if row), [])
    except csv.Error as error:
        raise DataError(f"The header of {path} has broken quotes ({error}); mend its first line.") from None
    if len(header) == 1 and header[0].count(";") > 1:
        raise DataError(
            f"The fields of {path} are separated by semicolons ({header[0]!r}), commas are expected; save the file "
            "with commas, or with tabs as .tsv."
        )
    for name in header:
        byte = _wrong_byte(name)
        if byte:
            raise DataError(
                f"The header of {path} is no UTF-8 (byte 0x{byte:02x} in {name!a}); convert the file to UTF-8."
            )
        if header.count(name) > 1:
            raise DataError(f"The header of {path} names the column {name!r} {header.count(name)} times; rename one.")
    return header


def _problem(row: list[str], width: int) -> str | None:
    if len(row) != width:
        return f"has {len(row)} fields, the header has {width}"
    if "".join(row).isascii():  # one check a row: a million rows have millions of cells
        return None
    byte = next(filter(None, map(_wrong_byte, row)), None)
    return f"is no UTF-8 (byte 0x{byte:02x})" if byte else None


def _wrong_byte(text: str) -> int | None:
    """The first byte that was no UTF-8, which surrogateescape keeps as U+DC80..U+DCFF."""
    if text.isascii():
        return None
    return next((ord(c) - 0xDC00 for c in text if "\udc80" <= c <= "\udcff"), None)


def _noting(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    """Pass lines on and keep what the current row was made of."""
    for line in lines:
        taken.append(line)
        yield line
