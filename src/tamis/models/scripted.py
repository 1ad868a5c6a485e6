"""A judge whose errors are known: it rates by a confusion matrix, and fails, refuses and babbles as it is told."""

from __future__ import annotations

import asyncio
import json
import math
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, RecipeError, did_you_mean, parameter_error
from tamis.models.judging import Attempt, JudgePrompt, Reply
from tamis.runs.digests import derive_seed, digest_json

REFUSAL = "I'm sorry, but I can't rate this."
_PROSE = "It is clear and well written, and I would rate it highly."
_KINDS = ("ordinal", "random")
_DECAY = 0.5
_ROW_SUM_TOLERANCE = 1e-6
_CHARACTERS_PER_TOKEN = 4

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ScriptedJudge:
    """A chat judge with a known truth, for tests, docs and demonstrations; it reads no text.

    The true class of a prompt is its ``truth``, rounded, or without one a class drawn from the prompt's payload. Each
    criterion is rated by a draw of its own from the row of the true class. What it says is a function of (options,
    prompt, sample, criterion, number of the attempt) alone: neither the order of calls nor ``fail``, ``limit`` and
    ``latency`` change it, as long as the attempts at a call are numbered one after another.

    Parameters
    ----------
    diagonal : float, default=0.7
        Probability of the true rating, in [0, 1].
    kind : {"ordinal", "random"}, default="ordinal"
        Where the rest goes: to nearby ratings, halving with each step away, or to all others alike.
    refuse : float, default=0.0
        Share of replies that are refusals.
    unparsed : float, default=0.0
        Share of replies that hold no rating: JSON cut off, prose, and a value outside the scale, in turn.
    fail : float, default=0.0
        Share of attempts that end in an HTTP 500.
    limit : float, default=0.0
        Share of attempts that end in an HTTP 429 with ``Retry-After: 0``.
    latency : float, default=0.0
        Seconds that an attempt takes.
    seed : int, default=0
    sticky : bool, default=False
        Whether refusals and replies without a rating stay so however often they are asked for.
    matrix : tuple of tuples of float, optional
        Row-stochastic confusion matrix, row = true rating, in place of ``diagonal`` and ``kind``.
    sleep : coroutine function
        Waits for ``latency``.

    Raises
    ------
    RecipeError
        If an option is out of range.

    Examples
    --------
    >>> judge = ScriptedJudge.parse("diagonal=0.8,kind=random,seed=3")
    >>> judge.confusion(3)
    array([[0.8, 0.1, 0.1],
           [0.1, 0.8, 0.1],
           [0.1, 0.1, 0.8]])
    >>> prompt = JudgePrompt("Rate.", "", "2 + 2 = 4", "", (("overall", "?"),), "", 1, 5, truth=4.0)
    >>> asyncio.run(ScriptedJudge(diagonal=1.0).attempt(prompt, sample=0, number=0)).reply.text
    '{"overall": 4}'
    """

    diagonal: float = 0.7
    kind: str = "ordinal"
    refuse: float = 0.0
    unparsed: float = 0.0
    fail: float = 0.0
    limit: float = 0.0
    latency: float = 0.0
    seed: int = 0
    sticky: bool = False
    matrix: Matrix | None = None
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("diagonal", "refuse", "unparsed", "fail", "limit"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise _bad(name, "a float in [0, 1]", getattr(self, name))
        if self.kind not in _KINDS:
            raise _bad("kind", f"one of {', '.join(_KINDS)}", self.kind)
        if not 0.0 <= self.latency < math.inf:
            raise _bad("latency", "seconds in [0, inf)", self.latency)
        if self.refuse + self.unparsed > 1.0:
            raise _bad("unparsed", f"at most 1 - refuse = {1.0 - self.refuse:g}", self.unparsed)
        if self.fail + self.limit > 1.0:
            raise _bad("limit", f"at most 1 - fail = {1.0 - self.fail:g}", self.limit)
        if self.matrix is not None:
            _check_matrix(self.matrix)

    @classmethod
    def parse(cls, text: str) -> ScriptedJudge:
        """Return the judge that is named ``scripted:TEXT``.

        Parameters
        ----------
        text : str
            ``option=value`` separated by commas, all optional; ``matrix=FILE`` is a ``.json`` or ``.npy`` file.

        Raises
        ------
        RecipeError
            If an option is unknown, named twice or out of range, or the file cannot be read.
        """
        options: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if name not in _READERS:
                raise RecipeError(f"A scripted judge has no option {name!r}.{did_you_mean(name, _READERS)}")
            if not equals or not value:
                raise RecipeError(f"The option {name!r} of a scripted judge needs a value; write {name}=VALUE.")
            if name in options:
                raise RecipeError(f"The option {name!r} of a scripted judge is given twice; leave one out.")
            options[name] = _READERS[name](name, value)
        return cls(**options)

    @property
    def name(self) -> str:
        """``"scripted"``."""
        return "scripted"

    @property
    def price_key(self) -> str:
        """``"scripted"``: free unless a price table has it."""
        return "scripted"

    @property
    def fingerprint(self) -> str:
        """Digest of the options that change what the judge says."""
        silent = {"fail", "limit", "latency", "sleep"}
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in silent}
        if self.matrix is not None:
            options |= {"diagonal": None, "kind": None}
        return digest_json(["scripted", options])

    def confusion(self, K: int) -> NDArray[np.float64]:
        """Return the probabilities of the ratings given the true one.

        Parameters
        ----------
        K : int
            Number of ratings on the scale.

        Returns
        -------
        ndarray of shape (K, K)
            Row = true rating, from low to high; rows sum to one.

        Raises
        ------
        RecipeError
            If the judge has a matrix of another size.
        """
        return np.array(_confusion(self.diagonal, self.kind, self.matrix, K))

    def count_tokens(self, texts: Sequence[str]) -> tuple[list[int], bool]:
        """Tokens as this judge bills them: a quarter of the characters, rounded down."""
        return [_tokens(text) for text in texts], True

    async def attempt(self, prompt: JudgePrompt, *, sample: int, number: int) -> Attempt:
        """Reply as the script has it.

        Raises
        ------
        RecipeError
            If the matrix does not fit the scale of the prompt.
        DataError
            If the true rating is not on the scale.
        """
        await self.sleep(self.latency)
        payload = digest_json(prompt.payload())
        fault = self._fault(payload, sample, number)
        if fault is not None:
            return fault
        # Faults are left out of the count: what is said must not depend on them.
        said = sum(self._fault(payload, sample, earlier) is None for earlier in range(number))
        return Attempt(self._reply(prompt, payload, sample, said))

    async def close(self) -> None:
        """Release nothing."""

    def _draw(self, *names: str | int) -> float:
        """Return a number in [0, 1) that the seed and the names determine."""
        return derive_seed(self.seed, *names) / 2.0**60

    def _fault(self, payload: str, sample: int, number: int) -> Attempt | None:
        if not self.fail and not self.limit:
            return None
        draw = self._draw("fault", payload, sample, number)
        if draw < self.fail:
            return Attempt(Reply("failed", error="HTTP 500: scripted"), transient=True)
        if draw < self.fail + self.limit:
            reply = Reply("failed", error="HTTP 429: scripted")
            return Attempt(reply, transient=True, overloaded=True, retry_after=0.0)
        return None

    def _reply(self, prompt: JudgePrompt, payload: str, sample: int, said: int) -> Reply:
        tokens = _tokens(prompt.system) + _tokens(prompt.user)
        at = 0 if self.sticky else said
        draw = self._draw("form", payload, sample, at) if self.refuse or self.unparsed else 1.0
        if draw < self.refuse:
            return Reply("refused", REFUSAL, tokens, _tokens(REFUSAL))
        text = json.dumps(self._ratings(prompt, payload, sample, said))
        if draw < self.refuse + self.unparsed:
            text = self._unusable(prompt, text, derive_seed(self.seed, "babble", payload, sample, at) % 3)
        return Reply("answered", text, tokens, _tokens(text))

    def _ratings(self, prompt: JudgePrompt, payload: str, sample: int, said: int) -> dict[str, int]:
        K = prompt.high - prompt.low + 1
        row = _cumulative(self.diagonal, self.kind, self.matrix, K)[self._true_class(prompt, payload, K)]
        draws = {name: self._draw("rating", payload, sample, said, name) for name in prompt.criteria}
        return {name: prompt.low + min(bisect_right(row, draw), K - 1) for name, draw in draws.items()}

    def _true_class(self, prompt: JudgePrompt, payload: str, K: int) -> int:
        if prompt.truth is None:
            return derive_seed(0, "truth", payload) % K  # the same for all judges
        if not prompt.low - 0.5 <= prompt.truth <= prompt.high + 0.5:
            raise DataError(
                f"A true rating of {prompt.truth} is not on the scale from {prompt.low} to {prompt.high}; "
                "correct the column of true ratings or the scale of the rubric."
            )
        return min(max(math.floor(prompt.truth + 0.5) - prompt.low, 0), K - 1)

    @staticmethod
    def _unusable(prompt: JudgePrompt, text: str, form: int) -> str:
        if form == 0:
            return text[: text.index(":") + 1]
        return _PROSE if form == 1 else json.dumps(dict.fromkeys(prompt.criteria, prompt.high + 90))


