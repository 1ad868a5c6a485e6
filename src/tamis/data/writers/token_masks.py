"""Token masks as data that trainers read: TRL, axolotl, LLaMA-Factory, plain Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows, offsets_of
from tamis.data.writers.streams import create_bytes
from tamis.data.writers.token_segments import SEGMENTS, Decode, Encode, TokenChunk, write_segments
from tamis.data.writers.trainer_notes import FOLDER, README, add_notes
from tamis.errors import DataError, RecipeError, did_you_mean, parameter_error
from tamis.runs.atomic import atomic_path, atomic_write_text
from tamis.runs.digests import digest_file

SUFFIXES = {
    "trl": (".parquet", ".jsonl"),
    "axolotl": (".parquet", ".jsonl"),
    SEGMENTS: (".jsonl",),
    FOLDER: ("",),
    "parquet": (".parquet",),
}
"""Formats, and the suffixes of what is written, the usual one first; no suffix is a folder."""
FORMATS = tuple(SUFFIXES)
IGNORED = -100
"""The label that PyTorch's cross-entropy leaves out."""
TOKENS_AT_ONCE = 1 << 20
"""Tokens of a row group, so that memory does not grow with the set."""
_DATA, _STATE, _INFO = "data-00000-of-00001.arrow", "state.json", "dataset_info.json"

Batches = Iterator[Any]


def write_token_masks(
    rows: TokenRows,
    keep: NDArray[np.bool_],
    path: Path,
    *,
    format: str,
    score: NDArray[np.float32] | None = None,
    decode: Decode | None = None,
    encode: Encode | None = None,
    drop_empty: bool = True,
) -> dict[str, Any]:
    r"""Write records with the tokens that carry the loss, for a trainer; whole or not at all.

    ``trl`` (a pre-tokenised data set for SFTTrainer)
        ``input_ids``, ``labels``, ``completion_mask``
    ``axolotl`` (a data set with an empty ``type:``) and ``llama-factory`` (a folder for ``tokenized_path:``)
        ``input_ids``, ``attention_mask``, ``labels``
    ``axolotl-segments`` (for ``type: input_output``)
        ``segments``: texts with a flag each
    ``parquet``
        ``unit_id``, ``input_ids``, ``labels``, ``keep``, and ``score`` if there are scores

    ``labels`` are token ids, and -100 where a token is not trained on. Types are those of data that Hugging Face
    libraries tokenise, so that it can be joined with such data. Beside an axolotl file lies a ``.yaml`` with the entry
    to paste; the folder for LLaMA-Factory holds a README.

    Segments are text that the trainer tokenises again, and its tokens may begin elsewhere. No segment ends inside a
    character: where the mask does, no token of that character is trained on.

    Parameters
    ----------
    rows : TokenRows
        T tokens of n records.
    keep : ndarray of bool, shape (T,)
        Which tokens are trained on. Never the first of a record, which nothing predicts.
    path : Path
        File to create or replace, ``.parquet`` or ``.jsonl``; see :data:`SUFFIXES`. For ``llama-factory`` a folder.
    format : str
        One of :data:`FORMATS`.
    score : ndarray of float32, shape (T,), optional
        Score of each token, nan where it was not ranked. Only ``parquet`` holds it.
    decode : callable, optional
        Text of token ids with special tokens. Segments need it.
    encode : callable, optional
        Token ids of a text as the trainer finds them. With it, records whose segments give other ids are counted.
    drop_empty : bool
        Leave out records of which no token is kept.

    Returns
    -------
    dict
        ``format``, ``rows`` written, ``left_out`` (no token kept), ``tokens`` written, ``kept`` (trained on),
        ``longest`` (tokens of the longest record) and ``files``, the data first. Of segments also ``unlabelled``
        (kept tokens that are not trained on, since the mask cuts a character) and ``retokenised`` (records that give
        other ids; None without ``encode``).

    Raises
    ------
    RecipeError
        If the format or the suffix is wrong, or segments are asked for without ``decode``.
    DataError
        If lengths differ, the first token of a record is kept, there is nothing to write, or no place to write to.

    Examples
    --------
    >>> import tempfile
    >>> rows = TokenRows.from_lists(["a", "b"], [[5, 6, 7], [5, 8]], [[False, True, True], [False, True]])
    >>> file = Path(tempfile.mkdtemp()) / "masks.jsonl"
    >>> found = write_token_masks(rows, np.array([False, True, False, False, False]), file, format="trl")
    >>> found["rows"], found["left_out"], found["kept"]
    (1, 1, 1)
    >>> file.read_text()
    '{"input_ids":[5,6,7],"labels":[-100,6,-100],"completion_mask":[0,1,0]}\n'
    """
    path = Path(path)
    _check_target(path, format)
    _check_masks(rows, keep, score)
    at = _rows_to_write(rows, keep, drop_empty)
    found = {
        "format": format,
        "rows": len(at),
        "left_out": len(rows) - len(at),
        "tokens": int(rows.lengths[at].sum()),
        "kept": int(keep.sum()),
        "longest": int(rows.lengths[at].max()),
        "files": [str(path)],
    }
    chunks = _chunks(rows, keep, score, at)
    if format == SEGMENTS:
        write_segments(path, chunks, found, decode, encode, drop_empty)
    else:
        _WRITERS[path.suffix if format != FOLDER else ""](path, (_batch(chunk, format) for chunk in chunks))
    return add_notes(path, found)


