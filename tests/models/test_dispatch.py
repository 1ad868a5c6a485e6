import asyncio
import itertools
import json
import os
import random
import selectors
import signal
import threading

import pytest

from tamis.errors import BackendError, RecipeError
from tamis.models.calls import Call, Collected, Policy
from tamis.models.dispatch import collect
from tamis.models.judging import Attempt, JudgePrompt, Reply
from tamis.models.scripted import ScriptedJudge

GOOD = '{"overall": 3}'


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
        return runner.run(main)


def now():
    return asyncio.get_running_loop().time()


def prompt_of(i):
    return JudgePrompt("Rate.", "", f"sample {i}", "", (("overall", "?"),), "", 1, 5)


def calls_of(n):
    return [Call(f"k{i}", prompt_of(i), 0) for i in range(n)]


def accept(prompt, reply):
    try:
        return prompt.low <= json.loads(reply.text)["overall"] <= prompt.high
    except ValueError:
        return False


class Planned:
    """A judge that does as ``plan(sample text, number, time)`` has it, and notes what it is asked and when."""

    name, fingerprint, price_key = "planned", "planned", None

    def __init__(self, plan, latency=0.1):
        self.plan, self.latency = plan, latency
        self.asked, self.times, self.cancelled = [], [], []

    async def attempt(self, prompt, *, sample, number):
        i = int(prompt.sample.split()[1])
        self.asked.append((i, number))
        self.times.append(now())
        try:
            await asyncio.sleep(self.latency(i) if callable(self.latency) else self.latency)
        except asyncio.CancelledError:
            self.cancelled.append(i)
            raise
        outcome = self.plan(i, number, now())
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self):
        raise AssertionError("collect closes no judge")


def answered(text=GOOD, tokens=(10, 2)):
    return Attempt(Reply("answered", text, *tokens))


def refused():
    return Attempt(Reply("refused", "no", 10, 1))


def broken(**marks):
    return Attempt(Reply("failed", error="HTTP 500"), transient=True, **marks)


def nobody():
    return Attempt(Reply("failed", error="connection refused"), transient=True, unreachable=True)


class Kept(dict):
    """Takes what ``collect`` keeps; a key that comes twice is an error."""

    def __init__(self):
        super().__init__()
        self.batches, self.times = [], []

    def __call__(self, pairs):
        assert pairs
        for key, reply in pairs:
            assert key not in self
            self[key] = reply
        self.batches.append(len(pairs))
        self.times.append(now())


def run(judge, calls, kept, *, seed=0, **options):
    options.setdefault("accept", accept)
    return in_virtual_time(collect(judge, calls, keep=kept, rng=random.Random(seed), clock=now, **options))


def one_by_one(judge, call, attempts=3):
    """What one call must come to, without any concurrency: an oracle."""

    async def main():
        spent, said, number, usable = None, 0, 0, False
        while said < attempts and not usable:
            attempt = await judge.attempt(call.prompt, sample=call.sample, number=number)
            spent, said, number = attempt.reply.after(spent), said + (not attempt.transient), number + 1
            usable = attempt.reply.status == "answered" and accept(call.prompt, attempt.reply)
        return spent

    return in_virtual_time(main())


def test_each_call_ends_once_with_the_reply_that_it_has_alone_whatever_the_order():
    judge = ScriptedJudge.parse("fail=0.2,limit=0.05,refuse=0.15,unparsed=0.15,latency=0.1")
    calls = calls_of(1500)
    expected = {call.key: one_by_one(judge, call) for call in calls}
    assert {r.status for r in expected.values()} == {"answered", "refused"}
    finished = []
    for seed, concurrency in ((0, 1), (1, 32), (2, 64)):
        kept = Kept()
        random.Random(seed).shuffle(calls)
        policy = Policy(concurrency=concurrency, patience=30)
        out = run(judge, calls, kept, seed=seed, policy=policy, progress=finished.append)
        assert kept == expected
        assert (out.answered, out.failed, out.stopped) == (1500, 0, False)
        assert out.calls == sum(r.attempts for r in expected.values())
        assert finished == list(range(1, 1501))
        finished.clear()


def test_never_more_at_once_than_asked_for():
    inside = most = 0

    class Counting(ScriptedJudge):
        async def attempt(self, prompt, *, sample, number):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            result = await super().attempt(prompt, sample=sample, number=number)
            inside -= 1
            return result

    run(Counting(latency=0.1, fail=0.3), calls_of(500), Kept(), policy=Policy(concurrency=12, patience=30))
    assert most == 12