def _tokens(text: str) -> int:
    return len(text) // _CHARACTERS_PER_TOKEN


@lru_cache(maxsize=16)
def _confusion(diagonal: float, kind: str, matrix: Matrix | None, K: int) -> Matrix:
    if matrix is not None:
        if len(matrix) != K:
            raise RecipeError(
                f"The matrix of the scripted judge is {len(matrix)} x {len(matrix)} and the scale of the rubric has "
                f"{K} ratings; give a {K} x {K} matrix."
            )
        return matrix
    if K == 1:
        return ((1.0,),)
    steps = np.abs(np.subtract.outer(np.arange(K), np.arange(K)))
    rest = _DECAY**steps if kind == "ordinal" else np.ones((K, K))
    np.fill_diagonal(rest, 0.0)
    T = rest * (1.0 - diagonal) / rest.sum(axis=1, keepdims=True) + np.eye(K) * diagonal
    return tuple(map(tuple, T.tolist()))


@lru_cache(maxsize=16)
def _cumulative(diagonal: float, kind: str, matrix: Matrix | None, K: int) -> list[list[float]]:
    T = np.array(_confusion(diagonal, kind, matrix, K))
    sums: list[list[float]] = (np.cumsum(T, axis=1) / T.sum(axis=1, keepdims=True)).tolist()
    return sums


