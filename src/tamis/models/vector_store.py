"""Vectors on disk, keyed by model fingerprint and text digest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tamis.cache import cache_folder
from tamis.runs.atomic import atomic_path
from tamis.runs.digests import digest_json


class VectorStore:
    """A folder of Parquet segments with columns ``digest`` and ``vector``.

    Each segment is written whole or not at all, so every finished shard survives a crash, and several processes
    can add segments at once.

    Parameters
    ----------
    folder : Path
        Created on first write.

    Examples
    --------
    >>> import tempfile
    >>> store = VectorStore(Path(tempfile.mkdtemp()))
    >>> store.add(["a"], np.ones((1, 2), dtype=np.float32))
    >>> store.missing(["a", "b"])
    ['b']
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_model(cls, fingerprint: str) -> VectorStore:
        """The store of one model in the user's cache folder."""
        return cls(cache_folder() / "vectors" / fingerprint)

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def add(self, digests: list[str], vectors: np.ndarray) -> None:
        """Store one segment.

        Parameters
        ----------
        digests : list of str, length n
        vectors : ndarray of shape (n, d), float32
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"part-{digest_json(digests)}.parquet"
        with atomic_path(self.folder / name) as temporary:
            pl.DataFrame({"digest": digests, "vector": vectors}).write_parquet(temporary, compression="lz4")

    def missing(self, digests: list[str]) -> list[str]:
        """The digests that have no vector yet, in their order."""
        known: set[str] = set()
        for segment in self._segments():
            known.update(pl.read_parquet(segment, columns=["digest"])["digest"].to_list())
        return [d for d in digests if d not in known]

    def get(self, digests: list[str]) -> np.ndarray:
        """Vectors of ``digests``, in their order.

        Returns
        -------
        ndarray of shape (len(digests), d), float32

        Raises
        ------
        KeyError
            If one is missing.
        """
        row_of = {d: i for i, d in enumerate(digests)}
        out: np.ndarray | None = None
        found = np.zeros(len(digests), dtype=bool)
        for segment in self._segments():
            frame = pl.read_parquet(segment).filter(pl.col("digest").is_in(digests) if len(digests) < 1000 else True)
            pairs = [(i, row_of[d]) for i, d in enumerate(frame["digest"]) if d in row_of]
            if not pairs:
                continue
            vectors = frame["vector"].to_numpy()
            out = np.empty((len(digests), vectors.shape[1]), dtype=np.float32) if out is None else out
            source, target = np.array(pairs).T
            out[target] = vectors[source]
            found[target] = True
        if out is None or not found.all():
            raise KeyError(f"{int((~found).sum())} of {len(digests)} vectors are missing in {self.folder}")
        return out
