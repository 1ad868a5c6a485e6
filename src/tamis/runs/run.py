"""``Run``: the directory that holds all of one piece of work."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tamis.errors import RunStateError
from tamis.recipe import Recipe
from tamis.runs.atomic import PREFIX, atomic_write_text, clear_temporaries
from tamis.runs.digests import digest_file, digest_json
from tamis.runs.ledger import Ledger
from tamis.runs.manifest import new_manifest, read_manifest, write_manifest
from tamis.runs.steps import Step


def utc_now() -> str:
    """Current time, ISO 8601, seconds, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Run:
    """A run directory, open for work.

    ::

        <run>/recipe.yaml manifest.json ledger.jsonl steps/01-embed/... selection.parquet evidence.parquet report.html

    Use :meth:`start` to create or continue one and :meth:`open` to read one. While a run is started, a lock on
    ``.lock`` keeps a second process out; the operating system releases it however the process ends.

    Parameters
    ----------
    folder : Path
        The directory.
    recipe : Recipe
        What it does.
    manifest : dict
        Its manifest.
    clock : callable
        Returns the time as an ISO 8601 string.
    """

    def __init__(self, folder: Path, recipe: Recipe, manifest: dict[str, Any], clock: Callable[[], str]) -> None:
        self.folder, self.recipe, self.manifest, self.clock = folder, recipe, manifest, clock
        self.ledger = Ledger(folder / "ledger.jsonl", clock)
        self._lock: IO[str] | None = None
        self._n_steps = 0

    @classmethod
    def start(cls, folder: str | Path, recipe: Recipe, *, command: str, clock: Callable[[], str] = utc_now) -> Run:
        """Create a run directory, or continue the one that is there if it holds the same recipe.

        Raises
        ------
        RunStateError
            If the folder cannot be written, is in use, holds something else, or holds another recipe.
        DataError
            If an input of the recipe does not exist.
        """
        folder = Path(folder)
        identity = recipe.identity({role: digest_file(path) for role, path in recipe.inputs.items()})
        try:
            if folder.exists() and not (folder / "recipe.yaml").exists() and any(map(_foreign, folder.iterdir())):
                raise RunStateError(f"{folder} is not empty and not a run directory; choose another --out.")
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
            clear_temporaries(folder)
        except OSError as error:
            raise RunStateError(f"The run directory {folder} cannot be written: {error.strerror or error}.") from error
        with ExitStack() as on_failure:
            on_failure.callback(lock.close)
            if (folder / "manifest.json").exists() and (folder / "steps").exists():
                run = cls(folder, recipe, read_manifest(folder), clock)
                _require_same(folder, run.manifest["identity"], identity)
                atomic_write_text(folder / "recipe.yaml", recipe.to_yaml())  # its limits may be others
                run.ledger.add("resumed", command=command)
            else:
                manifest = new_manifest(identity=identity, command=command, created=clock(), cwd=str(Path.cwd()))
                # a folder without steps is a run that never began: whatever stopped it may have been corrected
                atomic_write_text(folder / "recipe.yaml", recipe.to_yaml())
                write_manifest(folder, manifest)
                run = cls(folder, recipe, manifest, clock)
                run.ledger.add("started", command=command)
            on_failure.pop_all()
        run._lock = lock
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run directory for reading.

        Raises
        ------
        RunStateError
            If it is not a run directory.
        """
        return cls._read(Path(folder), utc_now)

    @classmethod
    def _read(cls, folder: Path, clock: Callable[[], str]) -> Run:
        manifest = read_manifest(folder)
        return cls(folder, Recipe.from_yaml(folder / "recipe.yaml"), manifest, clock)

    @property
    def status(self) -> str:
        """``running`` (or stopped half-way), ``complete`` or ``incomplete`` (measurements are missing)."""
        status: str = self.manifest["status"]
        return status

    def step(self, name: str, **depends_on: Any) -> Step:
        """Open the next step.

        Parameters
        ----------
        name : str
            Name of the step; its folder is ``steps/<nn>-<name>``.
        **depends_on
            Everything the result depends on, as JSON values: versions, parameters, input digests, model
            fingerprints, seeds. Never worker counts, batch sizes or paths.
        """
        self._n_steps += 1
        numbered = f"{self._n_steps:02d}-{name}"
        step = Step(self.folder / "steps" / numbered, digest_json({"step": name, **depends_on}), self.ledger)
        if not step.complete:
            step.reuse_from(sorted(_runs_in(self.folder.absolute().parent)))
        self.manifest["steps"][numbered] = step.key
        return step

    def finish(self, status: str, summary: dict[str, Any]) -> None:
        """Record the outcome and release the lock.

        Parameters
        ----------
        status : {"complete", "incomplete"}
            Whether every unit was measured.
        summary : dict
            The figures that ``--json`` prints.
        """
        self.manifest.update(status=status, finished=self.clock(), summary=summary)
        write_manifest(self.folder, self.manifest)
        self.ledger.add("finished", status=status)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock. A run is also a context manager that does so."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _foreign(path: Path) -> bool:
    """Whether a file is not what a run that was killed at its very beginning leaves."""
    return path.name != ".lock" and not path.name.startswith(PREFIX)


def _runs_in(folder: Path) -> list[Path]:
    """Run directories in a folder; those that may not be read do not count."""
    try:
        return [path for path in folder.iterdir() if os.path.exists(path / "manifest.json")]  # noqa: PTH110
    except OSError:
        return []


def require_run(folder: Path) -> None:
    """Raise RunStateError unless ``folder`` is a run directory."""
    if not (folder / "recipe.yaml").exists():
        raise RunStateError(f"{folder} is not a run directory: it has no recipe.yaml.")


def _locked(folder: Path) -> IO[str]:
    stream = (folder / ".lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        owner = stream.read().strip() or "unknown"
        stream.close()
        raise RunStateError(f"{folder} is in use by another process (pid {owner}); wait for it or stop it.") from None
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def _require_same(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise if the folder belongs to another recipe, naming what differs."""
    differing = []
    for part in sorted(old.keys() | new.keys()):
        before, after = old.get(part), new.get(part)
        if isinstance(before, dict) and isinstance(after, dict):
            for name in sorted(before.keys() | after.keys()):
                if before.get(name) != after.get(name):
                    change = f" ({before.get(name)!r} -> {after.get(name)!r})" if part == "params" else ""
                    differing.append(f"{part}.{name}{change}")
        elif before != after:
            differing.append(part)
    if differing:
        raise RunStateError(
            f"{folder} holds a run of another recipe; it differs in {', '.join(differing)}. "
            "Choose another --out (finished steps are reused from runs beside it)."
        )
