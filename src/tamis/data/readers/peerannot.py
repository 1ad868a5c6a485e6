"""peerannot's answers: one JSON object, task -> worker -> label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tamis.data.formats import SUFFIXES, data_suffix, open_bytes
from tamis.data.label_classes import shown
from tamis.data.parsed import Parsed, parse_records
from tamis.data.rejects import Rejects
from tamis.data.source import Source
from tamis.errors import DataError

FILE_NAME = "answers.json"
"""What peerannot calls the file in its folder."""

_HEAD = 4096


def read_peerannot(source: Any, *, format: str | None = None, required: bool = False) -> Parsed | None:
    """Read answers in the shape of peerannot into a long frame of task, worker and label.

    Parameters
    ----------
    source : mapping, str or Path
        ``{task: {worker: label}}``, a JSON file of it, or a folder that holds it as ``answers.json``; the
        ``metadata.json`` beside it names no classes and is not read.
    format : str, optional
        Anything but ``json`` says that the file is something else.
    required : bool
        Whether the source is said to have this shape, so that a task with something else than an object is rejected
        and does not mean that it has another shape.

    Returns
    -------
    Parsed or None
        None if the source is something else. A task without answers gives no row; of a key that occurs twice in a
        file the last value counts, as Python's json module does it.

    Raises
    ------
    DataError
        If the file cannot be read, or the mapping has another shape.

    Examples
    --------
    >>> parsed = read_peerannot({"t1": {"ann": 1, "bob": 0}})
    >>> parsed.frame.rows()
    [('t1', 'ann', 1), ('t1', 'bob', 0)]
    """
    if isinstance(source, str | Path):
        path = Path(source)
        path = path / FILE_NAME if (path / FILE_NAME).is_file() else path
        name = format or SUFFIXES.get(data_suffix(path))
        votes = _load(path) if name == "json" and path.is_file() else None
        origin = Source("json", path)
    else:
        in_memory = isinstance(source, Mapping) and type(source).__module__.partition(".")[0] != "datasets"
        votes, origin = source if in_memory else None, Source("records")
    if votes is None:
        return None
    other = next((task for task, given in votes.items() if not isinstance(given, Mapping)), None)
    if required or other is None:
        return parse_records(_answers(votes, origin.name), origin, Rejects())
    if origin.path is None:
        raise DataError(
            f"A mapping of answers must be {{task: {{worker: label}}}}, found {shown(votes[other])} under "
            f"{shown(other)}; give this shape, a frame or a list of dicts."
        )
    return None


def _load(path: Path) -> Mapping[str, Any] | None:
    """The object a JSON file holds; None if it holds an array, one object per line, or no JSON at all."""
    with open_bytes(path) as stream:
        head = stream.read(_HEAD)
        if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return None
        content = head + stream.read()
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _answers(votes: Mapping[Any, Any], name: str) -> Iterator[tuple[str, int, Any]]:
    """File, position and record of each answer; a task with something else than an object is passed on as it is."""
    position = 0
    for task, given in votes.items():
        if not isinstance(given, Mapping):
            position += 1
            yield name, position, given
            continue
        for worker, label in given.items():
            position += 1
            yield name, position, {"task": task, "worker": worker, "label": label}