def test_waiting_for_a_retry_does_not_hold_the_others_up():
    # the first four calls wait 50 s in the mean before their second attempt; alone they would fill every turn
    judge = Planned(lambda i, number, at: broken() if i < 4 and number == 0 else answered())
    kept = Kept()
    run(judge, calls_of(100), kept, policy=Policy(concurrency=4, first_wait=100.0, longest_wait=100.0))
    first = [at for (_, number), at in zip(judge.asked, judge.times, strict=True) if number == 0]
    assert len(first) == len(kept) == 100
    assert max(first) < 10.0 < max(judge.times)


def test_replies_that_cannot_be_used_are_asked_again_up_to_the_limit():
    plans = {
        0: [refused(), answered("garbage"), answered()],
        1: [refused(), refused(), refused()],
        2: [refused(), answered("garbage"), answered("rubbish")],
        3: [answered("garbage"), refused(), refused()],
    }
    judge, kept = Planned(lambda i, number, at: plans[i][number]), Kept()
    out = run(judge, calls_of(4), kept)
    assert sorted(judge.asked) == [(i, number) for i in range(4) for number in range(3)]
    assert [(kept[f"k{i}"].status, kept[f"k{i}"].text) for i in range(4)] == [
        ("answered", GOOD),
        ("refused", "no"),
        ("answered", "rubbish"),
        ("refused", "no"),
    ]
    assert {(r.attempts, r.input_tokens) for r in kept.values()} == {(3, 30)}
    assert [kept[f"k{i}"].output_tokens for i in range(4)] == [5, 3, 5, 4]
    assert (out.answered, out.failed, out.calls) == (4, 0, 12)


def test_attempts_and_transient_failures_are_counted_apart():
    def plan(i, number, at):
        return [broken(), refused(), broken(), answered("garbage"), broken(), answered()][number]

    kept = Kept()
    out = run(Planned(plan), calls_of(1), kept, policy=Policy(attempts=3, patience=4))
    assert kept["k0"] == Reply("answered", GOOD, 30, 5, attempts=6)
    assert out.calls == 6


def test_patience_ends_and_the_failure_is_not_kept_so_that_it_is_asked_again():
    judge, kept = Planned(lambda i, number, at: broken() if i == 1 or number < 7 else answered()), Kept()
    out = run(judge, calls_of(3), kept, policy=Policy(patience=8))
    assert set(kept) == {"k0", "k2"}
    assert (out.answered, out.failed, out.calls) == (2, 1, 24)
    later = run(Planned(lambda i, number, at: answered()), [c for c in calls_of(3) if c.key not in kept], kept)
    assert (later.answered, later.calls, set(kept)) == (1, 1, {"k0", "k1", "k2"})


def test_waits_double_with_full_jitter_up_to_the_longest():
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(seconds)

    judge = Planned(lambda i, number, at: broken())
    policy = Policy(concurrency=4, patience=9, first_wait=1.0, longest_wait=10.0)
    run(judge, calls_of(15), Kept(), policy=policy, sleep=sleep)
    bounds = [1, 2, 4, 8, 10, 10, 10, 10]
    assert len(waits) == 15 * len(bounds)
    assert max(waits) <= 10
    assert max(waits) > 9
    assert min(waits) < 1
    assert sum(waits) == pytest.approx(15 * sum(bounds) / 2, rel=0.2)  # mean of full jitter; sd of the sum 4 %


def test_other_failures_end_a_call_at_once():
    judge, kept = Planned(lambda i, n, at: Attempt(Reply("failed", error="HTTP 400")) if i == 1 else answered()), Kept()
    out = run(judge, calls_of(3), kept)
    assert (set(kept), out.failed, out.calls) == ({"k0", "k2"}, 1, 3)


@pytest.mark.parametrize(("asked_for", "waited"), [(7.0, 7.0), (600.0, 60.0)])
def test_retry_after_holds_all_calls_and_is_bounded(asked_for, waited):
    def plan(i, number, at):
        return broken(overloaded=True, retry_after=asked_for) if (i, number) == (0, 0) else answered()

    judge, kept = Planned(plan, latency=lambda i: 0.1 if i == 0 else 0.2), Kept()
    run(judge, calls_of(40), kept)
    assert len(kept) == 40
    assert not [at for at in judge.times if 0.11 < at < 0.1 + waited - 0.01]
    assert min(at for at in judge.times if at > 0.11) == pytest.approx(0.1 + waited)


