"""What the body of a chat completion says: an answer, a refusal, or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tamis.models.judging import Attempt, Reply
from tamis.models.openai_errors import SHOWN_CHARACTERS, failed, one_line


def read_completion(content: bytes | str, *, key: str = "") -> Attempt:
    """Read the body of a chat completion.

    Parameters
    ----------
    content : bytes or str
    key : str
        Blanked where an error in the body echoes it.

    Returns
    -------
    Attempt
        Answered if there is text, be it cut at ``max_tokens``; refused if the model or a filter declined; failed and
        worth repeating if the body is no completion. An answer that used up its tokens before any text (a reasoning
        model) would do so again.

    Examples
    --------
    >>> body = {"choices": [{"message": {"content": "7"}}], "usage": {"prompt_tokens": 90, "completion_tokens": 1}}
    >>> reply = read_completion(json.dumps(body)).reply
    >>> reply.text, reply.input_tokens
    ('7', 90)
    >>> read_completion("<html>").transient
    True
    """
    try:
        body = json.loads(content)
    except ValueError:  # also bytes that are no UTF-8
        return failed("the response is no JSON", transient=True)
    return completion_outcome(body, key=key)


def completion_outcome(body: Any, *, key: str = "") -> Attempt:
    """As :func:`read_completion`, from JSON values."""
    if not isinstance(body, dict):
        return failed("the response is no JSON object", transient=True)
    read = _attempt_of(body, key)
    usage = body.get("usage")
    spent = usage if isinstance(usage, dict) else {}
    reply = replace(
        read.reply,
        input_tokens=_whole(spent.get("prompt_tokens")),
        output_tokens=_whole(spent.get("completion_tokens")),
    )
    return replace(read, reply=reply)


def _attempt_of(body: dict[str, Any], key: str) -> Attempt:
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        said = f": {one_line(json.dumps(body['error']), key=key)[:SHOWN_CHARACTERS]}" if "error" in body else ""
        return failed(f"the response has no choice{said}", transient=True)
    if refusal or finish == "content_filter":
        return Attempt(Reply("refused", text=str(refusal or ""), error="" if refusal else "content filter"))
    if isinstance(text, str) and text.strip():
        return Attempt(Reply("answered", text=text))
    if finish == "length":
        return failed("the answer reached its limit of tokens before any text; raise the limit")
    return failed("the response has no content", transient=True)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
