"""An OpenAI-compatible server on loopback that rates by a known rule and fails on schedule.

::

    python -m tamis.toy.endpoint --port 8001 --latency 0.05 --fault 429=0.1 --fault hang=0.05 --log served.jsonl

It serves ``/v1/chat/completions``, ``/v1/models``, ``/v1/files``, ``/v1/batches``, and ``/tokenize`` and
``/apply-template`` as llama.cpp does (one token for every four characters).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from tamis.errors import BackendError, RecipeError
from tamis.toy.answers import completion, error_body, prompt_digest, rate, templated, tokens
from tamis.toy.batches import Batches
from tamis.toy.faults import FAULTS, FaultSchedule
from tamis.toy.faulty import faulty_response
from tamis.toy.wire import Request, Response, json_response, read_request

HOST = "127.0.0.1"
_START_SECONDS = 10.0


class Endpoint:
    """The server, as a context manager that runs it in a thread of its own.

    Parameters
    ----------
    latency : float
        Seconds that a chat completion takes.
    faults : mapping of fault to share
        See :data:`tamis.toy.faults.FAULTS`.
    seed : int
        Seed of the faults: which prompt meets which fault at which attempt repeats.
    port : int
        0 takes a free one.
    key : str or None
        If given, requests without ``Authorization: Bearer KEY`` get 401. The 401 echoes what was sent, as a careless
        server does.
    models : sequence of str
        Models that exist; empty means any name does.
    unsupported : sequence of str
        Parameters that are answered with 400: ``json_schema``, ``response_format``, ``temperature``, ``seed``,
        ``max_tokens``.
    context : int or None
        Tokens of a prompt beyond which it gets 400.
    retry_after : str
        Header of the fault ``429-after``.
    batch_seconds : float
        How long a batch takes.
    log_file : str or Path or None
        Where to write the log, one JSON object a line.

    Attributes
    ----------
    url : str
        Base address, ending in ``/v1``.
    log : list of dict
        Every chat request that was served: ``prompt`` (see :func:`tamis.toy.prompt_digest`), ``attempt`` (how often
        the same prompt came before), ``fault`` (None if answered well) and ``value`` (None if no rating was sent).

    Examples
    --------
    >>> import urllib.request
    >>> with Endpoint() as endpoint:
    ...     chat = {"model": "toy", "messages": [{"role": "user", "content": "[[quality 7]]"}]}
    ...     data = json.dumps(chat).encode()
    ...     with urllib.request.urlopen(f"{endpoint.url}/chat/completions", data=data) as response:
    ...         print(json.load(response)["choices"][0]["message"]["content"])
    {"overall": 7}
    >>> endpoint.log[0]["value"]
    7
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        port: int = 0,
        key: str | None = None,
        models: Sequence[str] = (),
        unsupported: Sequence[str] = (),
        context: int | None = None,
        retry_after: str = "0",
        batch_seconds: float = 0.0,
        log_file: str | Path | None = None,
    ) -> None:
        self.latency = latency
        self.schedule = FaultSchedule(faults or {}, seed)
        self.port = port
        self.key = key
        self.models = tuple(models)
        self.unsupported = frozenset(unsupported)
        self.context = context
        self.retry_after = retry_after
        self.log_file = log_file
        self.log: list[dict[str, Any]] = []
        self.batches = Batches(self._answer_in_batch, seconds=batch_seconds)
        self._seen: Counter[str] = Counter()
        self._stream: TextIO | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{HOST}:{self.port}/v1"

    async def serve(self, started: threading.Event, stop: asyncio.Event | None = None) -> None:
        """Serve in the running event loop until ``stop`` is set or the task is cancelled."""
        with ExitStack() as files:
            if self.log_file is not None:
                self._stream = files.enter_context(Path(self.log_file).open("w", encoding="utf-8", buffering=1))
            server = await asyncio.start_server(self._connected, HOST, self.port, backlog=1024)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            try:
                await (stop or asyncio.Event()).wait()
            finally:
                server.close()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="toy-endpoint", daemon=True)
        self._thread.start()
        if not started.wait(_START_SECONDS):
            raise BackendError(f"The toy endpoint did not start on {HOST}:{self.port}; is the port taken?")
        return self

    def _run(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self.serve(started, self._stop))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader)) is not None:
                response = await self._respond(request, reader)
                if response is None:
                    break
                writer.write(response.encoded())
                await writer.drain()
                if response.cut:
                    break
        except ConnectionError:
            pass  # the client left; nothing is owed to it
        finally:
            writer.close()

    async def _respond(self, request: Request, reader: asyncio.StreamReader) -> Response | None:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            sent = request.headers.get("authorization", "no key").removeprefix("Bearer ")
            return json_response(error_body(f"Incorrect API key provided: {sent}.", code="invalid_api_key"), status=401)
        if request.path == "/v1/chat/completions" and request.method == "POST":
            if self.latency:
                await asyncio.sleep(self.latency)
            fault, response = self._answer(request.json())
            if fault == "hang":
                await reader.read()
            return response
        if request.path.startswith(("/v1/files", "/v1/batches")):
            return self.batches.respond(request)
        return self._describe(request)

    def _describe(self, request: Request) -> Response:
        if request.path == "/v1/models":
            return json_response({"object": "list", "data": [{"id": m, "object": "model"} for m in self.models]})
        if request.path == "/tokenize":
            return json_response({"tokens": list(range(tokens(request.json().get("content", ""))))})
        if request.path == "/apply-template":
            return json_response({"prompt": templated(request.json()["messages"])})
        return json_response(error_body(f"No such path: {request.path}", code="not_found"), status=404)

    def _answer_in_batch(self, asked: Any) -> Response | None:
        fault, response = self._answer(asked)
        return None if fault in ("truncated", "non-utf8", "html") else response

    def _answer(self, asked: Any) -> tuple[str | None, Response | None]:
        refused = self._refused(asked)
        if refused is not None:
            return None, refused
        prompt = prompt_digest(asked["messages"])
        attempt = self._seen[prompt]
        self._seen[prompt] += 1
        fault = self.schedule.draw(prompt, attempt)
        value, content = rate(asked)
        delivered = value if fault in (None, "length") else None
        self._record({"prompt": prompt, "attempt": attempt, "fault": fault, "value": delivered})
        if fault is None:
            return None, json_response(completion(asked, content))
        return fault, faulty_response(fault, asked, content, retry_after=self.retry_after)

    def _refused(self, asked: Any) -> Response | None:
        """Return what comes before any schedule: models, parameters and prompts that the server does not take."""
        if self.models and asked.get("model") not in self.models:
            body = error_body(f"The model `{asked.get('model')}` does not exist.", code="model_not_found")
            return json_response(body, status=404)
        for name in sorted(self.unsupported):
            if name in asked or (asked.get("response_format") or {}).get("type") == name:
                param = "response_format" if name == "json_schema" else name
                message = f"Unsupported parameter: '{param}' ({name}) is not supported with this model."
                return json_response(error_body(message, code="unsupported_parameter", param=param), status=400)
        if self.context is not None and (n := tokens(templated(asked["messages"]))) > self.context:
            message = f"This model's maximum context length is {self.context} tokens; your messages have {n}."
            body = error_body(message, code="context_length_exceeded", param="messages")
            return json_response(body, status=400)
        return None

    def _record(self, entry: dict[str, Any]) -> None:
        self.log.append(entry)
        if self._stream is not None:
            self._stream.write(json.dumps(entry) + "\n")


