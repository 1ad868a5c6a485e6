"""What a failed call to an OpenAI-compatible server means: try again, slow down, give up on this prompt, or stop."""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamis.errors import BackendError
from tamis.models.judging import Attempt, Reply
from tamis.models.openai_address import API_KEY_VARIABLE

if TYPE_CHECKING:
    import openai

SHOWN_CHARACTERS = 200
_HIDDEN = "[key]"
_TRANSIENT = frozenset({408, 409, 425, 429})  # and all from 500
_OVERLOADED = frozenset({429, 503, 529})
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
_CONTEXT = re.compile(
    r"context[_ ](length|size|window)|exceed_context|maximum context|(prompt|input|request)s? (is|are) too l|"
    r"longer than the (model|maximum)|too many (input )?tokens|max_new_tokens.{0,3} must be|reduce the length",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ErrorResponse:
    """An HTTP error as the server told it, without the key.

    Attributes
    ----------
    status : int
    text : str
        Everything it said, in one line.
    code, param : str
        What the API's error object names; empty where it names nothing.
    retry_after : float or None
        Seconds that it asked to wait.
    """

    status: int
    text: str
    code: str = ""
    param: str = ""
    retry_after: float | None = None

    @classmethod
    def of(cls, error: openai.APIStatusError, *, key: str, now: float) -> ErrorResponse:
        """Read the client's exception. ``key`` is blanked wherever the server echoes it; ``now`` is Unix time."""
        body = error.body
        named: Mapping[str, Any] = body if isinstance(body, dict) else {}
        return cls(
            status=error.status_code,
            text=one_line(_said(body), key=key),
            code=str(named.get("code") or named.get("type") or ""),
            param=str(named.get("param") or ""),
            retry_after=retry_after(error.response.headers, now=now),
        )

    @property
    def shown(self) -> str:
        """Status and the beginning of what the server said."""
        return f"HTTP {self.status}: {self.text[:SHOWN_CHARACTERS]}" if self.text else f"HTTP {self.status}"

    @property
    def about_context(self) -> bool:
        """Whether the prompt was too long."""
        return self.status in (400, 413, 422, 500) and bool(_CONTEXT.search(f"{self.code} {self.text}"))


def _said(body: object) -> str:
    if isinstance(body, dict):
        said = body.get("message") or body.get("detail") or body
        return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    return "" if body is None else str(body)


def one_line(text: str, *, key: str) -> str:
    r"""Join the lines of a message and blank the key in it.

    Examples
    --------
    >>> one_line("Incorrect key:\n sk-1 ", key="sk-1")
    'Incorrect key: [key]'
    """
    return " ".join((text.replace(key, _HIDDEN) if key else text).split())


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``Retry-After`` (seconds, or a date); None if neither makes sense.

    Parameters
    ----------
    headers : mapping
        With names in lower case, or blind to it.
    now : float
        Unix time.

    Examples
    --------
    >>> retry_after({"retry-after": "1.5"}, now=0.0), retry_after({"retry-after-ms": "20"}, now=0.0)
    (1.5, 0.02)
    >>> retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=50.0)
    10.0
    >>> retry_after({"retry-after": "soon"}, now=0.0) is None
    True
    """
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(date.timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


def failed(error: str, **how: Any) -> Attempt:
    """Return a failed attempt."""
    return Attempt(Reply("failed", error=error), **how)


def attempt_after(error: ErrorResponse, *, model: str, address: str) -> Attempt:
    """Judge what an HTTP error means for the call.

    Raises
    ------
    BackendError
        If no call can succeed: the key, the model, the address or the account is wrong.
    """
    if error.status in (401, 403):
        raise BackendError(
            f"The server at {address} does not accept the key: wrong, missing or without permission for {model!r} "
            f"({error.shown}); set the environment variable {API_KEY_VARIABLE}."
        )
    if error.status in (404, 405) or error.status < 400:
        raise BackendError(
            f"The server at {address} has no model {model!r} or is no OpenAI-compatible address ({error.shown}); "
            "check the name, and whether the address must end in /v1."
        )
    if error.status == 402 or (error.status == 429 and error.code in _OUT_OF_MONEY):
        raise BackendError(
            f"The quota of the account at {address} is exhausted ({error.shown}); add credit, then run again."
        )
    if error.about_context or error.status == 413:
        return failed("the prompt is longer than the model's context; lower --max-chars")
    if error.status in _TRANSIENT or error.status >= 500:
        return failed(
            error.shown, transient=True, overloaded=error.status in _OVERLOADED, retry_after=error.retry_after
        )
    return failed(error.shown)


def attempt_without_response(error: openai.APIConnectionError, *, address: str) -> Attempt:
    """Judge what it means that no whole response came from an address.

    A connection that was refused, or not made in time, is *unreachable*. One that broke later is not: the server may
    have worked.
    """
    cause = error.__cause__
    kind = type(cause).__name__ if cause is not None else type(error).__name__
    if kind in ("ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"):
        reason = str(cause).strip() or kind
        return failed(f"no connection to {address} ({reason[:SHOWN_CHARACTERS]})", transient=True, unreachable=True)
    if kind.endswith("Timeout"):
        return timed_out()
    return failed(f"the connection broke ({kind})", transient=True)


def timed_out() -> Attempt:
    """Return the attempt that took too long."""
    return failed("no answer within the timeout", transient=True, overloaded=True)
