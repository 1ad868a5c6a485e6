"""Shards one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

S = TypeVar("S")
R = TypeVar("R")


class InlineEngine:
    """Run every shard here, in order.

    Parameters
    ----------
    workers : int or None
        Ignored; there is one.
    """

    name = "inline"

    def __init__(self, *, workers: int | None = None) -> None:
        self.workers = 1

    def map(self, task: Callable[[S], R], shards: Sequence[S]) -> Iterator[tuple[int, R]]:
        """Yield ``(position, result)`` in order."""
        for position, shard in enumerate(shards):
            yield position, task(shard)
