"""Many calls of a chat judge at once: retried, counted, kept as they come, and stopped without losing what is there."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable

from tamis.errors import BackendError
from tamis.models.calls import Budget, Call, Collected, Commits, Policy
from tamis.models.judging import ANSWERED, FAILED, Attempt, ChatJudge, JudgePrompt, Reply
from tamis.models.limiter import START, AdaptiveLimiter

NEVER_REACHED_PATIENCE = 4
"""Attempts at a call while no connection was ever made: an address that is wrong is said to be after seconds."""
_SPARE = 2  # workers per concurrent call: those that wait for a retry leave their turn to the others
_BARREN = 4  # times the concurrency: calls in a row that failed to the end before the back-end counts as broken
_FEWEST_BARREN = 32
_STOPPED = Reply("failed", attempts=0, error="stopped before it ended")


async def collect(
    judge: ChatJudge,
    calls: Iterable[Call],
    *,
    accept: Callable[[JudgePrompt, Reply], bool],
    keep: Callable[[list[tuple[str, Reply]]], None],
    rng: random.Random,
    budget: Budget | None = None,
    policy: Policy | None = None,
    progress: Callable[[int], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Collected:
    """Ask a judge for many replies.

    A call ends with

    - an answer that ``accept`` takes;
    - the last of ``policy.attempts`` replies that are refusals or are not accepted, as it is;
    - a failure: one that is not transient, or the last of ``policy.patience`` transient ones.

    Calls and tokens of all its attempts are added up in its reply.

    Parameters
    ----------
    judge : ChatJudge
        Is not closed.
    calls : iterable of Call
        Read as turns come free, never ahead of them: calls read are running, waiting for a retry, or finished.
    accept : callable
        Whether an answer can be used.
    keep : callable
        Takes (key, reply) pairs, each key once, in the order in which they end. Called from the event loop by one
        caller; whatever way the collection ends, all replies that are final have been handed over when it has. A
        failure is handed over if its attempts used tokens: they are paid for.
    rng : random.Random
        Draws the waits, nothing else.
    budget : Budget, optional
        Asked before every attempt, retries included, and told what each came to. While it refuses and attempts are
        under way, whose true cost may leave room, the next one waits; with none under way the collection stops, and
        calls that have begun end with what they have.
    policy : Policy, optional
    progress : callable, optional
        Takes the number of calls that have ended, failures included.
    sleep, clock
        Waiting and the time that it passes, in seconds. ``commit_seconds`` are seconds of the event loop all the same:
        they limit what a crash can cost.

    Raises
    ------
    BackendError
        If the judge says that no call can succeed; if it cannot be reached; or if it answers with nothing but
        transient errors (``max(32, 4 * concurrency)`` calls in a row failed to the end).

    Notes
    -----
    Before the first connection at most eight calls are tried, each four times (or ``policy.patience``, if that is
    less), whose waits last at most ``7 * first_wait`` seconds: then the address is taken to be wrong. Once there was a
    connection, the back-end counts as gone when a call has spent its whole patience on it and the last
    ``max(4, concurrency)`` attempts (or as many as there are calls pending) all found nobody; a server that is
    restarted within the patience of a call is waited for.

    Examples
    --------
    >>> from tamis.models.scripted import ScriptedJudge
    >>> prompt = JudgePrompt("Rate.", "", "2 + 2 = 4", "", (("overall", "?"),), "", 1, 5, truth=4.0)
    >>> kept = {}
    >>> asyncio.run(
    ...     collect(
    ...         ScriptedJudge(diagonal=1.0),
    ...         [Call(f"k{i}", prompt, i) for i in range(3)],
    ...         accept=lambda prompt, reply: True,
    ...         keep=kept.update,
    ...         rng=random.Random(0),
    ...     )
    ... ).answered
    3
    >>> kept["k0"].text
    '{"overall": 4}'
    """
    collection = _Collection(judge, calls, accept, keep, rng, budget, policy or Policy(), progress, sleep, clock)
    return await collection.run()


class _Collection:
    """State of one :func:`collect`."""

    def __init__(
        self,
        judge: ChatJudge,
        calls: Iterable[Call],
        accept: Callable[[JudgePrompt, Reply], bool],
        keep: Callable[[list[tuple[str, Reply]]], None],
        rng: random.Random,
        budget: Budget | None,
        policy: Policy,
        progress: Callable[[int], None] | None,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.judge, self.accept, self.rng, self.budget, self.policy = judge, accept, rng, budget, policy
        self.progress, self.sleep, self.clock = progress, sleep, clock
        self.calls = iter(calls)
        self.limiter = AdaptiveLimiter(policy.concurrency, clock=clock, sleep=sleep)
        self.commits = Commits(keep, policy)
        self.reached = False
        self.may_start = asyncio.Event()  # for the workers beyond the first few
        self.settled = asyncio.Event()  # an attempt has ended, so a budget may have room again
        self.held: Call | None = None  # read, and not admitted yet
        self.flying = 0  # attempts under way
        self.stopped = self.exhausted = False
        self.attempts = self.pending = self.answered = self.failed = 0
        self.unreached = 0  # attempts in a row without a connection
        self.barren = 0  # calls in a row that transient failures ended

    async def run(self) -> Collected:
        began = self.clock()
        try:
            await self._drive()
        except BackendError as error:
            kept = "1 reply is kept." if self.answered == 1 else f"{self.answered} replies are kept."
            raise BackendError(f"{error} {kept}") from error
        return Collected(self.answered, self.failed, self.attempts, self.stopped, self.clock() - began)

    async def _drive(self) -> None:
        workers = [asyncio.create_task(self._work(n < START)) for n in range(_SPARE * self.policy.concurrency)]
        committer = asyncio.create_task(self.commits.run())
        working = set(workers)
        try:
            while working:
                done, _ = await asyncio.wait({*working, committer}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                working -= done
        finally:
            await self._wind_up([*workers, committer])

    async def _wind_up(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self.commits.close()

    async def _work(self, first: bool) -> None:
        if not first:
            await self.may_start.wait()
        while True:
            await self.limiter.acquire()
            call = self._next()
            if call is None:
                self.limiter.release()
                if self.held is not None and not self.stopped:
                    await self._room()
                    continue
                self.may_start.set()  # to find that there is nothing to do
                return
            self._finish(call, await self._ask(call))
            # A judge that answers without waiting must not keep the loop from hearing Ctrl-C.
            await asyncio.sleep(0)

    def _next(self) -> Call | None:
        """Return the next call that may start, already admitted."""
        if self.stopped or self.exhausted:
            return None
        call = self.held or next(self.calls, None)
        self.held = None
        if call is None:
            self.exhausted = True
        elif not self._admitted(call):
            self.held, call = call, None
        return call

    def _admitted(self, call: Call) -> bool:
        """Whether the budget lets an attempt start; the collection stops if it does not and nothing is under way."""
        if self.budget is None or self.budget.admit(call):
            self.flying += 1
            return True
        self.stopped = self.stopped or not self.flying
        return False

    async def _room(self) -> None:
        """Wait until an attempt has ended."""
        self.settled.clear()
        await self.settled.wait()

    async def _readmitted(self, call: Call) -> bool:
        """Wait for room for a retry; False if there will be none."""
        while not self._admitted(call):
            if self.stopped:
                return False
            await self._room()
        return True

    async def _ask(self, call: Call) -> Reply:
        """Bring one call to its end; the caller has acquired its first turn."""
        spent: Reply | None = None
        number = unusable = transient = 0
        self.pending += 1
        try:
            while True:
                attempt = await self._attempt(call, number)
                number += 1
                spent = attempt.reply.after(spent)
                if attempt.transient:
                    transient += 1
                    if self._given_up(attempt, transient):
                        return spent
                    await self._wait(attempt, transient)
                else:
                    unusable += 1
                    if self._final(call, attempt.reply, unusable):
                        self.barren = 0
                        return spent
                if not await self._readmitted(call):
                    return spent
                try:
                    await self.limiter.acquire()
                except BaseException:
                    self._settle(call, _STOPPED)
                    raise
        except BaseException:
            if spent is not None:
                self._keep(call, _STOPPED.after(spent))
            raise
        finally:
            self.pending -= 1

    def _final(self, call: Call, reply: Reply, unusable: int) -> bool:
        if reply.status == FAILED or unusable >= self.policy.attempts:
            return True
        return reply.status == ANSWERED and self.accept(call.prompt, reply)

    async def _attempt(self, call: Call, number: int) -> Attempt:
        self.attempts += 1
        began = self.clock()
        try:
            attempt = await self.judge.attempt(call.prompt, sample=call.sample, number=number)
        except BaseException:
            self.limiter.release()
            self._settle(call, _STOPPED)
            raise
        self._settle(call, attempt.reply)
        if attempt.unreachable:
            self.unreached += 1
        else:
            self.unreached = 0
            self.reached = True
            self.may_start.set()
        # No connection says nothing about load, a quick error nothing about speed.
        overloaded = attempt.overloaded and not attempt.unreachable
        timed = overloaded or attempt.reply.status != FAILED
        self.limiter.release(self.clock() - began if timed else None, overloaded)
        return attempt

    def _given_up(self, attempt: Attempt, transient: int) -> bool:
        """Whether the call ends by this transient failure; raises if the back-end is to be given up with it."""
        policy = self.policy
        if not self.reached:
            if transient >= min(policy.patience, NEVER_REACHED_PATIENCE):
                raise self._unreachable(attempt)
            return False
        if transient < policy.patience:
            return False
        if attempt.unreachable and self.unreached >= min(max(4, policy.concurrency), self.pending):
            raise self._unreachable(attempt)
        self.barren += 1
        if self.barren >= max(_FEWEST_BARREN, _BARREN * policy.concurrency):
            raise BackendError(
                f"The judge {self.judge.name!r} answered the last {self.barren} calls with errors alone, each "
                f"{policy.patience} times (the last: {attempt.reply.error}); look at the server, then resume."
            )
        return True

    def _unreachable(self, attempt: Attempt) -> BackendError:
        return BackendError(
            f"The judge {self.judge.name!r} cannot be reached: no connection in the last {self.unreached} attempts "
            f"(the last: {attempt.reply.error}); start the server or correct the address, then resume."
        )

    async def _wait(self, attempt: Attempt, transient: int) -> None:
        policy = self.policy
        if attempt.retry_after is not None:
            self.limiter.pause(min(attempt.retry_after, policy.longest_wait))
            return  # the next turn comes after the pause
        longest = min(policy.longest_wait, policy.first_wait * 2.0 ** (transient - 1))
        await self.sleep(self.rng.uniform(0.0, longest))

    def _finish(self, call: Call, reply: Reply) -> None:
        self._keep(call, reply)
        if reply.status == FAILED:
            self.failed += 1
        else:
            self.answered += 1
        if self.progress is not None:
            self.progress(self.answered + self.failed)

    def _keep(self, call: Call, reply: Reply) -> None:
        if reply.status != FAILED or reply.input_tokens or reply.output_tokens:
            self.commits.add(call.key, reply)

    def _settle(self, call: Call, reply: Reply) -> None:
        self.flying -= 1
        self.settled.set()
        if self.budget is not None:
            self.budget.settle(call, reply)
