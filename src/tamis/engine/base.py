"""The contract of an engine, and choosing one by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from tamis.registry import ENGINES, lookup

S = TypeVar("S")
R = TypeVar("R")


class Engine(Protocol):
    """Executes a task over shards.

    The results must not depend on the engine, on the number of workers or on the order of completion: a task is a
    pure function of its shard.
    """

    name: str

    def map(self, task: Callable[[S], R], shards: Sequence[S]) -> Iterator[tuple[int, R]]:
        """Yield ``(position in shards, task(shard))`` as shards finish, in any order.

        Parameters
        ----------
        task : callable
            Importable at module level (a function or a frozen dataclass with ``__call__``), so that another
            process can receive it.
        shards : sequence
            What to work on; small, or naming files.
        """
        ...


def get_engine(name: str, **options: Any) -> Engine:
    """Return the engine called ``name``.

    Raises
    ------
    RecipeError
        If there is no such engine.

    Examples
    --------
    >>> [r for _, r in get_engine("inline").map(abs, [-1, 2])]
    [1, 2]
    """
    engine: Engine = lookup("engine", name, ENGINES).load()(**options)
    return engine
