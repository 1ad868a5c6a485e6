"""How many calls a back-end is given at once: as many as it can take, found out while it works."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from tamis.errors import parameter_error

START = 8
"""Calls at once before anything is known."""
STRAINED = 3.0
"""Smoothed latency over the fastest, above which more calls must prove that they bring throughput."""
_SMOOTHING = 0.1
_GAIN = 0.25
_ENOUGH = 128  # completions that a rate is measured over while strained: fewer would be ruled by chance
_STEP = 1.25
_CLIMB = 16  # round trips from nothing to the limit
_HOLD = 8
_MOSTLY = 0.5


class AdaptiveLimiter:
    """A first-come-first-served gate for asyncio whose width follows what the back-end bears.

    The *window* is the number of calls at once. It starts at ``min(8, limit)`` and is judged once per round trip (as
    many completions as the window is wide):

    - it doubles (slow start) until the first sign of congestion and grows by ``max(1, limit // 16)`` from then on
      (additive increase), if it was used to the full;
    - it shrinks by half the share of the round trip's calls that the back-end turned down as too many: to half if all
      were, by a tenth if a fifth was (multiplicative decrease in proportion, as in DCTCP [1]_, and one call more while
      less than half were). Calls that began before the last cut are the same congestion and cut nothing;
    - while the smoothed latency is more than three times the lowest seen, calls are queueing somewhere. The window
      then grows by a quarter (in slow start it doubles) and keeps that only if the rate of completions rose by at least
      a quarter as much; else it goes back and waits 8, 16, 32 ... round trips before the next try. A server that works
      through its calls one by one is thus not flooded, and one that batches them is filled to the knee.

    Parameters
    ----------
    limit : int
        Largest number of calls at once, at least 1.
    clock : callable
        Seconds, monotonic.
    sleep : coroutine function
        Waits for seconds of that clock.

    Raises
    ------
    RecipeError
        If ``limit`` is below 1.

    Notes
    -----
    The lowest latency is that of the limiter's whole life: were it forgotten, a server that is always queueing would
    look fast. Rates are counted over 128 completions or more while strained; a back-end whose speed wanders faster than
    that can be misjudged either way, by a quarter of the window at a time.

    References
    ----------
    .. [1] M. Alizadeh et al., "Data center TCP (DCTCP)", SIGCOMM 2010, section 3.1; RFC 8257.

    Examples
    --------
    >>> async def call(limiter):
    ...     await limiter.acquire()
    ...     limiter.release(0.05)
    ...     return limiter.window
    >>> asyncio.run(call(AdaptiveLimiter(4)))
    4
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if limit < 1:
            raise parameter_error("AdaptiveLimiter", "limit", "an int in [1, inf)", limit)
        self.limit = limit
        self.window = min(START, limit)
        self.active = 0
        self._clock, self._sleep = clock, sleep
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = self._last_cut = float("-inf")
        self._slow_start = True
        self._fastest, self._smoothed = float("inf"), 0.0
        self._before: tuple[int, float] | None = None  # the window, and the rate it had, that growth is judged by
        self._hold, self._next_hold = 0, _HOLD  # round trips
        self._completed, self._overloaded, self._since, self._full = 0, 0, clock(), False  # of this round trip

    async def acquire(self) -> None:
        """Wait for a turn, and for the end of a pause. Each turn is given back by one :meth:`release`."""
        if self._waiting or self.active >= self.window:
            await self._turn()
        else:
            self.active += 1
        try:
            while (rest := self._paused_until - self._clock()) > 0:
                await self._sleep(rest)
        except BaseException:
            self.release()
            raise

    def release(self, latency: float | None = None, overloaded: bool = False) -> None:
        """Give a turn back.

        Parameters
        ----------
        latency : float, optional
            Seconds that the call took; None for a call that says nothing about the back-end's speed (cancelled, or a
            quick error).
        overloaded : bool, default=False
            Whether the back-end asked for fewer calls at once, or the call timed out.
        """
        self.active -= 1
        if overloaded:
            self._overloaded += self._clock() - (latency or 0.0) >= self._last_cut
            self._full = True  # whoever is told that it asks too much has filled what there is
        elif latency is not None:
            self._completed += 1
            self._fastest = min(self._fastest, latency)
            self._smoothed += (latency - self._smoothed) * (_SMOOTHING if self._smoothed else 1.0)
            self._full = self._full or self.active + 1 >= self.window
        if self._completed + self._overloaded >= self.window:
            self._judge()
        self._admit()

    def pause(self, seconds: float) -> None:
        """Let no call start for ``seconds`` from now; a pause under way that ends later stays."""
        if seconds <= 0:
            return
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        if self._overloaded:
            self._cut()
        self._start_round()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # the turn was given and the task cancelled before it could run
                self.active -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self.active < self.window:
            if self._waiting[0].cancelled():
                return  # its task has yet to run, takes it out and admits the next
            self._waiting.popleft().set_result(None)
            self.active += 1

    def _cut(self) -> None:
        share = self._overloaded / (self._overloaded + self._completed)
        self.window = max(1, min(self.limit, round(self.window * (1 - share / 2)) + (share < _MOSTLY)))
        self._last_cut = self._clock()
        self._slow_start = False
        self._before = None
        self._start_round()

    def _judge(self) -> None:
        """End a round trip: narrow the window, widen it, keep it, or take back the last widening."""
        if self._overloaded:
            self._cut()
            return
        strained = self._smoothed > STRAINED * self._fastest
        if strained and self._completed < _ENOUGH:
            return
        seconds = self._clock() - self._since
        rate = self._completed / seconds if seconds > 0 else float("inf")
        if not strained:
            self._hold, self._next_hold = 0, _HOLD
            self._widen(rate, self.window * 2 if self._slow_start else self.window + max(1, self.limit // _CLIMB))
        elif self._before is not None and self.window > self._before[0]:
            window, before = self._before
            if rate < before * (1 + _GAIN * (self.window / window - 1)):
                self.window, self._slow_start = window, False
                self._hold, self._next_hold = self._next_hold, 2 * self._next_hold
            else:
                self._try(rate)
        elif self._hold > 0:
            self._hold -= 1
        else:
            self._try(rate)
        self._start_round()

    def _try(self, rate: float) -> None:
        self._widen(rate, self.window * 2 if self._slow_start else max(self.window + 1, int(self.window * _STEP)))

    def _widen(self, rate: float, window: int) -> None:
        self._before = (self.window, rate)
        if self._full:
            self.window = min(self.limit, window)

    def _start_round(self) -> None:
        self._completed = self._overloaded = 0
        self._since = max(self._clock(), self._paused_until)
        self._full = False
