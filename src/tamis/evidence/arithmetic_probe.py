"""A small generative probe: sums that a model has to write out, since losses do not show what it can still say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tamis.evidence.resampling import Estimate, share_interval
from tamis.runs.digests import derive_seed

REPLY_TOKENS = 24
"""Enough for an answer with a word or two around it."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Sum:
    """A question and its answer."""

    question: str
    answer: int

    def solved(self, reply: str) -> bool:
        """Whether the last number of the reply's first line with a number is the answer.

        Examples
        --------
        >>> Sum("What is 2 + 3?", 5).solved("2 + 3 = 5"), Sum("What is 2 + 3?", 5).solved("6")
        (True, False)
        """
        for line in reply.splitlines():
            numbers = _NUMBER.findall(line.replace(",", ""))
            if numbers:
                return float(numbers[-1]) == self.answer
        return False


def sums(n: int, *, seed: int) -> list[Sum]:
    """Return n sums of two numbers below 20."""
    pairs = np.random.default_rng(derive_seed(seed, "sums")).integers(1, 20, (n, 2)).tolist()
    return [Sum(f"What is {a} + {b}? Answer with the number only.", a + b) for a, b in pairs]


class Question(Protocol):
    """Something asked, and what counts as solved."""

    @property
    def question(self) -> str:
        """What the model reads."""
        ...

    def solved(self, reply: str) -> bool:
        """Whether a reply solves it."""
        ...


def solved_share(asked: Sequence[Question], write: Callable[[list[str]], list[str]]) -> Estimate:
    """Share of questions that a model solves, with a Wilson interval.

    Parameters
    ----------
    asked : sequence of Question
    write : callable
        From questions to replies, greedy.
    """
    replies = write([each.question for each in asked])
    return share_interval(sum(each.solved(reply) for each, reply in zip(asked, replies, strict=True)), len(asked))
