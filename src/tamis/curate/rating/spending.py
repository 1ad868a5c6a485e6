"""What a rating run may spend and has spent: tokens and money over all raters."""

from __future__ import annotations

from dataclasses import dataclass, field

from tamis.models.calls import Call
from tamis.models.judging import JudgePrompt, Reply
from tamis.models.pricing import PriceTable

CHARACTERS_PER_TOKEN = 3.0
"""Fewer than in English prose (about 4): what is set aside for a call in flight should not be too little."""


@dataclass
class Spending:
    """The account of a run. A call is admitted only if it cannot carry the run beyond a limit.

    Parameters
    ----------
    prices : PriceTable
    limit_usd : float or None
    limit_tokens : int or None

    Attributes
    ----------
    usd : float
        Money spent as far as it is known.
    tokens : int
        Tokens read and written.
    refused : bool
        Whether a call was turned down.
    """

    prices: PriceTable
    limit_usd: float | None = None
    limit_tokens: int | None = None
    usd: float = 0.0
    tokens: int = 0
    refused: bool = False
    _reserved_usd: float = 0.0
    _reserved_tokens: int = 0

    def price(self, price_key: str | None, reply: Reply, *, batch: bool = False) -> float | None:
        """Money that a reply cost, None if unknown."""
        return self.prices.cost(price_key, reply.input_tokens, reply.output_tokens, batch=batch)

    def add(self, price_key: str | None, reply: Reply, *, batch: bool = False) -> None:
        """Book a reply."""
        self.usd += self.price(price_key, reply, batch=batch) or 0.0
        self.tokens += (reply.input_tokens or 0) + (reply.output_tokens or 0)

    def admits(self, usd: float, tokens: int) -> bool:
        """Whether so much more stays within the limits, beside what is set aside."""
        over_usd = self.limit_usd is not None and self.usd + self._reserved_usd + usd > self.limit_usd
        over_tokens = self.limit_tokens is not None and self.tokens + self._reserved_tokens + tokens > self.limit_tokens
        self.refused = self.refused or over_usd or over_tokens
        return not (over_usd or over_tokens)

    def reserve(self, usd: float, tokens: int) -> None:
        """Set aside (or, negative, release) what a call in flight may cost."""
        self._reserved_usd += usd
        self._reserved_tokens += tokens


@dataclass
class RaterSpending:
    """One rater's hand on the account; the dispatcher asks it before each call and settles after.

    Parameters
    ----------
    account : Spending
    price_key : str or None
    max_tokens : int
        Longest reply.
    batch : bool
        Whether batch prices hold.

    Attributes
    ----------
    errors : dict of str to str
        Why a call has no reply, by key.
    """

    account: Spending
    price_key: str | None
    max_tokens: int
    batch: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    _held: dict[str, tuple[float, int]] = field(default_factory=dict)

    def admit(self, call: Call) -> bool:
        """Set aside what the call may cost, or refuse it."""
        held = self.estimate(call.prompt)
        if not self.account.admits(*held):
            return False
        self.account.reserve(*held)
        self._held[call.key] = held
        return True

    def settle(self, call: Call, reply: Reply) -> None:
        """Book what the call did cost."""
        usd, tokens = self._held.pop(call.key, (0.0, 0))
        self.account.reserve(-usd, -tokens)
        self.account.add(self.price_key, reply, batch=self.batch)
        if reply.status == "failed":
            self.errors[call.key] = reply.error

    def estimate(self, prompt: JudgePrompt) -> tuple[float, int]:
        """Money and tokens that a call may cost at most, as far as characters tell."""
        read = int((len(prompt.system) + len(prompt.user)) / CHARACTERS_PER_TOKEN) + 16
        usd = self.account.prices.cost(self.price_key, read, self.max_tokens, batch=self.batch)
        return usd or 0.0, read + self.max_tokens