def test_retry_after_takes_the_place_of_the_wait():
    judge = Planned(lambda i, number, at: answered() if number == 2 else broken(retry_after=5.0 * number))
    run(judge, calls_of(1), Kept(), policy=Policy(first_wait=1000.0, longest_wait=1000.0))
    assert judge.times == pytest.approx([0.0, 0.1, 5.2])


def test_calls_at_once_halve_when_the_judge_is_overloaded():
    judge = Planned(lambda i, number, at: broken(overloaded=True) if number == 0 and i < 8 else answered())
    run(judge, calls_of(60), Kept(), policy=Policy(first_wait=0.0))
    assert [judge.times.count(at) for at in sorted(set(judge.times))[:2]] == [8, 4]


class Purse:
    """A budget of so many calls, that notes what they came to."""

    def __init__(self, calls):
        self.left, self.admitted, self.settled = calls, [], []

    def admit(self, call):
        if not self.left:
            return False
        self.left -= 1
        self.admitted.append(call.key)
        return True

    def settle(self, call, reply):
        self.settled.append((call.key, reply))


def test_a_budget_stops_the_start_of_calls_and_those_under_way_end():
    pulled = []

    def calls():
        for call in calls_of(1000):
            pulled.append(call.key)
            yield call

    def plan(i, number, at):
        return broken() if i == 18 and number == 0 else answered()

    judge, kept, purse = Planned(plan, latency=lambda i: 30.0 if i == 19 else 0.1), Kept(), Purse(20)
    out = run(judge, calls(), kept, budget=purse)
    assert out.stopped
    assert (out.answered, out.failed, out.calls) == (19, 1, 20)  # no room for the retry of 18
    assert set(kept) == {f"k{i}" for i in range(20)} - {"k18"}
    assert set(purse.admitted) == {f"k{i}" for i in range(20)}
    assert len(pulled) == 21
    assert not judge.cancelled
    assert {key: reply for key, reply in purse.settled if key != "k18"} == kept
    assert len(purse.settled) == 20


class Account:
    """A budget of money: an attempt may cost 10 and does cost 1."""

    def __init__(self, money):
        self.money, self.spent, self.held, self.most = money, 0, 0, 0

    def admit(self, call):
        if self.spent + self.held + 10 > self.money:
            return False
        self.held += 10
        self.most = max(self.most, self.spent + self.held)
        return True

    def settle(self, call, reply):
        self.held -= 10
        self.spent += 1


def test_what_is_set_aside_and_not_spent_makes_room_again():
    account, kept = Account(110), Kept()
    out = run(Planned(lambda i, n, at: answered()), calls_of(100), kept, budget=account)
    assert (out.answered, out.stopped) == (100, False)
    assert account.most <= 110
    assert (account.spent, account.held) == (100, 0)


def test_retries_are_paid_from_the_same_account():
    account, kept = Account(60), Kept()
    judge = Planned(lambda i, n, at: answered("prose"))
    out = run(judge, calls_of(100), kept, budget=account, policy=Policy(attempts=5))
    assert out.stopped
    assert account.spent == out.calls == 51  # the next could cost 10
    assert sum(reply.attempts for reply in kept.values()) == 51


def test_a_failure_that_used_tokens_is_handed_over():
    kept = Kept()
    paid = Attempt(Reply("failed", input_tokens=9, output_tokens=5, error="no content"), transient=True)
    out = run(Planned(lambda i, n, at: paid if i == 3 else answered()), calls_of(5), kept, policy=Policy(patience=2))
    assert out.failed == 1
    assert (kept["k3"].status, kept["k3"].input_tokens, kept["k3"].attempts) == ("failed", 18, 2)


def test_an_ample_budget_stops_nothing_and_settles_failures_too():
    purse = Purse(100)
    judge = Planned(lambda i, n, at: Attempt(Reply("failed", error="HTTP 400")) if i % 2 else answered())
    out = run(judge, calls_of(100), Kept(), budget=purse)
    assert not out.stopped
    assert sorted(key for key, _ in purse.settled) == sorted(purse.admitted)
    assert sum(reply.status == "failed" for _, reply in purse.settled) == 50 == out.failed


