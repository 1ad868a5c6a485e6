"""Chats in the shapes people store them, as lists of role and content."""

from __future__ import annotations

import json
from typing import Any

from tamis.data.records import dump_json
from tamis.errors import DataError

Chat = list[dict[str, str]]

CHAT_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
}
"""What speakers are called in OpenAI, ShareGPT, OASST and tool-use files, and their name here."""


def as_text(value: Any) -> str:
    """Return a cell as text: text as is, null as the empty string, anything else as compact JSON.

    Examples
    --------
    >>> as_text("a"), as_text(None), as_text(4), as_text(["x"])
    ('a', '', '4', '["x"]')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return dump_json(value)
    except TypeError:
        return str(value)


def normalise_chat(value: Any) -> Chat:
    """Return a list of messages with the roles system, user, assistant and tool.

    Parameters
    ----------
    value : list of dict, or str
        Messages with ``role`` and ``content`` (OpenAI) or ``from`` and ``value`` (ShareGPT), or their JSON text.
        Content in parts is joined by line breaks, an image part becomes ``<image>``; tool calls are put behind the
        content as JSON.

    Returns
    -------
    list of dict
        ``{"role": ..., "content": ...}`` per message.

    Raises
    ------
    DataError
        If this is no chat, has no message with content, or a role is unknown. The message is the rest of a sentence
        that starts with "the row".

    Examples
    --------
    >>> normalise_chat([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}])
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError("has messages that are no JSON") from None
    if not isinstance(value, list) or not value:
        raise DataError("has no messages")
    chat = [_message(item, number) for number, item in enumerate(value, 1)]
    if not any(message["content"].strip() for message in chat):
        raise DataError("has messages without content")
    return chat


def _message(item: Any, number: int) -> dict[str, str]:
    if not isinstance(item, dict):
        raise DataError(f"has a message {number} that is no object")
    role = item.get("role")
    role = item.get("from") if role is None else role
    if not isinstance(role, str):
        raise DataError(f"has a message {number} without a role")
    known = CHAT_ROLES.get(role.strip().lower())
    if known is None:
        raise DataError(f"has a message {number} with the unknown role {role!r}")
    content = item.get("content")
    content = item.get("value") if content is None else content
    text = _content_text(content)
    calls = item.get("tool_calls")
    if calls:
        text = f"{text}\n{as_text(calls)}" if text else as_text(calls)
    return {"role": known, "content": text}


def _content_text(content: Any) -> str:
    if not isinstance(content, list):
        return as_text(content)
    parts = []
    for part in content:
        if isinstance(part, dict) and "image" in str(part.get("type", "")):
            parts.append("<image>")
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            parts.append(part["text"])
        else:
            parts.append(as_text(part))
    return "\n".join(parts)


def chat_from_fields(prompt: Any, context: Any, response: Any) -> Chat:
    r"""Return the chat of a record with separate fields.

    A context follows the prompt behind an empty line. A field that is itself a list of messages, as in
    conversational prompt/completion sets, contributes these messages. Empty fields contribute none.

    Examples
    --------
    >>> chat_from_fields("Translate.", "Bonjour", "Hello")
    [{'role': 'user', 'content': 'Translate.\n\nBonjour'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    chat: Chat = []
    if _is_chat(prompt):
        chat.extend(normalise_chat(prompt))
        if as_text(context):
            chat.append({"role": "user", "content": as_text(context)})
    elif user := "\n\n".join(filter(None, (as_text(prompt), as_text(context)))):
        chat.append({"role": "user", "content": user})
    if _is_chat(response):
        chat.extend(normalise_chat(response))
    elif answer := as_text(response):
        chat.append({"role": "assistant", "content": answer})
    return chat


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and not value[0].keys().isdisjoint({"role", "from"})
    )


def chat_text(chat: Chat) -> str:
    r"""Join a chat as ``###role: content`` lines, the text that is embedded.

    References
    ----------
    Pang et al., "Improving Data Efficiency via Curating LLM-Driven Rating Systems", arXiv 2410.10877 (official code).

    Examples
    --------
    >>> chat_text([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    '###user: Hi\n###assistant: Hello'
    """
    return "\n".join(f"###{message['role']}: {message['content']}" for message in chat)


def split_chat(chat: Chat) -> tuple[str, str]:
    """Return what the user asked and the last answer of a chat.

    The prompt is the user's messages before the last assistant message, joined by empty lines; the response is that
    assistant message, empty if there is none.

    Examples
    --------
    >>> split_chat([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    ('Hi', 'Hello')
    """
    last = max((i for i, message in enumerate(chat) if message["role"] == "assistant"), default=len(chat))
    asked = "\n\n".join(message["content"] for message in chat[:last] if message["role"] == "user")
    return asked, chat[last]["content"] if last < len(chat) else ""
