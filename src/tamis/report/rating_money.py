"""What a rating run cost in money, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.rendering import count, listed

Found = Mapping[str, Any]


def money(raters: Sequence[Found]) -> str:
    """Say what the replies of a run cost in money, and where that is unknown.

    Examples
    --------
    >>> paid = {"name": "a", "judge": "openai:x", "kind": "chat", "calls": 9, "from_cache": 0, "cost": 1.5,
    ...         "currency": "USD", "price_known": True}
    >>> money([paid])
    'The replies cost 1.50 USD.'
    >>> money([{**paid, "from_cache": 4}, {**paid, "judge": "openai:y", "cost": None, "price_known": False}])
    'The replies cost at least 1.50 USD; money unknown: no price for openai:y. 4 of 18 came from the cache: an earlier
    run had asked for them.'
    """
    called = [r for r in raters if r["kind"] == "chat"]
    if not called:
        recorded = all(r["kind"] == "recorded" for r in raters)
        why = "all ratings were there already" if recorded else "the judges ran on this machine or cluster"
        return f"No call was paid for: {why}."
    unknown = [rater_money(r).removeprefix("unknown: ") for r in called if not _known(r)]
    known = sum(r["cost"] for r in called if _known(r))
    start = f"The replies cost {'at least ' if unknown else ''}{amount(known, called[0]['currency'])}"
    if unknown:
        start = (f"{start}; money" if len(unknown) < len(called) else "Money") + f" unknown: {listed(unknown)}"
    cached, needed = (sum(r[name] for r in called) for name in ("from_cache", "calls"))
    earlier = f" {count(cached)} of {count(needed)} came from the cache: an earlier run had asked for them."
    return f"{start}.{earlier if cached else ''}"


def rater_money(rater: Found) -> str:
    """Money of one rater for the table."""
    if rater["kind"] != "chat":
        return "none"
    if _known(rater):
        return amount(rater["cost"], rater["currency"])
    return f"unknown: {'tokens not stated by' if rater['price_known'] else 'no price for'} {rater['judge']}"


def _known(rater: Found) -> bool:
    return rater["price_known"] and rater["cost"] is not None


def amount(value: float, currency: str) -> str:
    """Write an amount of money; a small one that is not zero is never written as 0.

    Examples
    --------
    >>> amount(0.0, "USD"), amount(0.0004, "USD"), amount(12.345, "USD")
    ('0.00 USD', '< 0.01 USD', '12.35 USD')
    """
    return f"< 0.01 {currency}" if 0 < value < 0.005 else f"{value:,.2f} {currency}"
