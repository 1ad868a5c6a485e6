"""One step of a run: fixed shards, a part file and a marker for each, resumable by any engine."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.engine import Engine
from tamis.runs.atomic import atomic_path, atomic_write_text
from tamis.runs.ledger import Ledger

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[str, int, int], None]
"""Called with (step name, units done, units in all)."""


@dataclass(frozen=True)
class _WritePart:
    """Compute one shard and write its part, then its marker. Runs wherever the engine puts it."""

    task: Callable[[Any], pl.DataFrame]
    folder: str

    def __call__(self, numbered: tuple[int, Any]) -> int:
        number, shard = numbered
        frame = self.task(shard)
        with atomic_path(part_path(Path(self.folder), number)) as temporary:
            frame.write_parquet(temporary, statistics=False)
        atomic_write_text(Path(self.folder) / "_DONE" / f"{number:05d}", "")
        return frame.height


def part_path(folder: Path, number: int) -> Path:
    """Path of a step's part file."""
    return folder / f"part-{number:05d}.parquet"


class Step:
    """A step's folder: ``part-*.parquet``, ``_DONE/<number>`` and ``step.json`` with its key.

    Parameters
    ----------
    folder : Path
        ``<run>/steps/<nn>-<name>``.
    key : str
        Digest of everything the result depends on. A folder that carries another key is emptied.
    ledger : Ledger
        Where events go.
    """

    def __init__(self, folder: Path, key: str, ledger: Ledger) -> None:
        self.folder, self.key, self.ledger, self.name = folder, key, ledger, folder.name
        if _key_of(folder) != key:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "_DONE").mkdir(parents=True, exist_ok=True)
            atomic_write_text(folder / "step.json", json.dumps({"key": key}) + "\n")

    @property
    def complete(self) -> bool:
        """Whether every shard of the step is done."""
        return (self.folder / "_DONE" / "all").exists()

    def reuse_from(self, runs: Sequence[Path]) -> bool:
        """Take over the result of a step with the same key from another run directory, if one is complete.

        It may have another number there. Parts never change once written, so they are hard-linked where the file system
        can, else copied.
        """
        numbered = f"*-{escape(self.name.partition('-')[2])}"
        for other in (step for run in runs for step in sorted((run / "steps").glob(numbered))):
            if other.parent != self.folder.parent and _key_of(other) == self.key and (other / "_DONE" / "all").exists():
                # parts before markers, and the mark of completeness last: a kill in between loses nothing but time
                for left_out, source in (("_DONE", other), ("all", other / "_DONE")):
                    shutil.copytree(
                        source,
                        self.folder / source.relative_to(other),
                        ignore=shutil.ignore_patterns(left_out, "step.json"),
                        copy_function=link_or_copy,
                        dirs_exist_ok=True,
                    )
                atomic_write_text(self.folder / "_DONE" / "all", "")
                self.ledger.add("reused", step=self.name, source=str(other.parent.parent))
                return True
        return False

    def map(
        self,
        task: Callable[[Any], pl.DataFrame],
        shards: Sequence[Any],
        *,
        engine: Engine,
        sizes: Sequence[int],
        progress: Progress | None = None,
    ) -> None:
        """Compute every shard that is not done yet.

        Parameters
        ----------
        task : callable
            Pure function of a shard, importable at module level; returns the shard's part.
        shards : sequence
            All shards of the step, fixed by the input alone.
        engine : Engine
            Who executes them.
        sizes : sequence of int
            Units in each shard, for the progress display.
        progress : callable, optional
            Called with (step name, units done, units in all).
        """
        pending = [i for i in range(len(shards)) if not (self.folder / "_DONE" / f"{i:05d}").exists()]
        total, done = sum(sizes), sum(sizes) - sum(sizes[i] for i in pending)
        self.ledger.add("step", step=self.name, shards=len(shards), pending=len(pending), engine=engine.name)
        started = time.monotonic()
        if progress:
            progress(self.name, done, total)
        for position, _ in engine.map(_WritePart(task, str(self.folder)), [(i, shards[i]) for i in pending]):
            done += sizes[pending[position]]
            if progress:
                progress(self.name, done, total)
        self.finish(seconds=time.monotonic() - started)

    def finish(self, **fields: Any) -> None:
        """Mark the step complete."""
        atomic_write_text(self.folder / "_DONE" / "all", "")
        self.ledger.add("done", step=self.name, **fields)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the parts in shard order."""
        import polars as pl

        for path in sorted(self.folder.glob("part-*.parquet")):
            yield pl.read_parquet(path)


def _key_of(folder: Path) -> str | None:
    try:
        key: str | None = json.loads((folder / "step.json").read_text(encoding="utf-8")).get("key")
    except (OSError, ValueError):
        return None
    return key


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system cannot."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
