"""What a server can do wrong, drawn so that a run repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tamis.errors import RecipeError, did_you_mean, parameter_error
from tamis.runs.digests import derive_seed

FAULTS: dict[str, str] = {
    "429": "too many requests, without Retry-After",
    "429-after": "too many requests, with Retry-After",
    "quota": "429 with the code insufficient_quota",
    "500": "server error; any other status from 400 to 599 works alike",
    "hang": "no answer until the client leaves",
    "reset": "the connection is closed without an answer",
    "truncated": "the body is cut in the middle and the connection closed",
    "non-utf8": "a body with bytes that are no UTF-8",
    "html": "status 200 with a page in place of JSON",
    "empty": "an answer without choices",
    "null": "an answer without content",
    "refuse": "an answer with a refusal",
    "filter": "an answer that a content filter took away",
    "length": "an answer that reached the limit of tokens, whole by luck",
    "broken-json": "content that ends in the middle of its JSON",
    "wrong-schema": "content in JSON with other keys and a text for a value",
}
"""Names of the faults and what each does."""

_DERIVED_BITS = 60


def is_status(name: str) -> bool:
    """Whether a fault is a bare HTTP status.

    Examples
    --------
    >>> is_status("503"), is_status("quota"), is_status("200")
    (True, False, False)
    """
    return name.isdigit() and 400 <= int(name) <= 599


@dataclass(frozen=True)
class FaultSchedule:
    """Which fault meets which request: a function of the seed, the prompt and how often it was asked before.

    Parameters
    ----------
    shares : mapping of fault to share in [0, 1]
        Together at most 1; the rest is answered well.
    seed : int

    Raises
    ------
    RecipeError
        If a fault is unknown or the shares are no shares.

    Examples
    --------
    >>> schedule = FaultSchedule({"hang": 0.5}, seed=1)
    >>> [schedule.draw("prompt", attempt) for attempt in range(4)] == [schedule.draw("prompt", a) for a in range(4)]
    True
    >>> FaultSchedule({}).draw("prompt", 0) is None
    True
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, share in self.shares.items():
            if name not in FAULTS and not is_status(name):
                raise RecipeError(
                    f"There is no fault {name!r}: expected one of those listed or a status from 400 to 599."
                    f"{did_you_mean(name, FAULTS)}"
                )
            if not 0 <= share <= 1:
                raise parameter_error("FaultSchedule", "shares", "shares in [0, 1]", share)
        if sum(self.shares.values()) > 1 + 1e-9:
            raise parameter_error("FaultSchedule", "shares", "shares that sum to at most 1", dict(self.shares))

    def draw(self, prompt: str, attempt: int) -> str | None:
        """Fault of the ``attempt``-th request (from 0) with this prompt digest; None if it is answered well."""
        if not self.shares:
            return None
        level = derive_seed(self.seed, "fault", prompt, attempt) / 2**_DERIVED_BITS
        for name in sorted(self.shares):
            level -= self.shares[name]
            if level < 0:
                return name
        return None
