import asyncio
import random
import selectors

import pytest

from tamis.errors import RecipeError
from tamis.models.limiter import AdaptiveLimiter


class Jump(selectors.DefaultSelector):
    """Passes the time that the loop would wait for, at once; to wait for nothing is a lost wakeup."""

    now = 0.0

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("all tasks wait and nothing will ever wake them")
        self.now += max(timeout, 0.0)
        return super().select(0)


def in_virtual_time(main):
    selector = Jump()

    def loop():
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now
        return loop

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main())


def now():
    return asyncio.get_running_loop().time()


def limiter_of(limit):
    return AdaptiveLimiter(limit, clock=now)


async def load(limiter, serve, calls, workers):
    """Push ``calls`` calls through; returns (time, calls at once) at the start of each."""
    left = iter(range(calls))
    starts = []

    async def work():
        for _ in left:
            await limiter.acquire()
            began = now()
            starts.append((began, limiter.active))
            await serve()
            limiter.release(now() - began)

    await asyncio.gather(*(work() for _ in range(workers)))
    return starts


def test_doubles_each_round_trip_up_to_the_limit_and_no_further():
    async def main():
        limiter = limiter_of(64)
        starts = await load(limiter, lambda: asyncio.sleep(0.1), 2000, workers=100)
        return limiter, starts

    limiter, starts = in_virtual_time(main)
    widest = [max(n for at, n in starts if round(at / 0.1) == trip) for trip in range(6)]
    assert widest == [8, 16, 32, 64, 64, 64]
    assert limiter.window == 64
    assert limiter.active == 0


def test_starts_no_wider_than_the_limit():
    assert limiter_of_real(3).window == 3
    with pytest.raises(RecipeError, match="'limit' parameter"):
        limiter_of_real(0)


def limiter_of_real(limit):
    return AdaptiveLimiter(limit)


def test_does_not_grow_while_the_window_is_not_used():
    async def main():
        limiter = limiter_of(64)
        await load(limiter, lambda: asyncio.sleep(0.1), 500, workers=3)
        return limiter.window

    assert in_virtual_time(main) == 8


def test_halves_once_for_calls_under_way_together_then_climbs_step_by_step():
    async def round_trip(limiter, overloaded):
        n = limiter.window
        for _ in range(n):
            await limiter.acquire()
        await asyncio.sleep(0.1)
        for _ in range(n):
            limiter.release(0.1, overloaded)
        return limiter.window

    async def main():
        limiter = limiter_of(32)
        return [await round_trip(limiter, o) for o in (False, False, True, True, True, False, False, False)]

    assert in_virtual_time(main) == [16, 32, 16, 8, 4, 6, 8, 10]


def test_never_falls_below_one():
    async def main():
        limiter = limiter_of(4)
        for _ in range(12):
            await limiter.acquire()
            await asyncio.sleep(1.0)
            limiter.release(1.0, True)
        return limiter.window

    assert in_virtual_time(main) == 1


def test_a_pause_holds_all_calls_and_a_longer_one_prolongs_it():
    async def main():
        limiter = limiter_of(4)
        limiter.pause(5.0)
        asyncio.get_running_loop().call_later(2.0, limiter.pause, 10.0)
        starts = await load(limiter, lambda: asyncio.sleep(0.1), 12, workers=12)
        return [at for at, _ in starts]

    starts = in_virtual_time(main)
    assert min(starts) == pytest.approx(12.0)
    assert max(starts) == pytest.approx(12.2)


def test_a_shorter_pause_does_not_cut_a_longer_one():
    async def main():
        limiter = limiter_of(4)
        limiter.pause(5.0)
        await asyncio.sleep(1.0)
        limiter.pause(1.0)
        await asyncio.sleep(1.5)
        await limiter.acquire()
        return now()

    assert in_virtual_time(main) == pytest.approx(5.0)


def test_first_come_first_served():
    async def main():
        limiter, order = limiter_of(2), []

        async def call(i):
            await limiter.acquire()
            order.append(i)
            await asyncio.sleep(0.1)
            limiter.release(0.1)

        await asyncio.gather(*(call(i) for i in range(50)))
        return order

    assert in_virtual_time(main) == list(range(50))


