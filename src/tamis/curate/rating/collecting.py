"""From prompts to replies: what the cache holds is replayed, the rest is asked for, by calls or by shards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from tamis.curate.rating.batching import ask_in_batches, require_no_batch
from tamis.curate.rating.parse import reply_ratings
from tamis.curate.rating.raters import Rater
from tamis.curate.rating.settings import RatingLimits
from tamis.curate.rating.spending import RaterSpending
from tamis.engine import Engine
from tamis.errors import RecipeError
from tamis.models.calls import Call, Policy
from tamis.models.dispatch import collect
from tamis.models.judging import ChatJudge, JudgePrompt, Reply, ScoringJudge
from tamis.models.openai_chat import OpenAIJudge
from tamis.models.response_cache import ResponseCache, reply_key
from tamis.models.scripted import ScriptedJudge
from tamis.runs import derive_seed

Progress = Callable[[str, int, int], None]
Accept = Callable[[JudgePrompt, Reply], bool]
Keep = Callable[[list[tuple[str, Reply]]], None]
_NOT_BEGUN = Reply("failed", attempts=0, error="not asked: the budget was reached")


@dataclass
class Gathered:
    """The replies of one rater.

    Attributes
    ----------
    keys : list of (list of str or None)
        Key of each row's samples; None for a row without text.
    replies : dict of str to Reply
    errors : dict of str to str
        Why a key has no reply.
    from_cache : int
        Distinct replies that other runs had asked for.
    fresh : list of Reply
        What was answered now.
    stopped : bool
        Whether something was left unasked for want of money or tokens.
    """

    keys: list[list[str] | None]
    replies: dict[str, Reply] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    from_cache: int = 0
    fresh: list[Reply] = field(default_factory=list)
    stopped: bool = False


def rating_keys(rater: Rater, prompts: Sequence[JudgePrompt | None]) -> list[list[str] | None]:
    """Key of every sample of every row. Rows with the same text share a key, and so a reply."""
    judge = rater.judge
    if judge is None:
        return [None] * len(prompts)
    return [
        None if prompt is None else [reply_key(judge.fingerprint, prompt, k) for k in range(rater.samples)]
        for prompt in seen_by(rater, prompts)
    ]


def seen_by(rater: Rater, prompts: Sequence[JudgePrompt | None]) -> list[JudgePrompt | None]:
    """Return the prompts as a rater may see them: only a scripted judge knows the truth."""
    if isinstance(rater.judge, ScriptedJudge):
        return list(prompts)
    return [None if prompt is None else replace(prompt, truth=None) for prompt in prompts]


def usable(prompt: JudgePrompt, reply: Reply, *, overall: str) -> bool:
    """Whether a reply rates the overall criterion.

    A reply that lacks another criterion is kept: that criterion is unparsed, and asking again costs as much as the
    first time.
    """
    return reply_ratings(reply, prompt.criteria, prompt.low, prompt.high)[overall][0] == "ok"


def gather(
    rater: Rater,
    prompts: Sequence[JudgePrompt | None],
    *,
    overall: str,
    cache: ResponseCache,
    run_id: str,
    engine: Engine,
    limits: RatingLimits,
    spending: RaterSpending,
    folder: Path,
    seed: int,
    progress: Progress | None = None,
) -> Gathered:
    """Return one reply for every key, as far as the judge answers and the budget reaches.

    Parameters
    ----------
    rater : Rater
        A chat or a scoring rater.
    prompts : sequence of JudgePrompt or None
        None for a row that has no text.
    overall : str
        Criterion that a reply must rate.
    cache : ResponseCache
        Holds every reply as soon as it is final. Replies that could not be used are asked for again.
    run_id : str
        Who asks.
    engine : Engine
        Maps scoring judges over shards; calls are made from this process.
    limits, spending : RatingLimits, RaterSpending
    folder : Path
        Where the batch interface notes what it has under way.
    seed : int
        For the jitter of waiting times.
    progress : callable, optional
        Called with (name, replies there, replies in all).

    Raises
    ------
    BackendError
        If the endpoint cannot be used; replies until then are in the cache.
    """
    judge = rater.judge
    if judge is None:
        raise RecipeError(f"The rater {rater.name!r} is recorded: there is nothing to ask.")
    prompts = seen_by(rater, prompts)
    found = Gathered(rating_keys(rater, prompts))
    calls = _distinct_calls(found.keys, prompts)
    accept = partial(usable, overall=overall)
    held = cache.get(list(calls))
    found.replies = {key: reply for key, reply in held.items() if accept(calls[key].prompt, reply)}
    own = cache.asked_by(list(held), run=run_id)
    found.from_cache = len(found.replies.keys() - own)
    said = {key: reply for key, reply in held.items() if key in own}  # what other runs spent is theirs
    todo = [call for key, call in calls.items() if key not in found.replies]
    done = len(calls) - len(todo)

    def report(n: int) -> None:
        if progress:
            progress(f"rate {rater.name}", done + n, len(calls))

    def keep(replies: list[tuple[str, Reply]]) -> None:
        summed = [(key, reply.after(said.get(key))) for key, reply in replies]
        cache.put(summed, run=run_id)
        said.update(summed)
        found.replies.update(summed)
        found.fresh += [reply for _, reply in replies]

    report(0)
    if todo and rater.kind == "scoring":
        _score(judge, list(calls.values()), todo, engine, spending, keep, report)  # type: ignore[arg-type]
    elif todo:
        state = folder / f"batch-{rater.name}.json"
        _ask(judge, todo, accept, limits, spending, keep, state, seed, report)  # type: ignore[arg-type]
    found.errors, found.stopped = spending.errors, spending.stopped
    found.replies = {**held, **found.replies}  # a reply that could not be used is still what was said
    return found


def _distinct_calls(keys: Sequence[list[str] | None], prompts: Sequence[JudgePrompt | None]) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    for row, prompt in zip(keys, prompts, strict=True):
        for sample, key in enumerate(row or ()):
            if prompt is not None and key not in calls:
                calls[key] = Call(key, prompt, sample)
    return calls


def _ask(
    judge: ChatJudge,
    todo: list[Call],
    accept: Accept,
    limits: RatingLimits,
    spending: RaterSpending,
    keep: Keep,
    state: Path,
    seed: int,
    report: Callable[[int], None],
) -> None:
    """Ask an endpoint: first through its batch interface if that is wanted, then what is left one by one."""
    policy = Policy(
        concurrency=limits.concurrency,
        attempts=limits.attempts,
        patience=limits.patience,
        first_wait=limits.first_wait,
    )
    rng = random.Random(derive_seed(seed, "waiting"))

    async def ask() -> None:
        left = todo
        try:
            if isinstance(judge, OpenAIJudge):
                if limits.batch:
                    left = await ask_in_batches(judge, todo, accept, spending, keep, state, report)
                else:
                    require_no_batch(state, todo)
            before = len(todo) - len(left)
            found = await collect(
                judge,
                left,
                accept=accept,
                keep=keep,
                budget=spending,
                policy=policy,
                rng=rng,
                progress=lambda n: report(before + n),
            )
            spending.stopped = spending.stopped or found.stopped
        finally:
            await judge.close()

    _run(ask())


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@dataclass(frozen=True)
class _ScoreShard:
    """Answer the prompts of one shard, wherever the engine puts it."""

    judge: ScoringJudge

    def __call__(self, shard: tuple[list[JudgePrompt], list[int]]) -> list[Reply]:
        return self.judge.replies(*shard)


def _score(
    judge: ScoringJudge,
    calls: list[Call],
    todo: list[Call],
    engine: Engine,
    spending: RaterSpending,
    keep: Keep,
    report: Callable[[int], None],
) -> None:
    """Map a local judge over shards.

    Shards are cut from all calls, asked or not: a resumed run then computes the batches that a straight run would.
    """
    open_keys = {call.key for call in todo}
    cut = [[calls[i] for i in shard] for shard in judge.shards([call.prompt for call in calls])]
    shards = [todo_of for shard in cut if (todo_of := [call for call in shard if call.key in open_keys])]
    # under a budget a shard begins when what the one before it did cost is known
    wave = 1 if spending.account.limit_tokens is not None else max(1, len(shards))
    done = 0
    for start in range(0, len(shards), wave):
        some = shards[start : start + wave]
        wanted = [call for shard in some for call in shard]
        admitted = list(takewhile(spending.admit, wanted))
        if len(admitted) < len(wanted):
            for call in admitted:
                spending.settle(call, _NOT_BEGUN)
            spending.stopped = True
            break
        payload = [([call.prompt for call in shard], [call.sample for call in shard]) for shard in some]
        for position, replies in engine.map(_ScoreShard(judge), payload):
            pairs = list(zip(some[position], replies, strict=True))
            for call, reply in pairs:
                spending.settle(call, reply)
            keep([(call.key, reply) for call, reply in pairs if reply.status != "failed"])
            done += len(pairs)
            report(done)
