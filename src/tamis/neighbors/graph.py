"""The k-NN graph that methods share: in memory, on disk, or brought by the user."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError
from tamis.neighbors._checks import check_graph
from tamis.runs.atomic import atomic_path, atomic_write_text

_ARRAYS = {"idx": np.int32, "dist": np.float32, "group": np.int64, "first": np.int64}
_META = "graph.json"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """The ``k`` nearest neighbours of every distinct row.

    Rows that are exact copies share one node: ``idx`` counts *unique* rows 0..U-1, and ``group`` leads from each of the
    N original rows to its node. Neighbours of original row ``i``: ``graph.first[graph.idx[graph.group[i]]]``.

    Attributes
    ----------
    idx : ndarray of shape (U, k), int32
        Neighbours as unique rows, nearest first, ties by lower index; a row is never its own neighbour. -1 pads rows
        with fewer than ``k`` neighbours (only in a graph brought by the user).
    dist : ndarray of shape (U, k), float32
        Distances, ascending; ``1 - cosine`` clipped at zero in graphs made here. Infinite where ``idx`` is -1.
    group : ndarray of shape (N,), int64
        Unique row of each original row.
    first : ndarray of shape (U,), int64
        Original row of the first copy, ascending.
    method : str
        ``"exact"``, ``"ivf"``, ``"hnsw"`` or ``"precomputed"``.
    recall : float or None
        Share of true neighbours found: 1.0 for ``"exact"``, an estimate from a sample for the approximate methods, None
        (unknown) for ``"precomputed"``.

    Examples
    --------
    >>> graph = NeighborGraph.from_arrays([[1], [0], [1]], [[0.1], [0.1], [0.3]])
    >>> graph.k, graph.n_unique, graph.n_rows, graph.method
    (1, 3, 3, 'precomputed')
    """

    idx: NDArray[np.int32]
    dist: NDArray[np.float32]
    group: NDArray[np.int64]
    first: NDArray[np.int64]
    method: str
    recall: float | None

    @property
    def k(self) -> int:
        """Neighbours per row."""
        return int(self.idx.shape[1])

    @property
    def n_unique(self) -> int:
        """Distinct rows, U."""
        return int(self.idx.shape[0])

    @property
    def n_rows(self) -> int:
        """Original rows, N, copies included."""
        return int(self.group.shape[0])

    @property
    def duplicate_share(self) -> float:
        """Share of original rows that are further copies of an earlier row, (N - U) / N."""
        return (self.n_rows - self.n_unique) / self.n_rows

    @classmethod
    def from_arrays(cls, idx: ArrayLike, dist: ArrayLike) -> NeighborGraph:
        """Take a graph computed elsewhere, over rows that are all taken as distinct.

        Rows are sorted by ascending distance, ties by lower index, padding last. Copies among the rows cannot be seen
        from a graph: merge them before (:func:`tamis.neighbors.merge_duplicates`), or copies will vouch for each other.

        Parameters
        ----------
        idx : array-like of shape (N, k), integer
            Neighbours as rows 0..N-1, at most once per row, a row itself excluded; -1 where there is none.
        dist : array-like of shape (N, k)
            Distances, not negative (-1e-6 and above counts as rounding and becomes 0). Ignored where ``idx`` is -1.

        Raises
        ------
        DataError
            If the arrays are not such a graph; the message names the first row at fault.

        Examples
        --------
        >>> NeighborGraph.from_arrays([[2, 1], [0, -1], [1, 0]], [[0.5, 0.2], [0.2, 0], [0.4, 0.5]]).idx
        array([[ 1,  2],
               [ 0, -1],
               [ 1,  0]], dtype=int32)
        """
        own_idx, own_dist = np.asarray(idx), np.asarray(dist)
        if own_idx.ndim != 2 or own_idx.shape != own_dist.shape or own_idx.shape[0] == 0:
            raise DataError(
                "idx and dist must be matrices of one shape (rows, k) with at least one row. "
                f"Got shapes {own_idx.shape} and {own_dist.shape} instead."
            )
        if own_idx.dtype.kind not in "iu" or own_dist.dtype.kind not in "fiu":
            raise DataError(
                "idx must hold integers and dist real numbers. "
                f"Got dtypes {own_idx.dtype} and {own_dist.dtype} instead."
            )
        if own_idx.size and int(own_idx.max()) >= own_idx.shape[0]:
            row = int(np.argmax(own_idx.max(axis=1) >= own_idx.shape[0]))
            raise DataError(
                f"idx must refer to rows 0 to {own_idx.shape[0] - 1}. Got {own_idx[row].max()} in row {row}; "
                "number the neighbours by row of this graph."
            )
        padded = own_idx < 0
        clean = np.where(padded, np.inf, own_dist).astype(np.float32)
        clean[(clean < 0) & (clean >= -1e-6)] = 0.0
        order = np.lexsort((own_idx, clean), axis=-1)
        rows = np.arange(own_idx.shape[0], dtype=np.int64)
        graph = cls(
            idx=np.take_along_axis(own_idx, order, axis=-1).astype(np.int32),
            dist=np.take_along_axis(clean, order, axis=-1),
            group=rows,
            first=rows.copy(),
            method="precomputed",
            recall=None,
        )
        graph.validate()
        return graph

    def for_rows(self, order: ArrayLike) -> NeighborGraph:
        """Return the same graph for rows that were put in ``order`` before it was built.

        A caller who builds the graph over ``X[order]``, so that the numbering does not depend on the order of the rows,
        gets the graph for the rows of ``X``. ``first`` is then the copy that came first in ``order`` and no longer
        ascends, which :meth:`validate` and :meth:`save` would refuse.

        Parameters
        ----------
        order : array-like of shape (N,), integer
            A permutation: row ``order[i]`` of ``X`` was row ``i`` of the graph.

        Examples
        --------
        >>> import numpy as np
        >>> graph = NeighborGraph.from_arrays([[1], [0], [1]], [[0.1], [0.1], [0.3]]).for_rows([2, 0, 1])
        >>> graph.group.tolist(), graph.first.tolist()
        ([1, 2, 0], [2, 0, 1])
        """
        rows = np.asarray(order, dtype=np.int64)
        group = np.empty_like(self.group)
        group[rows] = self.group
        return replace(self, group=group, first=rows[self.first])

    def validate(self) -> None:
        """Check every promise of this class.

        Raises
        ------
        DataError
            If an array has the wrong shape or dtype, refers to rows that are not there, holds a row as its own
            neighbour or a neighbour twice, or is not in order.

        Examples
        --------
        >>> NeighborGraph.from_arrays([[1], [0]], [[0.1], [0.1]]).validate()
        """
        for name, dtype in _ARRAYS.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                got = getattr(array, "dtype", type(array).__name__)
                raise DataError(f"NeighborGraph.{name} must be an array of {np.dtype(dtype)}. Got {got} instead.")
        if self.recall is not None and not 0.0 <= self.recall <= 1.0:
            raise DataError(f"NeighborGraph.recall must be None or in [0, 1]. Got {self.recall} instead.")
        check_graph(self.idx, self.dist, self.group, self.first)

    def save(self, folder: str | Path) -> None:
        """Write the graph to ``folder``: one ``.npy`` per array, then ``graph.json``, the mark that all are there.

        Each file is written under a temporary name and renamed. A crash leaves a folder that :meth:`load` refuses,
        never a mixture of two graphs.

        Examples
        --------
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "graph"
        >>> NeighborGraph.from_arrays([[1], [0]], [[0.1], [0.1]]).save(folder)
        >>> sorted(path.name for path in folder.iterdir())
        ['dist.npy', 'first.npy', 'graph.json', 'group.npy', 'idx.npy']
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _META).unlink(missing_ok=True)
        for name in _ARRAYS:
            with atomic_path(folder / f"{name}.npy") as path:
                np.save(path, getattr(self, name), allow_pickle=False)
        meta = {"format": _FORMAT, "method": self.method, "recall": self.recall}
        atomic_write_text(folder / _META, json.dumps(meta) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> NeighborGraph:
        """Read a graph that :meth:`save` wrote, and :meth:`validate` it.

        Raises
        ------
        DataError
            If ``folder`` holds no complete graph, or one of another format.

        Examples
        --------
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> NeighborGraph.from_arrays([[1], [0]], [[0.1], [0.1]]).save(folder)
        >>> NeighborGraph.load(folder).dist.tolist() == [[np.float32(0.1)]] * 2
        True
        """
        folder = Path(folder)
        absent = [name for name in (_META, *(f"{name}.npy" for name in _ARRAYS)) if not (folder / name).is_file()]
        if absent:
            raise DataError(
                f"{folder} must hold a whole neighbour graph. Got no {', '.join(absent)}; build and save it again."
            )
        try:
            meta = json.loads((folder / _META).read_text(encoding="utf-8"))
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        except (ValueError, EOFError) as error:
            raise DataError(
                f"{folder} must hold a readable neighbour graph. Got: {error}; build and save it again."
            ) from error
        if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
            raise DataError(
                f"{folder / _META} must be of format {_FORMAT}. Got {meta!r}; build and save the graph again."
            )
        graph = cls(**arrays, method=str(meta["method"]), recall=meta["recall"])
        graph.validate()
        return graph
