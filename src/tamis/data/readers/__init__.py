"""Readers: files, folders of shards and objects in memory to a Table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.data.formats import SUFFIXES, check_format, data_suffix, format_of
from tamis.data.parsed import Parsed
from tamis.data.readers.delimited import read_delimited
from tamis.data.readers.frames import read_object
from tamis.data.readers.json_array import read_json
from tamis.data.readers.jsonl import read_jsonl
from tamis.data.readers.parquet import read_parquet
from tamis.data.source import Source
from tamis.data.table import Table
from tamis.errors import DataError, RecipeError

__all__ = ["parse", "read"]

_READERS: dict[str, Callable[[Sequence[Path], Source], Parsed]] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_delimited,
    "tsv": read_delimited,
    "parquet": read_parquet,
}


def read(
    source: Any,
    *,
    format: str | None = None,
    id_column: str | None = None,
    roles: Mapping[str, str] | None = None,
) -> Table:
    """Read records into a :class:`~tamis.data.Table`.

    Parameters
    ----------
    source : path or object
        ``.jsonl``, ``.ndjson``, ``.json``, ``.csv``, ``.tsv`` (each also ``.gz``) or ``.parquet``; a folder of such
        files, read in the order of their names; a pandas or Polars frame, pyarrow Table, Hugging Face Dataset, or
        list of dicts.
    format : str, optional
        ``jsonl``, ``json``, ``csv``, ``tsv`` or ``parquet``, where the suffix does not tell.
    id_column : str, optional
        Column of unique ids. Default: ``id`` if there is one, else ids are made from the content.
    roles : mapping, optional
        Role to column, over what is detected (see :func:`tamis.data.detect_roles`).

    Returns
    -------
    Table
        The usable rows. A row that cannot be parsed is in ``table.rejects`` with file, line and reason. So is, if the
        source has text columns, a row without prompt and response, or with an empty or malformed chat. A source
        without any text column, such as a label file, is taken as it is.

    Raises
    ------
    DataError
        If nothing is there, nothing can be read, no row is usable, or ids are null or duplicated.
    RecipeError
        If a parameter is wrong.

    Examples
    --------
    >>> read([{"instruction": "1+1?", "input": "", "output": "2"}, {"instruction": "", "output": None}])
    Table(1 rows: prompt=instruction, context=input, response=output; 1 rejected)
    """
    return Table.from_parsed(parse(source, format=format), id_column=id_column, roles=roles)


def parse(source: Any, *, format: str | None = None) -> Parsed:
    """Read a source into columns, without roles and ids; parameters and errors as for :func:`read`.

    Examples
    --------
    >>> parse([{"unit_id": "a", "value": 4}]).frame.columns
    ['unit_id', 'value']
    """
    if format is not None:
        check_format("read", format)
    if not isinstance(source, str | Path):
        if format is not None:
            raise RecipeError(f"The 'format' parameter of read is for paths, the source is a {type(source).__name__}.")
        return read_object(source)
    path = Path(source)
    if path.is_dir():
        paths, name = _shards(path, format)
    elif path.exists():
        paths, name = [path], format or format_of(path)
    else:
        raise DataError(f"There is no file or folder {path}; check the path.")
    return _READERS[name](paths, Source(name, path))


def _shards(folder: Path, format: str | None) -> tuple[list[Path], str]:
    """The data files of a folder by name, and their common format; hidden files and names with ``_`` are left out."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith((".", "_"))]
    known = [path for path in files if data_suffix(path) in SUFFIXES]
    if format is not None:
        known = [path for path in known if SUFFIXES[data_suffix(path)] == format]
    if not known:
        wanted = f".{format}" if format else ", ".join(SUFFIXES)
        raise DataError(
            f"The folder {folder} holds no data files ({wanted}) among its {len(files)} files; check the path."
        )
    names = sorted({format_of(path) for path in known})
    if len(names) > 1:
        raise DataError(
            f"The folder {folder} holds files of several formats ({', '.join(names)}); choose with format=."
        )
    return known, names[0]
