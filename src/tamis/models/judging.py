"""What a judge is asked, what it answers, and what every judge can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

ANSWERED, REFUSED, FAILED = "answered", "refused", "failed"
ReplyStatus = Literal["answered", "refused", "failed"]


@dataclass(frozen=True)
class JudgePrompt:
    """One sample put before a judge.

    A chat judge is sent ``system`` and the user message ``opening + sample + closing`` and replies in JSON. A scoring
    judge reads ``opening + sample + question`` for each criterion and is asked for the next token.

    Attributes
    ----------
    system : str
        What the judge is, and the criteria.
    opening : str
        The user message up to the sample; the same for all samples.
    sample : str
        The sample, fenced as data.
    closing : str
        The user message after the sample: the form of the reply.
    questions : tuple of (criterion, question)
        The user message after the sample for a scoring judge, criterion by criterion.
    answer : str
        How a scoring judge's reply begins, with ``{criterion}`` in it, e.g. ``"{criterion} rating: "``.
    low, high : int
        Ends of the scale.
    truth : float or None
        The true rating where the data knows it. Only a scripted judge may look, and it is never sent anywhere.
    """

    system: str
    opening: str
    sample: str
    closing: str
    questions: tuple[tuple[str, str], ...]
    answer: str
    low: int
    high: int
    truth: float | None = None

    @property
    def criteria(self) -> tuple[str, ...]:
        """Names of the criteria, in the order of the rubric."""
        return tuple(name for name, _ in self.questions)

    @property
    def user(self) -> str:
        """The whole user message for a chat judge."""
        return self.opening + self.sample + self.closing

    def messages(self) -> list[dict[str, str]]:
        """The chat as back-ends take it."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]

    def schema(self) -> dict[str, Any]:
        """JSON schema of the reply: one integer of the scale for each criterion, nothing else.

        The values are listed, since not every server understands ``minimum`` and ``maximum``.

        Examples
        --------
        >>> prompt = JudgePrompt("", "", "", "", (("overall", "?"),), "", 1, 3)
        >>> prompt.schema()["properties"]
        {'overall': {'type': 'integer', 'enum': [1, 2, 3]}}
        """
        value = {"type": "integer", "enum": list(range(self.low, self.high + 1))}
        return {
            "type": "object",
            "properties": {name: dict(value) for name in self.criteria},
            "required": list(self.criteria),
            "additionalProperties": False,
        }

    def payload(self) -> dict[str, Any]:
        """Everything that an answer may depend on, as JSON values: what the response cache is keyed by."""
        return {
            "system": self.system,
            "user": self.user,
            "questions": [list(pair) for pair in self.questions],
            "answer": self.answer,
            "scale": [self.low, self.high],
        }


@dataclass(frozen=True)
class Reply:
    """What came back for one prompt.

    Attributes
    ----------
    status : {"answered", "refused", "failed"}
        Whether there is a text to parse; the judge declined; or there is none, for the reason in ``error``.
    text : str
        The raw reply. A scoring judge gives JSON: the expected rating of each criterion and its probabilities.
    input_tokens, output_tokens : int or None
        As billed, over all attempts; None where the back-end does not say.
    attempts : int
        Calls that it took.
    error : str
        Why there is no answer; empty otherwise.
    batch : bool
        Whether all of its calls went through the batch interface, which has prices of its own.
    """

    status: ReplyStatus
    text: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    attempts: int = 1
    error: str = ""
    batch: bool = False

    def after(self, earlier: Reply | None) -> Reply:
        """Return this reply with the calls and tokens of an earlier attempt added.

        Examples
        --------
        >>> Reply("answered", "{}", 5, 2).after(Reply("failed", error="HTTP 500")).attempts
        2
        """
        if earlier is None:
            return self
        return replace(
            self,
            input_tokens=_added(self.input_tokens, earlier.input_tokens),
            output_tokens=_added(self.output_tokens, earlier.output_tokens),
            attempts=self.attempts + earlier.attempts,
            batch=self.batch and (earlier.batch or not earlier.attempts),
        )


def _added(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


@dataclass(frozen=True)
class Attempt:
    """Outcome of one call of a chat judge.

    Attributes
    ----------
    reply : Reply
    transient : bool
        Whether the same call may succeed later: rate limits, server errors, timeouts, broken replies.
    overloaded : bool
        Whether the back-end asked for fewer calls at a time (429, 503, a timeout).
    unreachable : bool
        Whether there was no connection at all.
    retry_after : float or None
        Seconds that the back-end asked to wait.
    """

    reply: Reply
    transient: bool = False
    overloaded: bool = False
    unreachable: bool = False
    retry_after: float | None = None


class Judge(Protocol):
    """What every judge has."""

    @property
    def name(self) -> str:
        """What the rater is called if the user gives no name."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of everything but the prompt that answers depend on: model, mode, temperature, limits."""
        ...

    @property
    def price_key(self) -> str | None:
        """Name in the price table; None where calls cost no money."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], bool]:
        """Tokens of each text, and whether the model's own tokenizer counted them (else they are estimates)."""
        ...


class ChatJudge(Judge, Protocol):
    """A judge behind a call that takes time and not this machine: many calls at once, in one process."""

    async def attempt(self, prompt: JudgePrompt, *, sample: int, number: int) -> Attempt:
        """Call once. ``sample`` tells repeated ratings of one prompt apart, ``number`` (from 0) attempts at one.

        Raises
        ------
        BackendError
            If no call can succeed: wrong key, unknown model, no permission.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class ScoringJudge(Judge, Protocol):
    """A judge computed on this machine or cluster: an engine maps it over shards. It can be sent to other processes."""

    def shards(self, prompts: Sequence[JudgePrompt]) -> list[list[int]]:
        """Positions in ``prompts``, cut into shards of similar cost by the prompts alone."""
        ...

    def replies(self, prompts: Sequence[JudgePrompt], samples: Sequence[int]) -> list[Reply]:
        """Answer the prompts of one shard, in their order."""
        ...