def _check_target(path: Path, format: str) -> None:
    if format not in SUFFIXES:
        raise RecipeError(f"There is no trainer format {format!r}.{did_you_mean(format, FORMATS)}")
    if format == FOLDER:
        foreign = {p.name for p in path.iterdir()} - {_DATA, _STATE, _INFO, README} if path.is_dir() else set()
        if foreign or path.is_file():
            raise DataError(f"{path} holds something else than a data set of tamis; give the name of a new folder.")
    elif path.suffix not in SUFFIXES[format]:
        raise RecipeError(
            f"Token masks for {format} are written as {' or '.join(SUFFIXES[format])}. Got {path} instead."
        )
    elif path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it, for example masks{SUFFIXES[format][0]}.")
    if not path.parent.is_dir():
        raise DataError(f"The folder {path.parent} to write {path.name} into does not exist; create it first.")


def _check_masks(rows: TokenRows, keep: NDArray[np.bool_], score: NDArray[np.float32] | None) -> None:
    if keep.dtype != np.bool_:
        raise parameter_error("write_token_masks", "keep", "an array of bool", keep.dtype)
    for name, values in (("keep", keep), ("score", score)):
        if values is not None and values.shape != rows.ids.shape:
            raise DataError(f"{name} must hold one value a token: {len(rows.ids)} tokens, shape {values.shape}.")
    kept_first = np.flatnonzero(keep[rows.offsets[:-1]])
    if len(kept_first):
        raise DataError(
            f"The first token of the record {rows.unit_ids[int(kept_first[0])]!r} is kept, but nothing predicts it."
        )


def _rows_to_write(rows: TokenRows, keep: NDArray[np.bool_], drop_empty: bool) -> NDArray[np.int64]:
    at = np.arange(len(rows))
    if drop_empty and len(rows):
        at = np.flatnonzero(np.logical_or.reduceat(keep, rows.offsets[:-1]))
    if not len(at):
        raise DataError(f"There is nothing to write: of {len(rows)} records none keeps a token.")
    return at


def _chunks(
    rows: TokenRows, keep: NDArray[np.bool_], score: NDArray[np.float32] | None, at: NDArray[np.int64]
) -> Iterator[TokenChunk]:
    group = np.cumsum(rows.lengths[at]) // TOKENS_AT_ONCE
    for part in np.split(at, np.flatnonzero(np.diff(group)) + 1):
        where = rows.places(part)
        scored = None if score is None else score[where]
        yield TokenChunk(rows.unit_ids[part], offsets_of(rows.lengths[part]), rows.ids[where], keep[where], scored)


def _batch(chunk: TokenChunk, format: str) -> Any:
    """Columns of a chunk, in the types that ``datasets`` gives to tokenised text."""
    import pyarrow as pa

    flat: dict[str, NDArray[Any]] = {
        "input_ids": chunk.ids,
        "labels": np.where(chunk.keep, chunk.ids, np.int64(IGNORED)),
    }
    if format == "trl":
        flat["completion_mask"] = chunk.keep.astype(np.int8)
    elif format == "parquet":
        flat |= {"keep": chunk.keep} | ({} if chunk.score is None else {"score": chunk.score.astype(np.float32)})
    else:
        labels = flat.pop("labels")
        flat |= {"attention_mask": np.ones(len(chunk.ids), np.int8), "labels": labels}
    # Plain lists: the large ones that Polars writes cannot be joined with other data sets.
    offsets = pa.array(chunk.offsets.astype(np.int32))
    columns = {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in flat.items()}
    if format == "parquet":
        columns = {"unit_id": pa.array(chunk.unit_ids.to_list(), pa.string()), **columns}
    return pa.RecordBatch.from_pydict(columns)


def _write_parquet(path: Path, batches: Batches) -> None:
    from pyarrow import parquet

    first = next(batches)
    with (
        atomic_path(path) as temporary,
        parquet.ParquetWriter(temporary, first.schema, compression="zstd") as writer,
    ):
        for batch in chain([first], batches):
            writer.write_batch(batch)


def _write_json_lines(path: Path, batches: Batches) -> None:
    with atomic_path(path) as temporary, create_bytes(temporary) as stream:
        for batch in batches:
            pl.DataFrame(pl.from_arrow(batch)).write_ndjson(stream)


def _write_dataset_folder(path: Path, batches: Batches) -> None:
    """What ``datasets.load_from_disk`` reads, in any version: types are in the Arrow file alone."""
    import pyarrow as pa

    path.mkdir(exist_ok=True)
    (path / _STATE).unlink(missing_ok=True)  # without it the folder is no data set
    first = next(batches)
    with (
        atomic_path(path / _DATA) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, first.schema) as stream,
    ):
        for batch in chain([first], batches):
            stream.write_batch(batch)
    state: dict[str, Any] = dict.fromkeys(("_format_columns", "_format_type", "_split"))
    state |= {"_format_kwargs": {}, "_output_all_columns": False, "_data_files": [{"filename": _DATA}]}
    state["_fingerprint"] = digest_file(path / _DATA)[:16]  # what is derived from the data is cached under this
    atomic_write_text(path / _INFO, "{}\n")
    atomic_write_text(path / _STATE, json.dumps(state, indent=2) + "\n")


_WRITERS = {".parquet": _write_parquet, ".jsonl": _write_json_lines, "": _write_dataset_folder}
