"""How many tokens a text has: asked of the server that will read it, of tiktoken, or estimated from its characters."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

CHARACTERS_PER_TOKEN = 4
ASKED_AT_ONCE = 64
"""Texts that a server is asked about per call; the rest is scaled from them."""
MESSAGE_TOKENS, CHAT_TOKENS = 4, 3
"""What OpenAI's chat template adds for each message, and for the beginning of the answer."""

_SECONDS = 5.0
_CJK = re.compile(
    r"[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_ENCODING_URL = "https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"

Messages = Sequence[Mapping[str, str]]
Counts = tuple[list[int], bool]


def estimate_tokens(text: str) -> int:
    """Tokens of a text by rule of thumb: one for four characters, one for each Chinese, Japanese or Korean character.

    Examples
    --------
    >>> estimate_tokens("What is a sieve?"), estimate_tokens("筛子")
    (4, 2)
    """
    wide = len(_CJK.findall(text))
    return wide + -(-(len(text) - wide) // CHARACTERS_PER_TOKEN)


def tiktoken_counts(model: str, texts: Sequence[str]) -> list[int] | None:
    """Tokens by OpenAI's own tokenizer; None without the package tiktoken, or where its table is not on this machine.

    tiktoken fetches the table of a model on first use. A plan must not need the network, so only a table in
    tiktoken's cache is used.
    """
    if importlib.util.find_spec("tiktoken") is None:
        return None
    tiktoken = importlib.import_module("tiktoken")
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return None
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "data-gym-cache"
    table = hashlib.sha1(_ENCODING_URL.format(name=name).encode(), usedforsecurity=False).hexdigest()
    if not (folder / table).exists():
        return None
    encoding = tiktoken.get_encoding(name)
    return [len(tokens) for tokens in encoding.encode_ordinary_batch(list(texts))]


def sampled_counts(sizes: Sequence[int], count: Callable[[int], int], *, limit: int = ASKED_AT_ONCE) -> Counts:
    """Count some texts and scale the others by their characters.

    The counted ones are spread evenly over length. The rest lies on the least-squares line of tokens on characters, so
    a part that all share (the rubric, the chat template) does not distort it.

    Parameters
    ----------
    sizes : sequence of int
        Characters of each text.
    count : callable
        From the position of a text to its tokens.
    limit : int
        Texts to count, at least 2.

    Returns
    -------
    counts : list of int
    exact : bool
        Whether every text was counted.

    Examples
    --------
    >>> sampled_counts([10, 20, 30, 40], lambda i: 5 + [10, 20, 30, 40][i] // 5, limit=2)
    ([7, 9, 11, 13], False)
    """
    if len(sizes) <= limit:
        return [count(i) for i in range(len(sizes))], True
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    picked = [order[round(k * (len(order) - 1) / (limit - 1))] for k in range(limit)]
    known = {i: count(i) for i in picked}
    slope, intercept = _line([sizes[i] for i in known], list(known.values()))
    return [known.get(i, max(round(intercept + slope * n), 1 if n else 0)) for i, n in enumerate(sizes)], False


def _line(sizes: Sequence[int], counts: Sequence[int]) -> tuple[float, float]:
    if min(sizes) == max(sizes):
        return 0.0, statistics.fmean(counts)
    line = statistics.linear_regression(sizes, counts)
    return line.slope, line.intercept


class _NoTokenizerError(Exception):
    """The server has no such endpoint, or is not there."""


class RemoteTokenizer:
    """The tokenizer of a server: llama.cpp, vLLM (and SGLang) or TGI, whichever answers.

    Parameters
    ----------
    root : str
        Address of the server without ``/v1``.
    model : str
    key : str or None
        Sent as bearer if given.
    trust_env : bool
        Whether proxies of the environment apply.
    """

    def __init__(self, root: str, *, model: str, key: str | None, trust_env: bool) -> None:
        self._root = root
        self._model = model
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._trust_env = trust_env

    def count(self, texts: Sequence[str]) -> Counts | None:
        """Tokens of each text without marks of beginning and end; None if the server does not tell."""
        return self._counts([len(t) for t in texts], texts, (self._llama_text, self._vllm_text, self._tgi_text))

    def count_chats(self, chats: Sequence[Messages]) -> Counts | None:
        """Tokens of whole chats as the model reads them, template and all; None if the server does not tell."""
        sizes = [sum(len(m["content"]) for m in chat) for chat in chats]
        return self._counts(sizes, chats, (self._llama_chat, self._vllm_chat))

    def _counts(self, sizes: Sequence[int], items: Sequence[Any], ways: Sequence[Callable[..., int]]) -> Counts | None:
        import httpx2

        if not items:
            return [], True
        with httpx2.Client(timeout=_SECONDS, headers=self._headers, trust_env=self._trust_env) as client:
            for way in ways:
                try:
                    way(client, max(items, key=len))
                    return sampled_counts(sizes, lambda i, way=way: way(client, items[i]))  # type: ignore[misc]
                except _NoTokenizerError:
                    continue
                except httpx2.HTTPError:
                    return None
        return None

    def _llama_text(self, client: httpx2.Client, text: str, *, special: bool = False) -> int:
        body = {"content": text, "add_special": special}
        tokens = self._post(client, "/tokenize", body).get("tokens")
        if not isinstance(tokens, list) or (text and not tokens):
            raise _NoTokenizerError
        return len(tokens)

    def _vllm_text(self, client: httpx2.Client, text: str) -> int:
        return self._vllm(client, {"prompt": text, "add_special_tokens": False})

    def _tgi_text(self, client: httpx2.Client, text: str) -> int:
        tokens = self._post(client, "/tokenize", {"inputs": text}).get("")
        if not isinstance(tokens, list) or (text and not tokens):
            raise _NoTokenizerError
        return len(tokens)

    def _llama_chat(self, client: httpx2.Client, chat: Messages) -> int:
        prompt = self._post(client, "/apply-template", {"messages": list(chat)}).get("prompt")
        if not isinstance(prompt, str):
            raise _NoTokenizerError
        return self._llama_text(client, prompt, special=True)

    def _vllm_chat(self, client: httpx2.Client, chat: Messages) -> int:
        return self._vllm(client, {"messages": list(chat)})

    def _vllm(self, client: httpx2.Client, what: dict[str, Any]) -> int:
        count = self._post(client, "/tokenize", {"model": self._model, **what}).get("count")
        if not isinstance(count, int):
            raise _NoTokenizerError
        return count

    def _post(self, client: httpx2.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as an object; a bare list comes under the empty name."""
        response = client.post(self._root + path, json=body)
        if response.status_code != 200:
            raise _NoTokenizerError
        try:
            value = response.json()
        except ValueError:
            raise _NoTokenizerError from None
        return value if isinstance(value, dict) else {"": value}
