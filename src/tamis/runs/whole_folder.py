"""Folders that are either whole or absent: write under a temporary name, fsync, rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tamis.runs.atomic import PREFIX


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` and move it there when the block ends well.

    Parameters
    ----------
    target : Path
        A folder that does not exist; the one above it must.

    Examples
    --------
    >>> import tempfile
    >>> above = Path(tempfile.mkdtemp())
    >>> with whole_folder(above / "model") as folder:
    ...     _ = (folder / "config.json").write_text("{}")
    >>> [path.name for path in above.rglob("*")]
    ['model', 'config.json']
    """
    temporary = target.with_name(f"{PREFIX}{os.getpid()}-{target.name}")
    temporary.mkdir()
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb+") as written:
                    os.fsync(written.fileno())
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clear_temporary_folders(above: Path, name: str = "*") -> None:
    """Remove what killed writers of a folder ``name`` left directly in ``above``; no one else may be writing it."""
    for path in above.glob(f"{PREFIX}*-{name}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
