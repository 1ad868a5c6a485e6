"""JSONL: one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tamis.data.formats import open_bytes
from tamis.data.parsed import Parsed, parse_records
from tamis.data.rejects import Rejects
from tamis.data.source import Source

_BOM = b"\xef\xbb\xbf"


def read_jsonl(paths: Sequence[Path], source: Source) -> Parsed:
    """Read JSONL files line by line, in the order given.

    A line that is no UTF-8, no JSON or no object, and a last line that was cut off, goes to the rejects with its file
    and 1-based line; the rest goes on. Blank lines are skipped. Of a key that occurs twice the last value counts, and
    ``NaN`` and ``Infinity`` are read as floats, both as Python's json module does it.
    """
    rejects = Rejects()
    return parse_records(_values(paths, rejects), source, rejects)


def _values(paths: Sequence[Path], rejects: Rejects) -> Iterator[tuple[str, int, Any]]:
    for path in paths:
        with open_bytes(path) as stream:
            yield from decode_lines(stream, str(path), rejects)


def decode_lines(lines: Iterable[bytes], file: str, rejects: Rejects) -> Iterator[tuple[str, int, Any]]:
    r"""Yield file, line and value of each line that is JSON; note the others.

    Examples
    --------
    >>> rejects = Rejects()
    >>> list(decode_lines([b'{"a": 1}\n', b"\n", b'{"a": '], "a.jsonl", rejects))
    [('a.jsonl', 1, {'a': 1})]
    >>> rejects.first
    'a.jsonl, line 3: was cut off: the file ends inside the record'
    """
    for number, raw in enumerate(lines, 1):
        line = raw.removeprefix(_BOM) if number == 1 else raw
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            rejects.add(file, number, f"is no UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1})", line)
        except json.JSONDecodeError as error:
            cut = not raw.endswith(b"\n")
            reason = (
                "was cut off: the file ends inside the record" if cut else f"is no JSON ({error.msg} at {error.colno})"
            )
            rejects.add(file, number, reason, line)
        except ValueError as error:
            rejects.add(file, number, f"has a number that cannot be read ({error})", line)
        except RecursionError:
            rejects.add(file, number, "is nested too deeply", line)
        else:
            yield file, number, value
