"""Rows that could not be used, each with its file, place and reason."""

from __future__ import annotations

import polars as pl

RAW_CHARACTERS = 2000
"""How much of a rejected row is kept."""

REJECTS_SCHEMA = {"file": pl.String(), "line": pl.Int64(), "reason": pl.String(), "raw": pl.String()}


def empty_rejects() -> pl.DataFrame:
    """Return a rejects frame without rows.

    Examples
    --------
    >>> empty_rejects().columns
    ['file', 'line', 'reason', 'raw']
    """
    return pl.DataFrame(schema=REJECTS_SCHEMA)


class Rejects:
    """Collects bad rows while a source is read, so that the rest of it can go on.

    Examples
    --------
    >>> rejects = Rejects()
    >>> rejects.add("a.jsonl", 3, "is not an object but a list", "[1, 2]")
    >>> len(rejects), rejects.first
    (1, 'a.jsonl, line 3: is not an object but a list')
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, str, str]] = []

    def add(self, file: str, line: int, reason: str, raw: str | bytes) -> None:
        """Note one bad row.

        Parameters
        ----------
        file : str
            File it stands in, or the kind of object.
        line : int
            1-based line for JSONL, CSV and TSV; 1-based position of the record elsewhere.
        reason : str
            What is wrong, as the rest of a sentence that starts with "the row".
        raw : str or bytes
            The row as it was found. At most the first 2,000 characters are kept; bytes that are not UTF-8 and
            lone surrogates are shown as backslash escapes.
        """
        if isinstance(raw, bytes):
            raw = raw[: 4 * RAW_CHARACTERS].decode("utf-8", errors="backslashreplace")
        raw = raw[:RAW_CHARACTERS].encode("utf-8", errors="backslashreplace").decode("utf-8")
        reason = reason.encode("utf-8", errors="backslashreplace").decode("utf-8")
        self._rows.append((file, line, reason, raw[:RAW_CHARACTERS]))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first(self) -> str | None:
        """Place and reason of the bad row that stands first, None without any."""
        if not self._rows:
            return None
        file, line, reason, _ = min(self._rows, key=lambda row: row[:2])
        return f"{file}, line {line}: {reason}"

    @property
    def frame(self) -> pl.DataFrame:
        """All bad rows as a frame of file, line, reason and raw, in the order of the source."""
        return pl.DataFrame(self._rows, schema=REJECTS_SCHEMA, orient="row").sort("file", "line", maintain_order=True)
