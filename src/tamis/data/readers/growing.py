"""Files that somebody else appends to: what is new since the last look, whole lines only."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl

from tamis.data.formats import format_of, is_gzipped
from tamis.data.parsed import Parsed, parse_records
from tamis.data.readers.delimited import DELIMITERS, read_stream
from tamis.data.readers.jsonl import decode_lines
from tamis.data.rejects import Rejects
from tamis.data.source import Source
from tamis.errors import DataError


class GrowingFile:
    r"""A JSONL, CSV or TSV file that grows at its end.

    A line counts when its line break is there, so that a line which is being written is read once, and whole. A file
    that became shorter, or whose beginning changed, is not append-only and is refused.

    Parameters
    ----------
    path : Path
        It may not exist yet.

    Raises
    ------
    DataError
        If the name ends in no suffix of a format that can grow.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "answers.csv"
    >>> grown = GrowingFile(path)
    >>> _ = path.write_text("task,worker,label\nt1,ann,1\nt1,bo")
    >>> grown.read().frame.rows()
    [('t1', 'ann', '1')]
    >>> with path.open("a") as stream:
    ...     _ = stream.write("b,0\n")
    >>> grown.read().frame.rows(), grown.read().frame.height
    ([('t1', 'bob', '0')], 0)
    """

    def __init__(self, path: Path) -> None:
        self.path, self.format = path, format_of(path)
        if self.format not in ("jsonl", *DELIMITERS) or is_gzipped(path):
            raise DataError(f"{path} cannot be followed while it grows; expected a .jsonl, .csv or .tsv file.")
        self._offset = 0
        self._lines = 0
        self._head = b""
        self._header = b""

    def read(self, *, final: bool = False) -> Parsed:
        """Return what was appended since the last call; nothing, if nothing was, or the file is not there yet.

        Parameters
        ----------
        final : bool, default False
            Whether nobody writes any more, so that a last line without a line break counts too.

        Raises
        ------
        DataError
            If the file is not append-only.
        """
        new = self._new_lines(final)
        source, rejects, before = Source(self.format, self.path), Rejects(), self._lines
        self._lines += new.count(b"\n")
        if self.format == "jsonl":
            items = decode_lines(BytesIO(b"\n" * before + new), str(self.path), rejects)
            return parse_records(items, source, rejects)
        if not self._header:
            self._header, _, new = new.partition(b"\n")
            before += 1
        if not new.strip():
            return Parsed(pl.DataFrame(), source, rejects)
        stream = BytesIO(self._header + b"\n" + new)
        return read_stream(stream, source, self.path, rejects, skipped=before - 1)

    def _new_lines(self, final: bool) -> bytes:
        if not self.path.exists():
            if self._offset:
                raise DataError(f"{self.path} is gone; it was followed up to byte {self._offset}.")
            return b""
        with self.path.open("rb") as stream:
            head = stream.read(len(self._head))
            stream.seek(0, 2)
            if head != self._head or stream.tell() < self._offset:
                raise DataError(
                    f"{self.path} is not append-only: it became shorter or its beginning changed after it was read up "
                    f"to byte {self._offset}; follow it anew from an empty --out folder."
                )
            stream.seek(self._offset)
            found = stream.read()
        whole = found if final else found[: found.rfind(b"\n") + 1]
        if not self._head:
            self._head = whole[:256]
        self._offset += len(whole)
        return whole