def test_a_judge_that_cannot_go_on_stops_all_and_finished_replies_are_kept():
    def plan(i, number, at):
        return BackendError("The key of planned was refused; set OPENAI_API_KEY.") if i == 30 else answered()

    judge, kept, purse = Planned(plan, latency=lambda i: 50.0 if i == 29 else 0.1), Kept(), Purse(1000)
    with pytest.raises(BackendError, match=r"set OPENAI_API_KEY\. (\d+) replies are kept\.") as caught:
        run(judge, calls_of(1000), kept, budget=purse, policy=Policy(commit_every=1000, commit_seconds=1000.0))
    assert f" {len(kept)} replies are kept." in str(caught.value)
    ended = {key for key, reply in purse.settled if reply.status == "answered"}
    assert set(kept) == ended >= {f"k{i}" for i in range(29)}
    assert 29 in judge.cancelled
    assert sorted(key for key, _ in purse.settled) == sorted(purse.admitted)  # once each, the cancelled among them
    assert len(judge.asked) < 100


@pytest.mark.parametrize("error", [KeyError("accept"), ZeroDivisionError("accept")])
def test_an_error_of_the_caller_comes_out_and_loses_nothing(error):
    def accept(prompt, reply):
        if prompt.sample == "sample 20":
            raise error
        return True

    kept = Kept()
    with pytest.raises(type(error)):
        run(Planned(lambda i, n, at: answered()), calls_of(50), kept, accept=accept)
    assert set(kept) >= {f"k{i}" for i in range(20)}


def test_calls_that_cannot_be_read_come_out_too():
    def calls():
        yield from calls_of(20)
        raise OSError("disk")

    kept = Kept()
    with pytest.raises(OSError, match="disk"):
        run(Planned(lambda i, n, at: answered()), calls(), kept)
    assert set(kept) >= {f"k{i}" for i in range(8)}


@pytest.mark.parametrize("policy", [Policy(commit_every=5), Policy(commit_seconds=0.15)], ids=["full", "due"])
def test_an_error_of_keep_is_not_lost(policy):
    def keep(pairs):
        raise RuntimeError("disk full")

    judge = Planned(lambda i, n, at: answered(), latency=lambda i: 0.1 if i < 7 else 1000.0)
    with pytest.raises(RuntimeError, match="disk full"):
        in_virtual_time(
            collect(judge, calls_of(100), accept=accept, keep=keep, rng=random.Random(0), policy=policy, clock=now)
        )
    assert max(judge.times) < 1.0


def test_replies_are_handed_over_in_batches_and_in_time():
    kept = Kept()
    run(Planned(lambda i, n, at: answered()), calls_of(1000), kept, policy=Policy(commit_every=64, commit_seconds=5.0))
    assert kept.batches == [64] * 15 + [40]
    slow = Kept()
    judge = Planned(lambda i, n, at: answered(), latency=lambda i: 100.0 if i == 7 else 1.0)
    run(judge, calls_of(8), slow, policy=Policy(concurrency=8, commit_seconds=0.5))
    assert slow.batches == [7, 1]
    assert slow.times == pytest.approx([1.5, 100.0])


def test_a_server_that_is_not_there_is_said_to_be_after_seconds():
    judge, kept, purse = Planned(lambda i, n, at: nobody(), latency=0.0), Kept(), Purse(1000)
    started = []

    async def main():
        try:
            await collect(
                judge, calls_of(1000), accept=accept, keep=kept, rng=random.Random(0), budget=purse, clock=now
            )
        finally:
            started.append(now())

    message = r"judge 'planned' cannot be reached.*connection refused.*start the server or correct.*0 replies are kept"
    with pytest.raises(BackendError, match=message):
        in_virtual_time(main())
    assert started[0] <= 7 * 0.5
    assert len(set(purse.admitted)) <= 8
    assert sorted(key for key, _ in purse.settled) == sorted(purse.admitted)
    assert max(number for _, number in judge.asked) == 3


def test_a_slow_time_out_of_connections_is_bounded_by_one_call():
    timeout = Attempt(Reply("failed", error="timed out"), transient=True, overloaded=True, unreachable=True)
    judge = Planned(lambda i, n, at: timeout, latency=10.0)
    with pytest.raises(BackendError, match="cannot be reached"):
        run(judge, calls_of(1000), Kept())
    assert max(judge.times) <= 3 * 10.0 + 7 * 0.5


def test_a_server_that_goes_away_ends_the_run_with_what_is_there():
    judge, kept = Planned(lambda i, n, at: answered() if at < 2.0 else nobody()), Kept()
    with pytest.raises(BackendError, match="cannot be reached") as caught:
        run(judge, calls_of(10_000), kept)
    assert f" {len(kept)} replies are kept." in str(caught.value)
    assert len(kept) > 200
    assert max(judge.times) < 2.0 + 63.5 + 8 * 0.1  # the patience of a call


