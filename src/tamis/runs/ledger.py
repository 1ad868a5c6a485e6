"""The append-only record of what happened in a run, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Ledger:
    """Append events to ``ledger.jsonl`` and read them back.

    A line cut short by a crash is skipped on reading; the event it would have told of is repeated on resume.

    Parameters
    ----------
    path : Path
        The file; created with the first event.
    clock : callable
        Returns the time of an event, an ISO 8601 string.
    """

    def __init__(self, path: Path, clock: Callable[[], str]) -> None:
        self.path, self.clock = path, clock

    def add(self, event: str, **fields: Any) -> None:
        """Append one event."""
        line = json.dumps({"time": self.clock(), "event": event, **fields}, ensure_ascii=False)
        torn = self.path.exists() and self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(("\n" if torn else "") + line + "\n")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events in the order in which they were written."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
