"""What all verbs share: errors as one sentence with an exit code, progress with an ETA, ``--json``."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, ParamSpec, Self

import typer

from tamis.errors import TamisError

P = ParamSpec("P")
INTERRUPTED = 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def guarded(verb: Callable[P, int | None]) -> Callable[P, None]:
    """Turn the errors that tamis raises on purpose into one sentence and the exit code of DESIGN's table.

    A verb returns its exit code, None for 0. Any other exception is a bug of ours and keeps its traceback.
    """

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("json_"))
        try:
            code = verb(*args, **kwargs)
        except TamisError as error:
            raise _told(str(error), error, error.exit_code, as_json=as_json) from None
        except OSError as error:  # a full disk, a file that may not be read
            said = f"{error.strerror or error}: {error.filename or 'no file named'}."
            raise _told(said, error, TamisError.exit_code, as_json=as_json) from None
        except KeyboardInterrupt as error:
            said = "interrupted; finished work is kept, 'tamis resume RUN' goes on."
            raise _told(said, error, INTERRUPTED, as_json=as_json) from None
        raise typer.Exit(code or 0)

    return run


def _told(said: str, error: BaseException, exit_code: int, *, as_json: bool) -> typer.Exit:
    """Print an error and return the exit with its code."""
    if as_json:
        print_json({"error": said, "kind": type(error).__name__, "exit_code": exit_code})
    typer.echo(f"tamis: {said}", err=True)
    return typer.Exit(exit_code)


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


class Progress:
    """Progress of the steps of a run on standard error: bars with an ETA on a terminal, plain lines elsewhere.

    Use as a context manager; call it with (step, units done, units in all).

    Parameters
    ----------
    quiet : bool
        Show nothing.
    interval : float, default 10
        Seconds between plain lines of one step.
    """

    def __init__(self, *, quiet: bool = False, interval: float = 10.0) -> None:
        self.quiet, self.interval = quiet, interval
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._printed: dict[str, float] = {}

    def __enter__(self) -> Self:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (
                TextColumn("{task.description:12}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of ``step`` are finished."""
        if self.quiet:
            return
        if self._bars is not None:
            if step not in self._tasks:
                self._tasks[step] = self._bars.add_task(step, total=total)
            self._bars.update(self._tasks[step], completed=done)
            return
        now = time.monotonic()
        began, already = self._started.setdefault(step, (now, done))
        if done >= total or now - self._printed.get(step, began) >= self.interval:
            self._printed[step] = now
            speed = (done - already) / (now - began) if now > began else 0.0
            left = f", about {round((total - done) / speed)} s left" if speed and done < total else ""
            typer.echo(f"{step}: {done}/{total}{left}", err=True)
