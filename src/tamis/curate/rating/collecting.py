"""From prompts to replies: what the cache holds is replayed, the rest is asked for, by calls or by shards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

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
from tamis.runs import derive_seed

Progress = Callable[[str, int, int], None]
Accept = Callable[[JudgePrompt, Reply], bool]


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
    """

    keys: list[list[str] | None]
    replies: dict[str, Reply] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    from_cache: int = 0
    fresh: list[Reply] = field(default_factory=list)


def rating_keys(rater: Rater, prompts: Sequence[JudgePrompt | None]) -> list[list[str] | None]:
    """Key of every sample of every row. Rows with the same text share a key, and so a reply."""
    judge = rater.judge
    if judge is None:
        return [None] * len(prompts)
    return [
        None if prompt is None else [reply_key(judge.fingerprint, prompt, k) for k in range(rater.samples)]
        for prompt in prompts
    ]


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
    found = Gathered(rating_keys(rater, prompts))
    calls = _distinct_calls(found.keys, prompts)
    accept = partial(usable, overall=overall)
    held = cache.get(list(calls))
    found.replies = {key: reply for key, reply in held.items() if accept(calls[key].prompt, reply)}
    found.from_cache = len(found.replies.keys() - cache.asked_by(list(found.replies), run=run_id))
    todo = [call for key, call in calls.items() if key not in found.replies]
    done = len(calls) - len(todo)

    def report(n: int) -> None:
        if progress:
            progress(f"rate {rater.name}", done + n, len(calls))

    def keep(replies: list[tuple[str, Reply]]) -> None:
        summed = [(key, reply.after(held.get(key))) for key, reply in replies]
        cache.put(summed, run=run_id)
        found.replies.update(summed)
        found.fresh += [reply for _, reply in replies]

    report(0)
    if todo and rater.kind == "scoring":
        _score(judge, list(calls.values()), todo, engine, spending, keep, report)  # type: ignore[arg-type]
    elif todo:
        _ask(judge, todo, accept, limits, spending, keep, folder, seed, report)  # type: ignore[arg-type]
    found.errors = spending.errors
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
    keep: Callable[[list[tuple[str, Reply]]], None],
    folder: Path,
    seed: int,
    report: Callable[[int], None],
) -> None:
    """Ask an endpoint."""

    async def ask() -> None:
        try:
            left = todo
            if limits.batch and isinstance(judge, OpenAIJudge):
                left = await _ask_in_batches(judge, todo, accept, spending, keep, folder, report)
            policy = Policy(
                concurrency=limits.concurrency,
                attempts=limits.attempts,
                patience=limits.patience,
                first_wait=limits.first_wait,
            )
            rng = random.Random(derive_seed(seed, "waiting"))
            await collect(
                judge,
                left,
                accept=accept,
                keep=keep,
                budget=spending,
                policy=policy,
                rng=rng,
                progress=lambda n: report(len(todo) - len(left) + n),
            )
        finally:
            await judge.close()

    asyncio.run(ask())


async def _ask_in_batches(
    judge: OpenAIJudge,
    todo: list[Call],
    accept: Accept,
    spending: RaterSpending,
    keep: Callable[[list[tuple[str, Reply]]], None],
    folder: Path,
    report: Callable[[int], None],
) -> list[Call]:
    """Ask through the batch interface; return what it left open, at its usual price and one by one."""
    from tamis.models.openai_batch import run_batch

    admitted = []
    for call in todo:
        if not spending.admit(call):
            break
        admitted.append(call)
    answered: dict[str, Reply] = {}

    def settle(replies: list[tuple[str, Reply]]) -> None:
        answered.update(replies)
        keep(replies)
        report(len(answered))

    await run_batch(judge, admitted, state=folder / f"batch-{judge.name}.json", keep=settle)
    for call in admitted:
        spending.settle(call, answered.get(call.key, Reply("failed", attempts=0, error="left open by the batch")))
        spending.errors.pop(call.key, None)
    spending.batch = False
    return [call for call in todo if not (call.key in answered and accept(call.prompt, answered[call.key]))]


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
    keep: Callable[[list[tuple[str, Reply]]], None],
    report: Callable[[int], None],
) -> None:
    """Map a local judge over shards.

    Shards are cut from all calls, asked or not: a resumed run then computes the batches that a straight run would.
    """
    open_keys = {call.key for call in todo}
    shards = []
    for positions in judge.shards([call.prompt for call in calls]):
        some = [calls[i] for i in positions if calls[i].key in open_keys and spending.admit(calls[i])]
        if some:
            shards.append(some)
    payload = [([call.prompt for call in shard], [call.sample for call in shard]) for shard in shards]
    done = 0
    for position, replies in engine.map(_ScoreShard(judge), payload):
        pairs = list(zip(shards[position], replies, strict=True))
        for call, reply in pairs:
            spending.settle(call, reply)
        keep([(call.key, reply) for call, reply in pairs if reply.status != "failed"])
        done += len(pairs)
        report(done)
