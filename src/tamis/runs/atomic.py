"""Files that are either whole or absent: write to a temporary name, fsync, rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".tmp-"


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``target`` and move it there when the block ends well.

    A crash, an exception or ``kill -9`` leaves the old ``target`` (or none), never half a file.

    Parameters
    ----------
    target : str or Path
        File to create or replace. Its folder must exist.

    Yields
    ------
    Path
        Name to write to; it keeps the suffix of ``target``, since writers choose a format by it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as path:
    ...     _ = path.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    target = Path(target)
    temporary = target.with_name(f"{PREFIX}{os.getpid()}-{target.name}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def clear_temporaries(folder: Path) -> None:
    """Remove what killed writers left below ``folder``. The caller must hold the folder's lock."""
    for path in list(folder.rglob(f"{PREFIX}*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def atomic_write_text(target: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``target``, whole or not at all."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")
