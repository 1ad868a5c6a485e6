"""From texts to vectors: each distinct text once, in shards that survive a crash; or vectors the user brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tamis.data import text_digests
from tamis.engine import Engine
from tamis.errors import DataError
from tamis.models.embedder import Embedder
from tamis.models.vector_store import VectorStore

SHARD_SIZE = 256
"""Texts per shard: what a crash can cost at most, per worker."""


@dataclass(frozen=True)
class _EmbedShard:
    embedder: Embedder
    folder: str

    def __call__(self, shard: tuple[list[str], list[str]]) -> int:
        digests, texts = shard
        VectorStore(Path(self.folder)).add(digests, self.embedder.encode(texts))
        return len(texts)


def embed_texts(
    texts: Sequence[str],
    *,
    embedder: Embedder,
    engine: Engine,
    store: VectorStore | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> np.ndarray:
    """Embed each distinct text once and return one vector a text.

    Shards are fixed by the distinct texts alone (longest first, then by digest), so neither the order of the rows nor
    the engine nor an interruption changes a vector. Texts already in the store are not embedded again; those that
    another pool put there keep the vectors of its batches, which may differ in the last bits (about 1e-7).

    Parameters
    ----------
    texts : sequence of str, length n
    embedder : Embedder
    engine : Engine
    store : VectorStore, optional
        Default: the model's store in the user's cache folder.
    progress : callable, optional
        Called with ("embed", texts done, texts in all).

    Returns
    -------
    ndarray of shape (n, d), float32
        Rows of unit length.

    Raises
    ------
    DataError
        If there are no texts.
    """
    if not len(texts):
        raise DataError("There is nothing to embed: the pool has no rows.")
    store = store or VectorStore.of_model(embedder.fingerprint)
    digests = text_digests(list(texts))
    text_of = dict(zip(digests, texts, strict=True))
    distinct = sorted(text_of, key=lambda d: (-len(text_of[d]), d))
    missing = set(store.missing(distinct))
    shards = [distinct[i : i + SHARD_SIZE] for i in range(0, len(distinct), SHARD_SIZE)]
    todo = [s for s in ([d for d in shard if d in missing] for shard in shards) if s]
    done = len(distinct) - len(missing)
    if progress:
        progress("embed", done, len(distinct))
    payload = [(shard, [text_of[d] for d in shard]) for shard in todo]
    for _, n in engine.map(_EmbedShard(embedder, str(store.folder)), payload):
        done += n
        if progress:
            progress("embed", done, len(distinct))
    row_of = {d: i for i, d in enumerate(distinct)}
    return store.get(distinct)[[row_of[d] for d in digests]]


def read_vectors(path: str | Path, *, n_rows: int, ids: Sequence[str], column: str | None = None) -> np.ndarray:
    """Read precomputed vectors from ``.npy`` (row order of the pool) or a Parquet column.

    Parameters
    ----------
    path : str or Path
        ``.npy`` array of shape (n_rows, d), or Parquet with a list column of vectors. A Parquet file that has an
        ``id`` (or ``unit_id``) column is matched by id, another is taken in row order.
    n_rows : int
        Rows of the pool.
    ids : sequence of str
        Ids of the pool, in order.
    column : str, optional
        Name of the Parquet column; default: the only list column.

    Returns
    -------
    ndarray of shape (n_rows, d), float32

    Raises
    ------
    DataError
        If the file is missing, of another format, or its shape or ids do not fit the pool.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"There is no embeddings file {path}.")
    if path.suffix == ".npy":
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{path} is not a readable .npy array ({error}).") from error
    elif path.suffix == ".parquet":
        vectors = _parquet_vectors(path, ids, column)
    else:
        raise DataError(f"Embeddings must be a .npy or .parquet file; got {path.name!r}.")
    if vectors.ndim != 2 or vectors.shape[0] != n_rows:
        raise DataError(
            f"The embeddings in {path} have shape {vectors.shape}; expected ({n_rows}, d), one vector per pool row."
        )
    return np.asarray(vectors, dtype=np.float32)


def _parquet_vectors(path: Path, ids: Sequence[str], column: str | None) -> np.ndarray:
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}).") from error
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List | pl.Array)]
    name = column or (lists[0] if len(lists) == 1 else None)
    if name is None or name not in lists:
        raise DataError(f"{path} must have one list column of vectors, or name it; its list columns are {lists}.")
    key = next((k for k in ("id", "unit_id") if k in frame.columns), None)
    if key is not None:
        frame = frame.with_columns(pl.col(key).cast(pl.String))
        wanted = pl.DataFrame({key: list(ids)})
        frame = frame.filter(pl.col(key).is_in(wanted[key].implode()))
        if frame[key].n_unique() < frame.height:
            twice = frame[key].filter(frame[key].is_duplicated())[0]
            raise DataError(f"{path} has more than one vector for the row {twice!r}; give one a row.")
        frame = wanted.join(frame, on=key, how="left", maintain_order="left")
        absent = frame.filter(pl.col(name).is_null())[key]
        if len(absent):
            raise DataError(f"{path} has no vector for {len(absent)} of {len(ids)} pool rows (first: {absent[0]!r}).")
    inner = frame.schema[name].inner  # type: ignore[attr-defined]
    if not inner.is_numeric():
        raise DataError(f"The column {name!r} of {path} must hold lists of numbers, found lists of {inner}.")
    widths = frame[name].list.len() if isinstance(frame.schema[name], pl.List) else None
    if widths is not None and widths.n_unique() != 1:
        raise DataError(f"The vectors in {path} differ in length (from {widths.min()!s} to {widths.max()!s} numbers).")
    width = int(widths[0]) if widths is not None else frame.schema[name].size  # type: ignore[attr-defined]
    return frame[name].explode().to_numpy().reshape(frame.height, width)
