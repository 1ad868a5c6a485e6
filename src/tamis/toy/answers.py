"""What the toy endpoint says: ratings that are a known function of the prompt, in the form of the OpenAI API."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.runs.digests import DIGEST_BYTES

CHARACTERS_PER_TOKEN = 4
_QUALITY = re.compile(r"\[\[quality (-?\d+)\]\]")
_SCALE = (1, 10)


def prompt_digest(messages: Sequence[Mapping[str, str]]) -> str:
    """Digest by which the endpoint's log names a prompt.

    Examples
    --------
    >>> prompt_digest([{"role": "user", "content": "Hello"}]) == prompt_digest([{"role": "user", "content": "hello"}])
    False
    """
    text = "\x00".join(f"{m['role']}\x00{m['content']}" for m in messages)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()


def true_rating(user: str, *, low: int = 1, high: int = 10) -> int:
    """Rating of a user message: the N of its ``[[quality N]]``, brought into the scale, else a hash of the message.

    Examples
    --------
    >>> true_rating("An answer. [[quality 7]]"), true_rating("[[quality 30]]")
    (7, 10)
    >>> 1 <= true_rating("An answer.") <= 10
    True
    """
    found = _QUALITY.search(user)
    if found:
        return min(max(int(found.group(1)), low), high)
    hashed = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return low + int.from_bytes(hashed, "big") % (high - low + 1)


def templated(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text that the endpoint pretends to read: its chat template."""
    return "".join(f"<|{m['role']}|>\n{m['content']}\n" for m in messages) + "<|assistant|>\n"


def tokens(text: str) -> int:
    """Tokens of a text: one for every four characters, the last may be shorter."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def rate(request: Mapping[str, Any]) -> tuple[int, str]:
    """Rate the chat of a request.

    Returns
    -------
    value : int
    content : str
        JSON with that value for every criterion of the asked schema, or for ``overall`` without one.
    """
    form = (request.get("response_format") or {}).get("json_schema") or {}
    properties = (form.get("schema") or {}).get("properties") or {"overall": {}}
    values = [v for p in properties.values() for v in p.get("enum", _SCALE)]
    user = next((m["content"] for m in reversed(request["messages"]) if m["role"] == "user"), "")
    value = true_rating(user, low=min(values), high=max(values))
    return value, json.dumps(dict.fromkeys(properties, value))


def completion(request: Mapping[str, Any], content: str | None, *, finish: str = "stop", **message: Any) -> Any:
    """Return a chat completion as the API words it. ``message`` adds to the message, e.g. a refusal."""
    read, written = tokens(templated(request["messages"])), tokens(content or "")
    said = {"role": "assistant", "content": content, **message}
    return {
        "id": "chatcmpl-toy",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", ""),
        "choices": [{"index": 0, "message": said, "finish_reason": finish, "logprobs": None}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def error_body(message: str, *, code: str | None = None, param: str | None = None) -> Any:
    """Return an error as the API words it."""
    return {"error": {"message": message, "type": code or "error", "param": param, "code": code}}
