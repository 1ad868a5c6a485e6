"""Where an OpenAI-compatible judge is: the model, the address, and the key that goes there."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from tamis.errors import RecipeError

API_KEY_VARIABLE = "OPENAI_API_KEY"
OPENAI_HOST = "api.openai.com"
OPENAI_URL = f"https://{OPENAI_HOST}/v1"

_FORM = "http://HOST[:PORT]/v1 or https://HOST/v1"
_KEY = re.compile(r"\bsk-[\w-]{8,}")
_HOST = re.compile(r"[\w.:%-]+")
_BARE_URL = re.compile(r"//|^(localhost|\[?::1|[\w.-]+:\d+)(?=/|:|]|$)|/v\d+/?$")


def parse_address(text: str) -> tuple[str, str]:
    """Split ``MODEL`` or ``MODEL@BASE_URL`` at the last ``@http``; a model may hold ``/``, ``:`` and ``@``.

    Returns
    -------
    model, base_url : str
        The address without a slash at its end; OpenAI's if none is given.

    Raises
    ------
    RecipeError
        If the model is empty, or the address is none or holds a key. The message shows no part that may be secret.

    Examples
    --------
    >>> parse_address("@cf/meta/llama-3@http://127.0.0.1:8000/v1/")
    ('@cf/meta/llama-3', 'http://127.0.0.1:8000/v1')
    >>> parse_address("gpt-4o-mini")
    ('gpt-4o-mini', 'https://api.openai.com/v1')
    """
    if _KEY.search(text):
        raise RecipeError(f"An openai: rater holds a key; keys come from the environment variable {API_KEY_VARIABLE}.")
    model, marked, rest = text.rpartition("@http")
    if not marked:
        model = text
        _, at, end = text.rpartition("@")
        if at and _BARE_URL.search(end):
            # Taken for a part of the name, the prompts would go to OpenAI and not to the server that was meant.
            raise RecipeError(f"The address of an openai: rater must be {_FORM}. Got {end!r} instead.")
    address = _checked(f"http{rest}") if marked else OPENAI_URL
    if not model.strip():
        raise RecipeError(
            "An openai: rater names no model; expected openai:MODEL or openai:MODEL@BASE_URL, for example "
            "openai:gpt-4o-mini or openai:local@http://127.0.0.1:8080/v1."
        )
    return model.strip(), address


def _checked(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise RecipeError(f"The address of an openai: rater is no URL; expected {_FORM}.") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise RecipeError(
            "The address of an openai: rater holds a user, a key or a query; "
            f"keys come from the environment variable {API_KEY_VARIABLE}."
        )
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise RecipeError(f"The address of an openai: rater must be {_FORM}. Got {address!r} instead.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def is_loopback(address: str) -> bool:
    """Whether an address is on this machine.

    Examples
    --------
    >>> is_loopback("http://[::1]:8080/v1"), is_loopback("http://localhost/v1"), is_loopback(OPENAI_URL)
    (True, True, False)
    """
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_openai(address: str) -> bool:
    """Whether an address is OpenAI itself, in any region."""
    host = urlsplit(address).hostname or ""
    return host == OPENAI_HOST or host.endswith(f".{OPENAI_HOST}")


def api_key() -> str | None:
    """Return the key in the environment, None without one.

    Raises
    ------
    RecipeError
        If what is there cannot be sent.
    """
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise RecipeError(f"The environment variable {API_KEY_VARIABLE} holds characters that are in no key.")
    return key or None
