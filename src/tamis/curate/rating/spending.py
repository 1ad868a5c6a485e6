"""What a rating run may spend and has spent: tokens and money over all raters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tamis.curate.rating.raters import Rater
from tamis.errors import RecipeError
from tamis.models.calls import Call
from tamis.models.judging import JudgePrompt, Reply
from tamis.models.pricing import PriceTable
from tamis.models.tokenize import estimate_tokens

CAUTION = 4 / 3
"""What is set aside for a call in flight should not be too little: a third above the estimate of its tokens."""
TEMPLATE_TOKENS = 16


@dataclass
class Spending:
    """The account of a run. An attempt is admitted only if, with those under way, it stays within the limits.

    Parameters
    ----------
    prices : PriceTable
    limit_usd : float or None
    limit_tokens : int or None

    Attributes
    ----------
    usd : float
        Money spent. A reply whose tokens the back-end does not tell is booked at what was set aside for it.
    tokens : int
        Tokens read and written.
    """

    prices: PriceTable
    limit_usd: float | None = None
    limit_tokens: int | None = None
    usd: float = 0.0
    tokens: int = 0
    _reserved_usd: float = 0.0
    _reserved_tokens: int = 0

    def price(self, price_key: str | None, reply: Reply) -> float | None:
        """Money that a reply cost, None if unknown."""
        return self.prices.cost(price_key, reply.input_tokens, reply.output_tokens, batch=reply.batch)

    def add(self, price_key: str | None, reply: Reply) -> None:
        """Book a reply."""
        self.book(self.price(price_key, reply) or 0.0, (reply.input_tokens or 0) + (reply.output_tokens or 0))

    def book(self, usd: float, tokens: int) -> None:
        """Book an amount."""
        self.usd += usd
        self.tokens += tokens

    def admits(self, usd: float, tokens: int) -> bool:
        """Whether so much more stays within the limits, beside what is set aside."""
        over_usd = self.limit_usd is not None and self.usd + self._reserved_usd + usd > self.limit_usd
        over_tokens = self.limit_tokens is not None and self.tokens + self._reserved_tokens + tokens > self.limit_tokens
        return not (over_usd or over_tokens)

    def reserve(self, usd: float, tokens: int) -> None:
        """Set aside (or, negative, release) what a call in flight may cost."""
        self._reserved_usd += usd
        self._reserved_tokens += tokens


@dataclass
class RaterSpending:
    """One rater's hand on the account; the dispatcher asks it before each attempt and settles after.

    Parameters
    ----------
    account : Spending
    price_key : str or None
    max_tokens : int
        Longest reply; 0 for a judge that writes nothing.
    batch : bool
        Whether the next calls go through the batch interface.

    Attributes
    ----------
    errors : dict of str to str
        Why a call has no reply, by key.
    stopped : bool
        Whether something was left unasked for want of money or tokens.
    """

    account: Spending
    price_key: str | None
    max_tokens: int
    batch: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    _held: dict[str, tuple[float, int]] = field(default_factory=dict)

    def admit(self, call: Call) -> bool:
        """Set aside what an attempt may cost, or refuse it."""
        held = self.estimate(call.prompt)
        if not self.account.admits(*held):
            return False
        self.account.reserve(*held)
        self._held[call.key] = held
        return True

    def settle(self, call: Call, reply: Reply) -> None:
        """Book what an attempt did cost: what was set aside if it answered and does not say."""
        held = self._held.pop(call.key, (0.0, 0))
        self.account.reserve(-held[0], -held[1])
        if reply.status == "failed":
            self.errors[call.key] = reply.error
        else:
            self.errors.pop(call.key, None)
        if reply.status != "failed" and reply.input_tokens is None:
            self.account.book(*held)
        else:
            self.account.add(self.price_key, reply)

    def estimate(self, prompt: JudgePrompt) -> tuple[float, int]:
        """Money and tokens that an attempt may cost at most, as far as characters tell."""
        read = int(CAUTION * estimate_tokens(prompt.system + prompt.user)) + TEMPLATE_TOKENS
        usd = self.account.prices.cost(self.price_key, read, self.max_tokens, batch=self.batch)
        return usd or 0.0, read + self.max_tokens


def require_prices(raters: Sequence[Rater], prices: PriceTable, budget_usd: float | None) -> None:
    """Refuse a budget in money for a judge whose price is unknown: it could not be kept.

    Raises
    ------
    RecipeError
        If there is such a judge.
    """
    for rater in raters:
        if budget_usd is not None and rater.judge is not None and not prices.known(rater.judge.price_key):
            raise RecipeError(
                f"A budget of ${budget_usd:g} cannot be kept: the price of {rater.judge.price_key!r} is unknown. "
                "Give it with --prices FILE.toml, or limit --budget-tokens instead."
            )