@pytest.mark.parametrize("seed", range(8))
def test_no_turn_is_lost_by_cancelled_calls(seed):
    rng = random.Random(seed)

    async def main():
        limiter, finished = limiter_of(3), []

        async def call(i):
            await limiter.acquire()
            try:
                assert limiter.active <= 3
                await asyncio.sleep(0.1)
            finally:
                limiter.release(0.1)
            finished.append(i)

        tasks = [asyncio.create_task(call(i)) for i in range(200)]
        doomed = set(rng.sample(range(200), 150))
        for i in doomed:
            # at the very moments at which turns change hands, and between them
            asyncio.get_running_loop().call_later(rng.choice([0.0, 0.05, 0.1, 0.2, 0.3, 0.35]), tasks[i].cancel)
        limiter.pause(0.1 * (seed % 2))
        await asyncio.gather(*tasks, return_exceptions=True)
        return limiter.active, set(range(200)) - doomed <= set(finished)

    assert in_virtual_time(main) == (0, True)


def test_a_turn_given_to_a_call_that_is_cancelled_before_it_runs_goes_to_the_next():
    async def main():
        limiter = limiter_of(1)
        await limiter.acquire()
        first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
        await asyncio.sleep(0.1)
        limiter.release(0.1)  # gives the turn to the first, which has yet to run
        first.cancel()
        await second
        return first.cancelled(), limiter.active

    assert in_virtual_time(main) == (True, 1)


def test_a_call_that_comes_while_those_before_it_are_cancelled_gets_its_turn():
    async def main():
        limiter = limiter_of(1)
        await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.1)
        waiting.cancel()
        limiter.release(0.1)
        await limiter.acquire()  # the cancelled call is still in the queue
        return limiter.active

    assert in_virtual_time(main) == 1


def test_a_newcomer_does_not_pass_those_behind_a_cancelled_call():
    async def main():
        limiter, order = limiter_of(1), []

        async def call(name):
            await limiter.acquire()
            order.append(name)
            limiter.release(0.1)

        await limiter.acquire()
        first, second = (asyncio.create_task(call(name)) for name in ("first", "second"))
        await asyncio.sleep(0.1)
        first.cancel()
        limiter.release(0.1)
        await call("newcomer")
        await second
        return order

    assert in_virtual_time(main) == ["second", "newcomer"]


class OneByOne:
    """A server that answers one call at a time."""

    def __init__(self, service):
        self.service, self.free_at = service, 0.0

    async def serve(self):
        self.free_at = max(self.free_at, now()) + self.service()
        await asyncio.sleep(self.free_at - now())


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_a_server_that_only_queues_is_not_flooded(spread):
    rng = random.Random(5)

    async def main():
        limiter = limiter_of(64)
        server = OneByOne(lambda: max(0.05, rng.gauss(1.0, spread)))
        starts = await load(limiter, server.serve, 6000, workers=128)
        wide = [n for _, n in starts[3000:]]
        return limiter.window, max(wide), sum(n > 8 for n in wide) / len(wide)

    window, widest, tried = in_virtual_time(main)
    assert max(window, widest) <= 10  # eight, and a quarter more when a wider window is tried
    assert tried < 0.07


class Batching:
    """A server whose latency rises with the calls at once while its throughput rises too; one odd reply is quick."""

    def __init__(self):
        self.inside, self.seen = 0, 0

    async def serve(self):
        self.inside, self.seen = self.inside + 1, self.seen + 1
        await asyncio.sleep(0.01 if self.seen == 1 else 0.1 + 0.005 * self.inside)
        self.inside -= 1


def test_a_server_that_batches_is_filled_although_its_latency_is_high():
    async def main():
        limiter, server = limiter_of(64), Batching()
        await load(limiter, server.serve, 12_000, workers=128)
        assert limiter._smoothed > 3 * limiter._fastest  # so the widening had to prove itself
        return limiter.window

    assert in_virtual_time(main) >= 32


def test_refusals_here_and_there_narrow_it_in_proportion():
    """A fifth of the calls turned down at random is no reason to ask one by one."""

    async def main():
        limiter, rng, widths = limiter_of(64), random.Random(0), []

        async def worker():
            for _ in range(40):
                await limiter.acquire()
                await asyncio.sleep(0.1)
                limiter.release(0.1, rng.random() < 0.2)
                widths.append(limiter.window)

        await asyncio.gather(*(worker() for _ in range(64)))
        return widths[len(widths) // 2 :]

    settled = in_virtual_time(main)
    assert 5 <= sum(settled) / len(settled) <= 20
