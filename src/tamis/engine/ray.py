"""Shards on the workers of a Ray cluster: this machine's cores, or those of many machines."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tamis.engine.ray_session import ray_session
from tamis.errors import BackendError, IncompleteError, parameter_error

S = TypeVar("S")
R = TypeVar("R")

IN_FLIGHT_PER_WORKER = 2
"""Shards that one worker holds: the next is there when one ends."""
MOST_DEATHS = 3
"""Workers that one shard may lose before the map gives up: it may be what kills them."""
START_SECONDS = 300.0
"""Wait for a first worker; a cluster that grows on demand needs minutes."""


class RayEngine:
    """Run shards on Ray actors, one a worker, so that each worker loads a model once.

    The machines of a cluster need this package, the same versions of what the task uses, and whatever files the task
    names, under the same paths. A worker that dies (killed, out of memory, its machine lost) is replaced and its
    shards are given to others.

    Parameters
    ----------
    workers : int or None, default None
        Number of actors, each on one CPU; None takes one per core of this machine, or per CPU of the cluster.
    address : str or None, default None
        None starts Ray on this machine for the time of a map. ``"auto"``, ``"host:port"`` and ``"ray://host:port"``
        join a running cluster, and leave it running.

    Raises
    ------
    RecipeError
        If ``workers`` is not a positive int.
    """

    name = "ray"

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        if workers is not None and workers < 1:
            raise parameter_error("RayEngine", "workers", "an int in [1, inf) or None", workers)
        self.workers = workers
        self.address = address

    def map(self, task: Callable[[S], R], shards: Sequence[S]) -> Iterator[tuple[int, R]]:
        """Yield ``(position, result)`` as shards finish. An exception of the task arrives as it was raised.

        Raises
        ------
        MissingExtraError
            If Ray is not installed.
        BackendError
            If there is no cluster at the address, or it starts no worker within five minutes.
        IncompleteError
            If a shard lost its worker three times; finished shards are kept.
        """
        if not shards:
            return
        with ray_session(self.address, self.workers) as ray:
            cpus = int(ray.cluster_resources().get("CPU", 0)) if self.address else os.cpu_count() or 1
            wanted = self.workers or max(1, cpus)
            # threads do not depend on how many shards are left: the last bits of a product depend on them
            crew = _Crew(ray, task, shards, workers=min(wanted, len(shards)), threads=max(1, cpus // wanted))
            try:
                yield from crew.results()
            finally:
                crew.dismiss()


class _Worker:
    """The actor. Ray makes it in a process of its own."""

    def __init__(self, threads: int) -> None:
        # before the task arrives and imports numerical libraries with it
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._task: Callable[[Any], Any] | None = None

    def load(self, task: Callable[[Any], Any]) -> None:
        """Receive the task, once."""
        self._task = task

    def run(self, shard: Any) -> Any:
        """Work on one shard."""
        if self._task is None:
            raise RuntimeError("The worker has no task.")
        try:
            return self._task(shard)
        except Exception as error:
            raise _portable(error) from error.__cause__


def _portable(error: Exception) -> Exception:
    """The error, or a description of it where it cannot be sent to another process."""
    from ray import cloudpickle

    try:
        cloudpickle.loads(cloudpickle.dumps(error))  # type: ignore[no-untyped-call]
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@dataclass(eq=False)
class _Member:
    """An actor and what it holds: position of the shard by reference to its result, in the order of work."""

    actor: Any
    held: dict[Any, int] = field(default_factory=dict)


class _Crew(Generic[S, R]):
    """The actors of one map and the shards that are left."""

    def __init__(self, ray: Any, task: Callable[[S], R], shards: Sequence[S], *, workers: int, threads: int) -> None:
        self.ray, self.shards, self.threads = ray, shards, threads
        errors = ray.exceptions
        self.losses = (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.NodeDiedError,
            errors.ObjectLostError,
        )
        self.todo = deque(range(len(shards)))
        self.deaths: Counter[int] = Counter()
        self.failed_starts = 0
        self.starting: dict[Any, _Member] = {}
        self.working: dict[Any, _Member] = {}
        self.members: list[_Member] = []
        self.task = ray.put(task)
        self.make = ray.remote(_Worker).options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")
        for _ in range(workers):
            self._hire()

    def results(self) -> Iterator[tuple[int, R]]:
        left = len(self.shards)
        while left:
            settled = self._settle(self._next())
            yield from settled
            left -= len(settled)

    def dismiss(self) -> None:
        for member in self.members:
            self._end(member)

    def _end(self, member: _Member) -> None:
        with suppress(Exception):  # whatever it is, the actor is gone or goes with the session
            self.ray.kill(member.actor, no_restart=True)

    def _hire(self) -> None:
        member = _Member(self.make.remote(self.threads))
        self.members.append(member)
        self.starting[member.actor.load.remote(self.task)] = member

    def _next(self) -> Any:
        """A reference that is done: a worker that has its task, or a shard."""
        idle = len(self.starting) == len(self.members)
        done, _ = self.ray.wait([*self.working, *self.starting], num_returns=1, timeout=START_SECONDS if idle else None)
        if not done:
            raise BackendError(
                f"The Ray cluster started no worker within {START_SECONDS:.0f} s: its CPUs are taken or its machines "
                "are gone; see 'ray status', then run 'tamis resume'."
            )
        return done[0]

    def _settle(self, reference: Any) -> list[tuple[int, R]]:
        """Take in what a reference gives, and hand out what comes next."""
        started = self.starting.pop(reference, None)
        member = started or self.working.pop(reference)
        try:
            value = self._get(reference)
        except self.losses as death:
            return self._bury(member, reference, death)
        found = [] if started else [(member.held.pop(reference), value)]
        self._hand_out(member)
        return found

    def _get(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, BaseException):
                raise error.cause from error
            raise

    def _hand_out(self, member: _Member) -> None:
        # near the end each worker holds one shard, so that none waits behind another while a worker is free
        most = IN_FLIGHT_PER_WORKER if len(self.todo) > len(self.members) else 1
        while self.todo and len(member.held) < most:
            position = self.todo.popleft()
            reference = member.actor.run.remote(self.shards[position])
            member.held[reference] = position
            self.working[reference] = member

    def _bury(self, member: _Member, reference: Any, death: Exception) -> list[tuple[int, R]]:
        """Replace a dead worker; return what it had finished, and put back what it had not."""
        self.members.remove(member)
        self._end(member)  # one that only cannot be reached must not go on
        finished, lost = [], []
        for held, position in member.held.items():
            self.working.pop(held, None)
            try:
                if held is reference:
                    raise death
                finished.append((position, self._get(held)))
            except self.losses:
                lost.append(position)
        if lost:
            self.deaths[lost[0]] += 1  # shards are worked on in order: the others only waited
        else:
            self.failed_starts += 1
        self.todo.extendleft(reversed(lost))
        if self.failed_starts >= MOST_DEATHS or any(n >= MOST_DEATHS for n in self.deaths.values()):
            what = (
                f"Shard {lost[0] + 1} of {len(self.shards)} lost its worker" if lost else "Workers died as they began,"
            )
            raise IncompleteError(
                f"{what} {MOST_DEATHS} times (killed, out of memory, or the machine was lost); finished shards are "
                "kept: run 'tamis resume', with fewer --workers if memory was short."
            ) from death
        self._hire()
        return finished
