"""Tables of records with stable ids, signals measured about them, and the files both come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tamis.data.answers import Answers
from tamis.data.chats import CHAT_ROLES, chat_text, normalise_chat
from tamis.data.ids import content_ids, text_digests
from tamis.data.llm_labels import LLMLabels
from tamis.data.readers import read
from tamis.data.readers.answers import read_answers
from tamis.data.readers.llm_labels import read_llm_labels
from tamis.data.rejects import Rejects
from tamis.data.roles import ROLES, detect_roles
from tamis.data.signal import STATUSES, Signal
from tamis.data.source import Layout, Source
from tamis.data.table import Table
from tamis.data.writers import write
from tamis.data.writers.answers import write_answers

if TYPE_CHECKING:
    from tamis.data.answer_codes import AnswerCodes

__all__ = [
    "CHAT_ROLES",
    "ROLES",
    "STATUSES",
    "AnswerCodes",
    "Answers",
    "LLMLabels",
    "Layout",
    "Rejects",
    "Signal",
    "Source",
    "Table",
    "chat_text",
    "content_ids",
    "detect_roles",
    "normalise_chat",
    "read",
    "read_answers",
    "read_llm_labels",
    "text_digests",
    "write",
    "write_answers",
]


def __getattr__(name: str) -> Any:
    # It holds NumPy and SciPy arrays, and reading a table must import neither.
    if name == "AnswerCodes":
        from tamis.data.answer_codes import AnswerCodes

        return AnswerCodes
    raise AttributeError(f"module 'tamis.data' has no attribute {name!r}")
