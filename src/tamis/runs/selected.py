"""The records that a finished run has selected, as input of the next."""

from __future__ import annotations

from pathlib import Path

from tamis.errors import RunStateError


def records_of(path: Path) -> Path:
    """Return the file of records that a path stands for: a run directory's ``selected.*``, else the path itself.

    Raises
    ------
    RunStateError
        If the run directory holds none.

    Examples
    --------
    >>> records_of(Path("pool.jsonl"))
    PosixPath('pool.jsonl')
    """
    if not (path / "manifest.json").exists():
        return path
    found = next(iter(sorted(path.glob("selected.*"))), None)
    if found is None:
        raise RunStateError(f"The run {path} has selected no records; finish it first: tamis resume {path}")
    return found
