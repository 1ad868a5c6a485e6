"""Judges behind the OpenAI chat API: OpenAI itself, vLLM, SGLang, Ollama, llama.cpp, TGI."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tamis.errors import RecipeError, parameter_error
from tamis.models.judging import Attempt, JudgePrompt
from tamis.models.openai_address import API_KEY_VARIABLE, OPENAI_URL, api_key, is_loopback, is_openai, parse_address
from tamis.models.openai_completion import read_completion
from tamis.models.openai_dialect import STRUCTURED, Dialect, chat_request
from tamis.models.openai_errors import ErrorResponse, attempt_after, attempt_without_response, timed_out
from tamis.models.tokenize import (
    CHAT_TOKENS,
    MESSAGE_TOKENS,
    Counts,
    RemoteTokenizer,
    estimate_tokens,
    tiktoken_counts,
)
from tamis.runs.digests import derive_seed, digest_json

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECTIONS = 1024
"""Connections that may be open, and kept open, at once."""
_CONNECT_SECONDS = 10.0
_SEED_MASK = 0x7FFFFFFF  # servers take 31 bits everywhere
_PLACEHOLDER = "no-key-needed"


class _Session:
    """What a judge holds and learns while it works: the client of one event loop, and what the server takes."""

    def __init__(self, structured: str) -> None:
        self.client: AsyncOpenAI | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.dialect = Dialect(structured)


@dataclass(frozen=True, kw_only=True)
class OpenAIJudge:
    """A chat judge behind an OpenAI-compatible server.

    The key is read from the environment variable ``OPENAI_API_KEY`` when the first call is made and goes nowhere but
    into the ``Authorization`` header. A server on a loopback address needs none. ``OPENAI_BASE_URL`` is not looked at:
    a recipe means the same server everywhere.

    Parameters
    ----------
    model : str
    base_url : str
        Without a slash at the end, usually ending in ``/v1``.
    temperature : float
        In [0, 2].
    max_tokens : int
        Limit of the answer.
    structured : {"auto", "schema", "json", "off"}
        How the form of the reply is asked for. ``"auto"`` asks by JSON schema and gives way to plain JSON and then to
        words where the server refuses.
    timeout : float
        Seconds for a whole call.
    seed : int
        Where the seed of each call derives from, with the sample and the attempt. Servers promise little about it.

    Examples
    --------
    >>> judge = OpenAIJudge.parse("qwen3:8b@http://127.0.0.1:11434/v1", temperature=0.0, max_tokens=100)
    >>> judge.model, judge.base_url, judge.price_key
    ('qwen3:8b', 'http://127.0.0.1:11434/v1', '127.0.0.1:11434/qwen3:8b')
    """

    model: str
    base_url: str = OPENAI_URL
    temperature: float
    max_tokens: int
    structured: str = "auto"
    timeout: float = 60.0
    seed: int = 0
    _session: _Session = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.structured not in STRUCTURED:
            raise parameter_error("OpenAIJudge", "structured", f"one of {', '.join(STRUCTURED)}", self.structured)
        if not 0 <= self.temperature <= 2:
            raise parameter_error("OpenAIJudge", "temperature", "a float in [0, 2]", self.temperature)
        if self.max_tokens < 1:
            raise parameter_error("OpenAIJudge", "max_tokens", "an int in [1, inf)", self.max_tokens)
        if not self.timeout > 0:
            raise parameter_error("OpenAIJudge", "timeout", "a float in (0, inf)", self.timeout)
        object.__setattr__(self, "_session", _Session(self.structured))

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        temperature: float,
        max_tokens: int,
        structured: str = "auto",
        timeout: float = 60.0,
        seed: int = 0,
    ) -> OpenAIJudge:
        """Make a judge of ``MODEL`` or ``MODEL@BASE_URL``. No call is made and no key is needed yet.

        Raises
        ------
        RecipeError
            If the model is empty, the address is none or holds a key, or a parameter is out of range.
        """
        model, base_url = parse_address(text)
        return cls(
            model=model,
            base_url=base_url,
            temperature=temperature,
            max_tokens=max_tokens,
            structured=structured,
            timeout=timeout,
            seed=seed,
        )

    @property
    def name(self) -> str:
        """Last part of the model's name."""
        return self.model.rstrip("/").rpartition("/")[2] or self.model

    @property
    def fingerprint(self) -> str:
        """Digest of everything but the prompt that answers depend on."""
        parts = [self.model, self.base_url, self.temperature, self.max_tokens, self.structured, self.seed]
        return digest_json(["openai", *parts])

    @property
    def price_key(self) -> str:
        """Name in the price table: the model for OpenAI itself, ``HOST[:PORT]/MODEL`` elsewhere."""
        return self.model if is_openai(self.base_url) else f"{urlsplit(self.base_url).netloc}/{self.model}"

    @property
    def conceded(self) -> tuple[str, ...]:
        """What the server refused and is no longer sent, in words; ratings may depend on it."""
        return tuple(self._session.dialect.conceded)

    def request(self, prompt: JudgePrompt, *, sample: int, number: int = 0) -> dict[str, Any]:
        """Body of the request for one call, as the server is known to take it."""
        return chat_request(
            prompt,
            self._session.dialect,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=derive_seed(self.seed, sample, number) & _SEED_MASK,
        )

    async def attempt(self, prompt: JudgePrompt, *, sample: int, number: int) -> Attempt:
        """Call once; again, without waiting, only where the server refuses an optional parameter.

        Raises
        ------
        BackendError
            If no call can succeed: the key, the model, the address or the account is wrong.
        RecipeError
            If ``OPENAI_API_KEY`` is not set and the server is not on this machine.
        """
        client = self.client()
        calls = 0
        while True:
            body = self.request(prompt, sample=sample, number=number)
            calls += 1
            outcome = await self._call(client, body)
            if isinstance(outcome, ErrorResponse):
                if self._session.dialect.concede(body, outcome):
                    continue
                outcome = attempt_after(outcome, model=self.model, address=self.base_url)
            return replace(outcome, reply=replace(outcome.reply, attempts=calls))

    async def _call(self, client: AsyncOpenAI, body: dict[str, Any]) -> Attempt | ErrorResponse:
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self.timeout):
                # The raw response: the client's models would hide what is broken in it, at twice the time.
                response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
        except TimeoutError:
            return timed_out()
        except openai.APIStatusError as error:
            return ErrorResponse.of(error, key=client.api_key, now=time.time())
        except openai.APIConnectionError as error:
            return attempt_without_response(error, address=self.base_url)
        return read_completion(response.content, key=client.api_key)

    def client(self) -> AsyncOpenAI:
        """Client of the running event loop; made on first use.

        Raises
        ------
        RecipeError
            If a key is needed and not set.
        """
        loop = asyncio.get_running_loop()
        if self._session.client is None or self._session.loop is not loop:
            self._session.client = self._new_client()
            self._session.loop = loop
        return self._session.client

    def _new_client(self) -> AsyncOpenAI:
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        here = is_loopback(self.base_url)
        key = api_key() or (_PLACEHOLDER if here else None)
        if key is None:
            raise RecipeError(
                f"The judge at {self.base_url} needs a key; set the environment variable {API_KEY_VARIABLE}."
            )
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        timeout = httpx2.Timeout(None, connect=min(_CONNECT_SECONDS, self.timeout))  # the whole is limited in _call
        http = DefaultAsyncHttpxClient(limits=limits, timeout=timeout, trust_env=not here)  # no proxy to this machine
        return AsyncOpenAI(api_key=key, base_url=self.base_url, max_retries=0, timeout=timeout, http_client=http)

    async def close(self) -> None:
        """Release the connections of the running event loop."""
        client, self._session.client = self._session.client, None
        if client is not None and self._session.loop is asyncio.get_running_loop():
            await client.close()

    def count_tokens(self, texts: Sequence[str]) -> Counts:
        """Tokens of each text, and whether the model's own tokenizer counted every one.

        A server on another address than OpenAI's is asked (llama.cpp, vLLM, TGI), about 64 texts at most; the rest is
        scaled by characters. Without such a server, and for OpenAI without tiktoken, they are estimates.
        """
        counts = self._own_tokenizer(texts)
        if counts is None and not is_openai(self.base_url):
            counts = self._remote_tokenizer().count(texts)
        return counts or ([estimate_tokens(text) for text in texts], False)

    def count_prompt_tokens(self, prompts: Sequence[JudgePrompt]) -> Counts:
        """Tokens of each whole prompt as it is billed, chat template and all, and whether each was counted exactly.

        Without a server that applies its template, 4 tokens a message and 3 a chat are added, as OpenAI's does.
        """
        chats = [prompt.messages() for prompt in prompts]
        if not is_openai(self.base_url):
            counts = self._remote_tokenizer().count_chats(chats)
            if counts is not None:
                return counts
        each, exact = self.count_tokens([m["content"] for chat in chats for m in chat])
        remaining = iter(each)
        totals = [CHAT_TOKENS + sum(MESSAGE_TOKENS + next(remaining) for _ in chat) for chat in chats]
        return totals, exact and is_openai(self.base_url)

    def _own_tokenizer(self, texts: Sequence[str]) -> Counts | None:
        counts = tiktoken_counts(self.model, texts) if is_openai(self.base_url) else None
        return None if counts is None else (counts, True)

    def _remote_tokenizer(self) -> RemoteTokenizer:
        root = re.sub(r"/v\d+$", "", self.base_url)
        return RemoteTokenizer(root, model=self.model, key=api_key(), trust_env=not is_loopback(self.base_url))