def test_a_server_that_is_started_again_in_time_is_waited_for():
    judge, kept = Planned(lambda i, n, at: nobody() if 2.0 < at < 12.0 else answered()), Kept()
    out = run(judge, calls_of(2000), kept, policy=Policy(patience=20))
    assert (out.answered, out.failed) == (2000, 0)


def test_one_call_that_nobody_answers_fails_alone():
    judge, kept = Planned(lambda i, n, at: nobody() if i == 5 else answered(), latency=1.0), Kept()
    out = run(judge, calls_of(4000), kept, policy=Policy(concurrency=8, first_wait=0.1))
    assert (out.answered, out.failed) == (3999, 1)


def test_the_last_call_alone_before_a_server_that_is_gone():
    judge = Planned(lambda i, n, at: nobody() if i == 39 else answered())
    kept = Kept()
    with pytest.raises(BackendError, match=r"no connection in the last [78] attempts.*39 replies are kept"):
        run(judge, calls_of(40), kept)
    assert len(kept) == 39


def test_a_server_that_answers_with_errors_alone_is_given_up():
    judge = Planned(lambda i, n, at: answered() if i < 10 else broken())
    with pytest.raises(BackendError, match=r"the last 32 calls with errors alone.*HTTP 500.*10 replies are kept"):
        run(judge, calls_of(10_000), Kept(), policy=Policy(concurrency=8))
    spotty = Planned(lambda i, n, at: broken() if i % 8 else answered())
    out = run(spotty, calls_of(400), Kept(), policy=Policy(concurrency=8))
    assert (out.answered, out.failed) == (50, 350)


def test_calls_are_read_as_turns_come_free():
    pulled, ahead = 0, []

    def calls():
        nonlocal pulled
        for call in calls_of(3000):
            pulled += 1
            yield call

    judge = ScriptedJudge(latency=0.1, fail=0.1)
    run(judge, calls(), Kept(), policy=Policy(concurrency=16), progress=lambda n: ahead.append(pulled - n))
    assert pulled == 3000
    assert 8 <= max(ahead) <= 2 * 16


def test_no_calls_is_no_work():
    out = run(Planned(None), [], Kept())
    assert out == Collected(answered=0, failed=0, calls=0, stopped=False, seconds=0.0)


def test_cancelling_keeps_what_is_final_and_cancels_the_rest():
    judge, kept, purse = Planned(lambda i, n, at: answered()), Kept(), Purse(10**6)

    async def main():
        calls = (Call(f"k{i}", prompt_of(i), 0) for i in itertools.count())
        policy = Policy(commit_every=10**6, commit_seconds=10**6)
        task = asyncio.ensure_future(
            collect(
                judge, calls, accept=accept, keep=kept, rng=random.Random(0), budget=purse, policy=policy, clock=now
            )
        )
        asyncio.get_running_loop().call_later(3.05, task.cancel)
        await asyncio.wait([task])
        return task.cancelled(), asyncio.all_tasks() - {asyncio.current_task()}

    assert in_virtual_time(main()) == (True, set())
    assert len(kept) > 500
    assert {key: reply for key, reply in purse.settled if reply.status == "answered"} == kept
    assert len(purse.settled) == len(purse.admitted) == len(kept) + len(judge.cancelled)


def test_control_c_is_heard_though_the_judge_never_waits():
    class Instant(Planned):
        async def attempt(self, prompt, *, sample, number):
            return answered()

    kept, read = [], 0

    def calls():
        nonlocal read
        for read in range(1_000_000):  # bounded, so that a deaf loop fails instead of hanging
            yield Call(str(read), prompt_of(0), 0)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it puts aside deaf to it
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(collect(Instant(None), calls(), accept=accept, keep=kept.extend, rng=random.Random(0)))
    timer.join()
    signal.signal(signal.SIGINT, before)
    assert 0 < len(kept) <= read + 1 < 1_000_000
    assert len({key for key, _ in kept}) == len(kept)


@pytest.mark.parametrize("name", ["concurrency", "attempts", "patience", "commit_every"])
def test_a_policy_out_of_range_is_refused(name):
    with pytest.raises(RecipeError, match=f"The '{name}' parameter of Policy must be an int"):
        Policy(**{name: 0})
    with pytest.raises(RecipeError, match="'first_wait' parameter of Policy must be seconds"):
        Policy(first_wait=float("nan"))
