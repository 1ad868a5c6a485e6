"""Calls of a judge, the limits they are made under, and how their replies are handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tamis.errors import parameter_error
from tamis.models.judging import JudgePrompt, Reply


@dataclass(frozen=True)
class Call:
    """One reply that is wanted.

    Attributes
    ----------
    key : str
        Its key in the response cache; unique among the calls of one collection.
    prompt : JudgePrompt
    sample : int
        Which of the repeated ratings of the prompt, from 0.
    """

    key: str
    prompt: JudgePrompt
    sample: int


class Budget(Protocol):
    """A limit on what may be spent."""

    def admit(self, call: Call) -> bool:
        """Whether one more attempt at the call may start, beside those under way."""
        ...

    def settle(self, call: Call, reply: Reply) -> None:
        """Take note of what an admitted attempt came to; called once for each."""
        ...


@dataclass(frozen=True)
class Policy:
    """How hard a back-end is pressed, and how patiently.

    Attributes
    ----------
    concurrency : int, default=32
        Largest number of calls at once.
    attempts : int, default=3
        Replies asked for per call while they are refusals or cannot be parsed.
    patience : int, default=8
        Transient failures that a call may meet: its last one ends it.
    first_wait, longest_wait : float, default=0.5 and 60.0
        Seconds. The wait after the n-th failure is drawn from ``[0, min(longest_wait, first_wait * 2**(n - 1))]``; a
        ``Retry-After`` is honoured up to ``longest_wait``.
    commit_every : int, default=16
        Replies handed over together.
    commit_seconds : float, default=0.05
        Seconds that a reply waits at most to be handed over.

    Raises
    ------
    RecipeError
        If a value is out of range.
    """

    concurrency: int = 32
    attempts: int = 3
    patience: int = 8
    first_wait: float = 0.5
    longest_wait: float = 60.0
    commit_every: int = 16
    commit_seconds: float = 0.05

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts", "patience", "commit_every"):
            if getattr(self, name) < 1:
                raise parameter_error("Policy", name, "an int in [1, inf)", getattr(self, name))
        for name in ("first_wait", "longest_wait", "commit_seconds"):
            if not getattr(self, name) >= 0:
                raise parameter_error("Policy", name, "seconds in [0, inf)", getattr(self, name))


@dataclass(frozen=True)
class Collected:
    """What came of a collection.

    Attributes
    ----------
    answered : int
        Replies kept, refusals among them.
    failed : int
        Calls that ended without a reply; they are not kept, so that they are asked again another time.
    calls : int
        Attempts made.
    stopped : bool
        Whether the budget refused a call.
    seconds : float
    """

    answered: int
    failed: int
    calls: int
    stopped: bool
    seconds: float


class Commits:
    """Final replies on their way to ``keep``, a batch at a time."""

    def __init__(self, keep: Callable[[list[tuple[str, Reply]]], None], policy: Policy) -> None:
        self.keep, self.policy = keep, policy
        self._batch: list[tuple[str, Reply]] = []
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: str, reply: Reply) -> None:
        """Take a reply; it is handed over with others, within ``policy.commit_seconds``."""
        self._batch.append((key, reply))
        if len(self._batch) >= self.policy.commit_every:
            self.close()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.policy.commit_seconds, self._due.set)

    async def run(self) -> None:
        """Hand over what has waited long enough. A task of its own, so that an error of ``keep`` is not lost."""
        while True:
            await self._due.wait()
            self._due.clear()
            self.close()

    def close(self) -> None:
        """Hand over what there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._batch:
            batch, self._batch = self._batch, []
            self.keep(batch)
