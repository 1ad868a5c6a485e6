"""What the contract suite needs to know about a method: worlds for selectors and for editors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tamis.data import Table, read


class World(ABC):
    """A dataset small enough for a second's work, and how the method is called on it.

    ``given()`` returns the arguments of its ``fit``, or ``apply``, by name.
    """

    estimator: ClassVar[type]
    params: ClassVar[dict[str, Any]]
    ends: ClassVar[tuple[str, ...]]
    """Files of a run that are the same however it went."""
    shards: ClassVar[str]
    """Pattern of the files of finished shards, or steps, of a run."""
    small: ClassVar[str] = ""
    """``"module:CONSTANT"`` that cuts shards; the suite lowers it to ``small_size`` so that a run has several."""
    small_size: ClassVar[int] = 64

    def make(self, **changed: Any) -> Any:
        return self.estimator(**{**self.params, **changed})

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """Keywords of the method."""

    @abstractmethod
    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        """Every way in, tried with a row that is there twice: all must refuse."""

    @abstractmethod
    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """Write the world to ``folder``; return inputs and parameters of its recipe."""


class SelectorWorld(World):
    """World of a method that decides about units.

    Unless a world says otherwise, ``given()`` holds a ``table`` whose records are the units, and arrays that run over
    its rows.
    """

    ends = ("selection.parquet", "evidence.parquet", "selected.jsonl")
    shards = "steps/*/part-*.parquet"

    @abstractmethod
    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        """Keywords of ``fit``; with ``content_ids`` the table's ids are digests of the content."""

    def units(self, given: dict[str, Any]) -> list[str]:
        """What is decided about."""
        return given["table"].ids.to_list()

    def size(self, given: dict[str, Any]) -> int:
        """Rows that can be taken, reordered and left out."""
        return len(given["table"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        """The world at these rows: tables and arrays that run over the rows are cut, signals go by id."""
        rows, n = np.asarray(rows, dtype=np.int64), self.size(given)

        def cut(value: Any) -> Any:
            if isinstance(value, Table):
                return value.take(rows)
            return value[rows] if isinstance(value, np.ndarray) and len(value) == n else value

        return {name: cut(value) for name, value in given.items()}

    def order(self, given: dict[str, Any]) -> list[str]:
        """Ids of the rows, as they stand."""
        return given["table"].ids.to_list()

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = given["table"].frame
        twice = pl.concat([frame, frame[:1]])
        twice.write_ndjson(folder / "pool.jsonl")
        return [lambda: Table.from_frame(twice), lambda: Table(twice), lambda: read(folder / "pool.jsonl")]

    @abstractmethod
    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        """What is left when the selection is applied to its table, and how many rows that must be."""

    @abstractmethod
    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        """The same with the measurements of ``ids`` failed in the way ``status`` says."""

    @abstractmethod
    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        """What, row by row, does not depend on any measurement."""


class EditorWorld(World):
    """World of a method that changes a network: ``given()`` returns the keywords of ``apply``."""

    ends = ("selection.parquet", "model/model.safetensors", "certificate/predictions.parquet",
            "certificate/request.json")  # fmt: skip
    shards = "steps/*/model/model.safetensors"
    small_size = 1

    @abstractmethod
    def files(
        self, folder: Path, given: dict[str, Any], *, content_ids: bool = False, shuffled: bool = False
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Likewise; with ``content_ids`` without ids, with ``shuffled`` in another order of rows."""
