"""Roles: which column holds the prompt, the response, the label and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from tamis.errors import RecipeError, did_you_mean

ROLES = (
    "prompt",
    "context",
    "response",
    "messages",
    "image",
    "label",
    "worker",
    "group",
    "time",
    "value",
    "segment",
)
"""Every role a column can have."""

CONTENT_ROLES = ("prompt", "context", "response", "messages", "image")
"""Roles whose columns make the id of a record."""

TEXT_ROLES = ("prompt", "context", "response", "messages")
"""Roles that :meth:`tamis.data.Table.chats` reads."""

_CHAT_COLUMNS = ("messages", "conversations", "conversation")
_PAIRS = (
    ("instruction", "output"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("instruction", "response"),
)
_PROMPTS = ("instruction", "prompt", "question")
_RESPONSES = ("output", "response", "completion", "answer")
_NAMESAKES = ("image", "label", "worker", "group", "time", "value", "segment")


def detect_roles(frame: pl.DataFrame, *, json_columns: Sequence[str] = ()) -> dict[str, str]:
    """Guess the roles of columns from their names.

    Known shapes, first match wins: ``messages`` or ShareGPT's ``conversations`` (a list per row); Alpaca's
    instruction, input, output; prompt and response; prompt and completion; question and answer; instruction,
    context, response (Dolly); one of these alone; ``text`` alone, which counts as the response. Columns called
    image (or images), label, worker, group, time, value or segment have that role.

    Returns
    -------
    dict
        Role to column; empty if no name is known.

    Examples
    --------
    >>> detect_roles(pl.DataFrame({"instruction": ["a"], "input": [""], "output": ["b"], "label": [1]}))
    {'prompt': 'instruction', 'context': 'input', 'response': 'output', 'label': 'label'}
    """
    found = _text_roles(frame, json_columns)
    for name in _NAMESAKES:
        if name in frame.columns and name not in found.values():
            found[name] = name
    if "images" in frame.columns:
        found.setdefault("image", "images")
    return found


def _text_roles(frame: pl.DataFrame, json_columns: Sequence[str]) -> dict[str, str]:
    columns = set(frame.columns)
    for name in _CHAT_COLUMNS:
        if name in columns and _holds_lists(frame[name], name in json_columns):
            return {"messages": name}
    pair = next((pair for pair in _PAIRS if columns.issuperset(pair)), None)
    prompt, response = pair or (_first(_PROMPTS, columns), _first(_RESPONSES, columns))
    if prompt is None and response is None:
        return {"response": "text"} if "text" in columns else {}
    found: dict[str, str] = {}
    if prompt is not None:
        found["prompt"] = prompt
        preferred = ("context", "input") if response == "response" else ("input", "context")
        context = _first(preferred if prompt == "instruction" else ("context",), columns)
        if context is not None:
            found["context"] = context
    if response is not None:
        found["response"] = response
    return found


def _first(names: Sequence[str], columns: set[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _holds_lists(column: pl.Series, is_json: bool) -> bool:
    if is_json or isinstance(column.dtype, pl.List):
        return True
    if column.dtype != pl.String:
        return False
    first = column.drop_nulls().head(1).to_list()
    return bool(first) and first[0].lstrip().startswith("[")


def resolve_roles(
    frame: pl.DataFrame,
    given: Mapping[str, str] | None,
    *,
    json_columns: Sequence[str] = (),
    source: str = "the table",
) -> dict[str, str]:
    """Detect roles and put the user's over them.

    A given ``messages`` role drops the detected prompt, context and response, and the other way round; a column that
    is given a role loses its detected one.

    Raises
    ------
    RecipeError
        If a role or a column is unknown.

    Examples
    --------
    >>> resolve_roles(pl.DataFrame({"text": ["a"]}), {"prompt": "text"})
    {'prompt': 'text'}
    """
    detected = detect_roles(frame, json_columns=json_columns)
    if not given:
        return detected
    for role, column in given.items():
        if role not in ROLES:
            raise RecipeError(f"The 'roles' of {source} name the unknown role {role!r}.{did_you_mean(role, ROLES)}")
        if column not in frame.columns:
            hint = did_you_mean(str(column), frame.columns)
            raise RecipeError(
                f"The role {role!r} is given to the column {column!r}, which {source} does not have.{hint}"
            )
    unwanted: set[str] = set()
    if "messages" in given:
        unwanted = {"prompt", "context", "response"}
    elif given.keys() & set(TEXT_ROLES):
        unwanted = {"messages"}
    kept = {
        role: column
        for role, column in detected.items()
        if role not in unwanted and role not in given and column not in given.values()
    }
    merged = {**kept, **given}
    return {role: merged[role] for role in ROLES if role in merged}
