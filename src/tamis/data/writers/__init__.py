"""Writers: a Table back to a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from tamis.data.formats import SUFFIXES, check_format, data_suffix, is_gzipped
from tamis.data.table import Table
from tamis.data.writers.delimited import write_delimited
from tamis.data.writers.json_text import write_json, write_jsonl
from tamis.data.writers.parquet import write_parquet
from tamis.errors import DataError, RecipeError, did_you_mean
from tamis.runs.atomic import atomic_path

__all__ = ["write"]

_WRITERS = {
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_delimited,
    "tsv": write_delimited,
    "parquet": write_parquet,
}
_IN_MEMORY = {"records": "jsonl"}


def write(table: Table, path: str | Path, *, format: str | None = None, with_ids: bool = False) -> Path:
    r"""Write a table to a file.

    JSON and JSONL come back as they were read: key order, absent keys, nulls, number types and nesting. CSV and TSV
    hold nested values as JSON text and cannot tell null from an empty cell. The file is written under a temporary
    name in the same folder, fsynced and renamed.

    Parameters
    ----------
    table : Table
        What to write.
    path : str or Path
        File to create or replace; with ``.gz`` behind the suffix it is gzipped.
    format : str, optional
        ``jsonl``, ``json``, ``csv``, ``tsv`` or ``parquet``. Default: what the suffix says; without a suffix the
        format the table was read from (JSONL for a list of dicts, Parquet for frames).
    with_ids : bool
        Whether ids that were made from the content are written too, as a column ``id``. Given ids always are.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecipeError
        If the format is unknown.
    DataError
        If the folder does not exist, or the format cannot hold a column.

    Examples
    --------
    >>> import tempfile
    >>> table = Table.from_records([{"text": "é", "n": None}])
    >>> write(table, Path(tempfile.mkdtemp()) / "a.jsonl").read_text(encoding="utf-8")
    '{"text":"é","n":null}\n'
    """
    path = Path(path)
    name = _format(table, path, format)
    if is_gzipped(path) and name == "parquet":
        raise RecipeError(
            f"{path} cannot be gzipped, since Parquet compresses its columns itself; use a name without .gz."
        )
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it.")
    if not path.parent.is_dir():
        raise DataError(f"The folder {path.parent} to write {path.name} into does not exist; create it first.")
    with atomic_path(path) as temporary:
        _WRITERS[name](table, temporary, name, with_ids=with_ids)
    return path


def _format(table: Table, path: Path, format: str | None) -> str:
    if format is not None:
        return check_format("write", format)
    suffix = data_suffix(path)
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix:
        raise RecipeError(
            f"The suffix {suffix!r} of {path} names no known format; use another name or give format=."
            f"{did_you_mean(suffix, SUFFIXES)}"
        )
    source = table.source.format
    return source if source in SUFFIXES.values() else _IN_MEMORY.get(source, "parquet")
