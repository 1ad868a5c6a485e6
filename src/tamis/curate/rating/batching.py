"""Asking an endpoint through its batch interface: cheaper, within hours, and paid for once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from tamis.curate.rating.spending import RaterSpending
from tamis.errors import RunStateError
from tamis.models.calls import Call
from tamis.models.judging import JudgePrompt, Reply
from tamis.models.openai_batch import batch_under_way, run_batch
from tamis.models.openai_chat import OpenAIJudge

_LEFT_OPEN = Reply("failed", attempts=0, error="left open by the batch")


def require_no_batch(state: Path, todo: list[Call]) -> None:
    """Refuse to ask one by one for what a batch that is under way will answer.

    Raises
    ------
    RunStateError
        If there is such a batch.
    """
    if batch_under_way(state, [call.key for call in todo]):
        raise RunStateError(
            f"A batch of this run is under way ({state}) and is paid for: add --batch to wait for it, or delete that "
            "file to ask again and pay twice."
        )


async def ask_in_batches(
    judge: OpenAIJudge,
    todo: list[Call],
    accept: Callable[[JudgePrompt, Reply], bool],
    spending: RaterSpending,
    keep: Callable[[list[tuple[str, Reply]]], None],
    state: Path,
    report: Callable[[int], None],
) -> list[Call]:
    """Ask through the batch interface; return what it left open.

    What is set aside for a batch is mostly more than it costs, so what did not fit a budget goes into a further batch.

    Parameters
    ----------
    judge : OpenAIJudge
    todo : list of Call
    accept : callable
        Whether a reply can be used.
    spending : RaterSpending
        Is at the usual prices afterwards.
    keep : callable
        Takes final replies.
    state : Path
        Where the batches under way are noted.
    report : callable
        Takes the number of calls that have ended.
    """
    answered: dict[str, Reply] = {}
    left: list[Call] = []
    rest = todo

    def settle(replies: list[tuple[str, Reply]]) -> None:
        answered.update(replies)
        keep(replies)
        report(len(answered))

    while rest:
        admitted = list(takewhile(spending.admit, rest))
        if not admitted:
            spending.stopped = True
            break
        await run_batch(judge, admitted, state=state, keep=settle, progress=report)
        for call in admitted:
            spending.settle(call, answered.get(call.key, _LEFT_OPEN))
        left += [c for c in admitted if c.key not in answered or not accept(c.prompt, answered[c.key])]
        rest = rest[len(admitted) :]
    spending.batch = False
    return left