def _share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=SHARE such as 429=0.1, got {text!r}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; prints the address first."""
    names = ", ".join(FAULTS)
    parser = argparse.ArgumentParser(prog="python -m tamis.toy.endpoint", description="A judge with known answers.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that an answer takes")
    parser.add_argument("--fault", type=_share, action="append", default=[], metavar="NAME=SHARE", help=names)
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--retry-after", default="0", help="header of the fault 429-after")
    parser.add_argument("--unsupported", action="append", default=[], metavar="PARAMETER", help="answered with 400")
    parser.add_argument("--context", type=int, help="tokens of a prompt beyond which it is refused")
    parser.add_argument("--batch-seconds", type=float, default=0.0, help="how long a batch takes")
    parser.add_argument("--require-key", metavar="KEY", help="answer 401 without it")
    parser.add_argument("--log", metavar="FILE", help="write what was served, one JSON object a line")
    options = parser.parse_args(arguments)
    try:
        endpoint = Endpoint(
            latency=options.latency,
            faults=dict(options.fault),
            seed=options.seed,
            port=options.port,
            key=options.require_key,
            unsupported=options.unsupported,
            context=options.context,
            retry_after=options.retry_after,
            batch_seconds=options.batch_seconds,
            log_file=options.log,
        )
    except RecipeError as error:
        parser.error(str(error))
    try:
        asyncio.run(_announce(endpoint))
    except KeyboardInterrupt:
        return 130
    return 0


async def _announce(endpoint: Endpoint) -> None:
    started = threading.Event()
    serving = asyncio.ensure_future(endpoint.serve(started))
    while not started.is_set() and not serving.done():
        await asyncio.sleep(0.001)
    if started.is_set():
        sys.stdout.write(f"listening on {endpoint.url}\n")
        sys.stdout.flush()
    await serving


if __name__ == "__main__":
    sys.exit(main())
