"""Chats as token ids, with which tokens are an assistant's answer: by the tokenizer's own template where it has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.chats import Chat
from tamis.data.token_rows import TokenRows
from tamis.errors import RecipeError
from tamis.models._transformers import first_line, quiet

MARKED = "tokenizer"
RENDERED = "tokenizer, answers found by rendering"
PLAIN = "plain"
_GENERATION = "{% generation %}"
_ROWS_AT_ONCE = 1000
CHANGED = "has an answer that the chat template changes, so that it cannot be found in what is rendered"

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class EncodedChats:
    """Chats as tokens.

    Attributes
    ----------
    rows : TokenRows
        The chats that could be encoded, in their order.
    kept : ndarray of int64
        Positions of these chats among those given.
    truncated : ndarray of bool, shape (len(rows),)
        Whether a chat was cut at the maximum length.
    problems : dict of int to str
        Why a chat could not be encoded, by its position; each is the rest of a sentence that begins with "the row".
    template : str
        ``"tokenizer"`` (its template marks answers), ``"tokenizer, answers found by rendering"`` or ``"plain"``.
    """

    rows: TokenRows
    kept: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    problems: dict[int, str]
    template: str


def template_of(tokenizer: Any) -> str:
    """How answers are found with this tokenizer, see :class:`EncodedChats`.

    Raises
    ------
    RecipeError
        If the tokenizer cannot say where its tokens stand in the text.
    """
    if not tokenizer.is_fast:
        raise RecipeError(
            f"The tokenizer {type(tokenizer).__name__} cannot say where its tokens stand in the text; use a model with "
            "a fast tokenizer (tokenizer.json)."
        )
    if not tokenizer.chat_template:
        return PLAIN
    return MARKED if _GENERATION in str(tokenizer.chat_template).replace("{%-", "{%").replace("-%}", "%}") else RENDERED


def encode_chats(
    chats: Sequence[Chat], unit_ids: Sequence[str] | pl.Series, tokenizer: Any, *, max_length: int
) -> EncodedChats:
    r"""Turn chats into token ids and say which tokens are an assistant's answer.

    An answer begins behind the header of its turn. Its end token is part of it, and so is what the template puts
    between this turn and the next; white space behind the last turn is left out. A template that marks answers
    (``{% generation %}``) is taken at its word. Of other templates the chat is rendered up to and including each
    answer; a template that does not render turn by turn is searched for the words of the answer. A tokenizer without a
    template gets Tulu's: ``<|user|>\n...\n<|assistant|>\n...`` and the end token (arXiv 2502.01968, section 5).

    Parameters
    ----------
    chats : sequence of list of dict
        As :meth:`tamis.data.Table.chats` gives them.
    unit_ids : sequence of str
        Ids of the chats.
    tokenizer : transformers.PreTrainedTokenizerBase
    max_length : int
        Tokens after which a chat is cut.

    Returns
    -------
    EncodedChats

    Raises
    ------
    RecipeError
        If the tokenizer cannot say where its tokens stand in the text.
    """
    template = template_of(tokenizer)
    write = {MARKED: _marked, RENDERED: _rendered, PLAIN: _plain}[template]
    ids: list[NDArray[np.int32]] = []
    flags: list[NDArray[np.bool_]] = []
    kept: list[int] = []
    truncated: list[bool] = []
    problems: dict[int, str] = {}
    for start in range(0, len(chats), _ROWS_AT_ONCE):
        for position, found in enumerate(write(chats[start : start + _ROWS_AT_ONCE], tokenizer), start):
            if isinstance(found, str):
                problems[position] = found
                continue
            tokens, response = found[0][:max_length], found[1][:max_length]
            response[0] = False  # nothing predicts the first token
            ids.append(tokens)
            flags.append(response)
            kept.append(position)
            truncated.append(len(found[0]) > max_length)
    places = np.array(kept, dtype=np.int64)
    rows = TokenRows.from_lists(pl.Series("unit_id", unit_ids, dtype=pl.String)[places], ids, flags)
    return EncodedChats(rows, places, np.array(truncated, dtype=bool), problems, template)


Encoded = tuple[NDArray[np.int32], NDArray[np.bool_]] | str
"""Ids and flags of a chat, or why there are none."""


def _marked(chats: Sequence[Chat], tokenizer: Any) -> list[Encoded]:
    found: list[Encoded] = []
    for chat in chats:
        try:
            with quiet():
                made = tokenizer.apply_chat_template(
                    chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
                )
        except (ValueError, TypeError, _template_error()) as error:
            found.append(_refused(error))
            continue
        ids = np.asarray(made["input_ids"], dtype=np.int32)
        found.append((ids, np.asarray(made["assistant_masks"], dtype=bool)) if len(ids) else "has no token")
    return found


def _rendered(chats: Sequence[Chat], tokenizer: Any) -> list[Encoded]:
    render = partial(tokenizer.apply_chat_template, tokenize=False)
    texts: list[str] = []
    spans: list[list[Span] | str] = []
    for chat in chats:
        try:
            text = render(chat).rstrip()
            spans.append(_spans(chat, text, render, tokenizer.eos_token or ""))
        except (ValueError, TypeError, _template_error()) as error:
            text = ""
            spans.append(_refused(error))
        texts.append(text)
    return _tokenised(texts, spans, tokenizer)


def _spans(chat: Chat, text: str, render: Callable[..., str], end: str) -> list[Span] | str:
    """Where answers stand in the rendered chat, or why that cannot be said."""
    spans: list[Span] = []
    cursor = 0
    for i, message in enumerate(chat):
        words = message["content"].strip()
        if message["role"] != "assistant":
            found = text.find(words, cursor)
            cursor = found + len(words) if found >= 0 else cursor
            continue
        start, certain = _opened(chat, i, text, render, cursor, words)
        if not certain:
            start = text.find(words, start)
        if start < 0:
            return CHANGED
        stop = _closed(render(chat[: i + 1]), text)
        if stop is None:
            at = text.find(words, start)
            if at < 0:
                return CHANGED
            stop = at + len(words)
            stop += len(end) if text.startswith(end, stop) else 0
        cursor = stop
        spans.append((start, stop))
    return spans


def _opened(chat: Chat, i: int, text: str, render: Callable[..., str], cursor: int, words: str) -> tuple[int, bool]:
    """Where the answer i begins, and whether that is certain; else from where on its words are to be searched."""
    if i == 0:  # no turn before it, but the header is that of any answer
        until = render(chat[:1])
        header = render(chat[:1], add_generation_prompt=True)[len(until) :]
        at = until.find(header) if header else -1
        return (at + len(header), True) if at >= 0 and text.startswith(until.rstrip()) else (0, False)
    before, opened = render(chat[:i]), render(chat[:i], add_generation_prompt=True)
    if text.startswith(opened):
        return len(opened), True
    if text.startswith(before):  # the generation prompt says more than the header, such as the beginning of a thought
        unlike = (at for at, (a, b) in enumerate(zip(opened, text, strict=False)) if a != b)
        alike = next(unlike, min(len(opened), len(text)))
        # the first letters of the answer may be those of what the prompt goes on with
        begun = next((at for at in range(alike, len(before) - 1, -1) if text.startswith(words, at)), None)
        return (alike, False) if begun is None else (begun, True)
    return cursor, False


def _closed(until: str, text: str) -> int | None:
    """Where a chat that was rendered up to an answer ends in the whole, None if it is no beginning of it."""
    if text.startswith(until):
        return len(until)
    return len(text) if until.rstrip() == text else None


def _plain(chats: Sequence[Chat], tokenizer: Any) -> list[Encoded]:
    end = tokenizer.eos_token or ""
    begin = tokenizer.bos_token if _begins_text(tokenizer) else ""
    texts: list[str] = []
    spans: list[list[Span] | str] = []
    for chat in chats:
        text, found = begin, []
        for message in chat:
            text += f"<|{message['role']}|>\n"
            start = len(text)
            text += f"{message['content'].strip()}{end if message['role'] == 'assistant' else ''}\n"
            if message["role"] == "assistant":
                found.append((start, len(text)))
        texts.append(text.rstrip())
        spans.append(found)
    return _tokenised(texts, spans, tokenizer)


def _begins_text(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


def _tokenised(texts: Sequence[str], spans: Sequence[list[Span] | str], tokenizer: Any) -> list[Encoded]:
    """Token ids of texts; a token belongs to the span that it begins in."""
    with quiet():  # it warns of texts that are longer than the model reads; they are cut
        made = tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False
        )
    found: list[Encoded] = []
    for ids, offsets, where in zip(made["input_ids"], made["offset_mapping"], spans, strict=True):
        if isinstance(where, str):
            found.append(where)
            continue
        if not ids:
            found.append("has no token")
            continue
        starts = np.asarray(offsets, dtype=np.int64)[:, 0]
        response = np.zeros(len(ids), dtype=bool)
        for start, stop in where:
            response |= (starts >= start) & (starts < stop)
        found.append((np.asarray(ids, dtype=np.int32), response))
    return found


def _template_error() -> type[Exception]:
    from jinja2 import TemplateError

    return TemplateError


def _refused(error: Exception) -> str:
    return f"is refused by the chat template: {first_line(error)}"


def prompt_tokens(chat: Chat, tokenizer: Any) -> list[int]:
    """Token ids of a chat that the assistant is to answer, up to and including the header of its turn."""
    if template_of(tokenizer) == PLAIN:
        begin = tokenizer.bos_token if _begins_text(tokenizer) else ""
        text = begin + "".join(f"<|{each['role']}|>\n{each['content'].strip()}\n" for each in chat) + "<|assistant|>\n"
    else:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
