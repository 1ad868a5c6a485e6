"""JSON files: one array of objects, as Alpaca and ShareGPT sets are published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from tamis.data.formats import open_bytes
from tamis.data.parsed import Parsed, parse_records
from tamis.data.readers.jsonl import decode_lines
from tamis.data.rejects import Rejects
from tamis.data.source import Source
from tamis.errors import DataError


def read_json(paths: Sequence[Path], source: Source) -> Parsed:
    """Read JSON arrays; an element that is no object goes to the rejects with its 1-based position.

    Files called ``.json`` that hold one object per line are read as JSONL, and the source's format says so.

    Raises
    ------
    DataError
        If a file is no UTF-8 or no JSON, or holds something other than an array.
    """
    rejects = Rejects()
    values: list[tuple[str, int, Any]] = []
    by_line = False
    for path in paths:
        with open_bytes(path) as stream:
            content = stream.read()
        if _is_lines(content):
            by_line = True
            values.extend(decode_lines(BytesIO(content), str(path), rejects))
        else:
            values.extend(_elements(content, path))
    return parse_records(values, replace(source, format="jsonl") if by_line else source, rejects)


def _is_lines(content: bytes) -> bool:
    """Whether the first line is an object of its own, which no array and no indented object is."""
    first = content.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")[0].strip()
    return first.startswith(b"{") and first.endswith(b"}")


def _elements(content: bytes, path: Path) -> Iterator[tuple[str, int, Any]]:
    advice = "mend the file or write one object per line and call it .jsonl"
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8: byte 0x{content[error.start]:02x} at offset {error.start}; convert it to UTF-8."
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}; {advice}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); {advice}.") from None
    if not isinstance(value, list):
        raise DataError(f"{path} must hold an array of objects, found one {type(value).__name__}; {advice}.")
    for position, element in enumerate(value, 1):
        yield str(path), position, element
