"""Shards on a pool of processes of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from tamis.errors import IncompleteError, parameter_error

S = TypeVar("S")
R = TypeVar("R")

IN_FLIGHT_PER_WORKER = 2
"""Shards handed out ahead, per worker: enough to keep workers busy, few enough to bound memory."""


class ProcessEngine:
    """Run shards on ``workers`` freshly started processes.

    Parameters
    ----------
    workers : int or None, default None
        Number of processes; None takes one per core.

    Raises
    ------
    RecipeError
        If ``workers`` is not a positive int.
    """

    name = "process"

    def __init__(self, *, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise parameter_error("ProcessEngine", "workers", "an int in [1, inf) or None", workers)
        self.workers = workers or os.cpu_count() or 1

    def map(self, task: Callable[[S], R], shards: Sequence[S]) -> Iterator[tuple[int, R]]:
        """Yield ``(position, result)`` as shards finish.

        Raises
        ------
        IncompleteError
            If a worker process died (killed, out of memory); finished shards are kept.
        """
        if not shards:
            return
        workers = min(self.workers, len(shards))
        # "spawn": a forked child would inherit the locks of faiss's and torch's thread pools
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(self.workers,)
        )
        waiting = iter(enumerate(shards))
        running: dict[Future[R], int] = {}
        try:
            for position, shard in waiting:
                running[pool.submit(task, shard)] = position
                if len(running) >= workers * IN_FLIGHT_PER_WORKER:
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        except BrokenProcessPool as error:
            raise IncompleteError(
                f"A worker process died while {len(running)} shards were in flight (killed, or out of memory); "
                "finished shards are kept: run 'tamis resume', with fewer --workers if memory was short."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(workers: int) -> None:
    """Give a worker its share of the cores, before numerical libraries are imported, and end it with its parent.

    The share does not grow when few shards are left: the last bits of a product depend on the number of threads.
    """
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed run must leave no one who goes on writing to it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _finished(running: dict[Future[R], int]) -> Iterator[tuple[int, R]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()
