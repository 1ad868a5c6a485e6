"""Tables of records with stable ids, signals measured about them, and the files both come from."""

from tamis.data.chats import CHAT_ROLES, chat_text, normalise_chat
from tamis.data.ids import content_ids, text_digests
from tamis.data.readers import read
from tamis.data.rejects import Rejects
from tamis.data.roles import ROLES, detect_roles
from tamis.data.signal import STATUSES, Signal
from tamis.data.source import Layout, Source
from tamis.data.table import Table
from tamis.data.writers import write

__all__ = [
    "CHAT_ROLES",
    "ROLES",
    "STATUSES",
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
    "text_digests",
    "write",
]
