"""Byte streams to write to, gzipped where the name says so."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tamis.data.formats import is_gzipped


@contextmanager
def create_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file; a gzip stream carries neither time nor name, so equal tables give equal bytes."""
    with path.open("wb") as raw:
        if not is_gzipped(path):
            yield raw
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
            yield cast(IO[bytes], packed)