def _check_matrix(matrix: Matrix) -> None:
    K = len(matrix)
    if K < 1 or any(len(row) != K for row in matrix):
        raise _bad("matrix", "square", f"rows of {sorted({len(row) for row in matrix})} entries, {K} of them")
    T = np.array(matrix)
    if not np.isfinite(T).all() or (T < 0).any() or (np.abs(T.sum(axis=1) - 1) > _ROW_SUM_TOLERANCE).any():
        raise _bad("matrix", "of finite probabilities, each row summing to one", matrix)


def _bad(name: str, expected: str, got: Any) -> RecipeError:
    return parameter_error("ScriptedJudge", name, expected, got)


def _read_number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _bad(name, "a number", value) from None


def _read_int(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise _bad(name, "an int", value) from None


def _read_flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise _bad(name, "true or false", value)
    return value.lower() == "true"


def _read_text(name: str, value: str) -> str:
    return value


def _read_matrix(name: str, value: str) -> Matrix:
    path = Path(value)
    expected = "a .json or .npy file of K rows of K probabilities"
    try:
        rows = np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(path.read_text("utf-8"))
        T = np.asarray(rows, dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise _bad(name, f"{expected} ({error})", value) from error
    if T.ndim != 2:
        raise _bad(name, expected, value)
    return tuple(map(tuple, T.tolist()))


_READERS: dict[str, Callable[[str, str], Any]] = {
    **dict.fromkeys(("diagonal", "refuse", "unparsed", "fail", "limit", "latency"), _read_number),
    "kind": _read_text,
    "seed": _read_int,
    "sticky": _read_flag,
    "matrix": _read_matrix,
}
