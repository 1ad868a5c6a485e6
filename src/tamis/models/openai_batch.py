"""The OpenAI Batch API: replies within a day for half the price, and none paid twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tamis.errors import BackendError, RunStateError
from tamis.models.judging import FAILED, JudgePrompt, Reply
from tamis.models.openai_chat import OpenAIJudge
from tamis.models.openai_completion import completion_outcome
from tamis.models.openai_errors import SHOWN_CHARACTERS, ErrorResponse
from tamis.runs.atomic import atomic_path, atomic_write_text
from tamis.runs.digests import digest_json

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_REQUESTS = 50_000
"""Requests in one batch (OpenAI's limit)."""
MAX_BYTES = 100_000_000
"""Bytes in one file of requests (half of OpenAI's limit)."""

_ENDPOINT: Final = "/v1/chat/completions"
_MARK = "tamis"
_ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
_RETRIES = 5
_SECONDS = 600.0
_SEARCHED = 1000  # batches looked through for one whose id was lost


class BatchCall(Protocol):
    """A reply that is wanted, e.g. :class:`tamis.models.dispatch.Call`."""

    @property
    def key(self) -> str:
        """Key in the response cache, unique."""
        ...

    @property
    def prompt(self) -> JudgePrompt:
        """What is asked."""
        ...

    @property
    def sample(self) -> int:
        """Which of the repeated ratings of the prompt."""
        ...


@dataclass
class _Chunk:
    """One batch: meant (no id yet), running, or done."""

    digest: str
    keys: list[str]
    batch: str | None = None
    done: bool = False


class _Ledger:
    """The batches of a run, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chunks: list[_Chunk] = []
        if path.exists():
            try:
                self.chunks = [_Chunk(**chunk) for chunk in json.loads(path.read_text(encoding="utf-8"))["chunks"]]
            except (ValueError, KeyError, TypeError) as error:
                raise RunStateError(
                    f"The list of batches {path} cannot be read ({error}); move it away to submit anew, which pays "
                    "again for what is under way."
                ) from error

    def save(self) -> None:
        atomic_write_text(self.path, json.dumps({"chunks": [asdict(chunk) for chunk in self.chunks]}))

    def open_for(self, keys: Iterable[str]) -> list[_Chunk]:
        """Chunks not done that answer any of the keys."""
        wanted = set(keys)
        return [chunk for chunk in self.chunks if not chunk.done and not wanted.isdisjoint(chunk.keys)]


def batch_under_way(state: Path, keys: Iterable[str]) -> bool:
    """Whether a batch was submitted for some of the keys and not collected yet.

    Parameters
    ----------
    state : Path
        Where :func:`run_batch` notes what it has under way.
    keys : iterable of str
    """
    return bool(_Ledger(state).open_for(keys))


async def run_batch(
    judge: OpenAIJudge,
    calls: Sequence[BatchCall],
    *,
    state: Path,
    keep: Callable[[list[tuple[str, Reply]]], None],
    poll_seconds: float = 30.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Ask for many replies through the Batch API and wait for them.

    The first call that is in no batch yet is made online, at the full price: it shows whether key and model are right
    and which parameters the model takes, before a whole batch is spent on finding out.

    What each batch answers is written to ``state`` before the batch is created, and its id as soon as there is one; a
    batch created in between is found again by a mark in its metadata. A run that was killed goes on with the same
    batches.

    Parameters
    ----------
    judge : OpenAIJudge
        Is not closed.
    calls : sequence of BatchCall
        Those that the cache lacks.
    state : Path
        JSON file; its folder must exist. The requests lie beside it while they are uploaded.
    keep : callable
        Takes (key, reply) pairs, batch by batch. Lines that failed, and lines of an expired or cancelled batch that
        were not answered, are left out.
    poll_seconds : float
    sleep : coroutine function
        Waits between polls.
    progress : callable, optional
        Takes the number of calls that have ended, as the server counts them.

    Raises
    ------
    BackendError
        If the server has no batch API, cannot be reached, or refuses a batch as a whole.
    RunStateError
        If ``state`` cannot be read.
    """
    ledger = _Ledger(state)
    client = judge.client().with_options(max_retries=_RETRIES, timeout=_SECONDS)
    wanted = {call.key: call for call in calls}
    with _explained(judge, client, state):
        await _find_lost(client, ledger)
        covered = {key for chunk in ledger.open_for(wanted) for key in chunk.keys}
        fresh = [call for call in calls if call.key not in covered]
        if fresh:
            fresh = await _first_online(judge, fresh, keep)
        for chunk, lines in _chunks(judge, fresh):
            await _submit(client, ledger, chunk, lines)
        await _await_batches(client, ledger, wanted, keep, poll_seconds, sleep, progress)


async def _first_online(
    judge: OpenAIJudge, calls: Sequence[BatchCall], keep: Callable[[list[tuple[str, Reply]]], None]
) -> list[BatchCall]:
    first, *rest = calls
    outcome = await judge.attempt(first.prompt, sample=first.sample, number=0)
    if outcome.reply.status == FAILED:
        return [first, *rest]
    keep([(first.key, outcome.reply)])
    return rest


def _chunks(judge: OpenAIJudge, calls: Iterable[BatchCall]) -> Iterator[tuple[_Chunk, list[bytes]]]:
    """Cut requests into batches within the limits."""
    keys: list[str] = []
    lines: list[bytes] = []
    size = 0
    for call in calls:
        body = judge.request(call.prompt, sample=call.sample)
        request = {"custom_id": call.key, "method": "POST", "url": _ENDPOINT, "body": body}
        line = json.dumps(request, ensure_ascii=False).encode() + b"\n"
        if keys and (len(keys) == MAX_REQUESTS or size + len(line) > MAX_BYTES):
            yield _Chunk(digest_json([judge.fingerprint, keys]), keys), lines
            keys, lines, size = [], [], 0
        keys.append(call.key)
        lines.append(line)
        size += len(line)
    if keys:
        yield _Chunk(digest_json([judge.fingerprint, keys]), keys), lines


async def _submit(client: AsyncOpenAI, ledger: _Ledger, chunk: _Chunk, lines: Sequence[bytes]) -> None:
    requests = ledger.path.with_name(f"{ledger.path.stem}-{chunk.digest}.jsonl")
    with atomic_path(requests) as path:
        path.write_bytes(b"".join(lines))
    try:
        file = await client.files.create(file=requests, purpose="batch")
    finally:
        requests.unlink()
    ledger.chunks.append(chunk)
    ledger.save()
    # Not retried: if the response is lost the batch may exist, and is then found by its mark.
    created = await client.with_options(max_retries=0).batches.create(
        input_file_id=file.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_MARK: chunk.digest}
    )
    chunk.batch = created.id
    ledger.save()


async def _find_lost(client: AsyncOpenAI, ledger: _Ledger) -> None:
    """Find batches whose id was not written down, and forget those that were never created."""
    lost = {chunk.digest: chunk for chunk in ledger.chunks if chunk.batch is None}
    if not lost:
        return
    seen = 0
    known = {chunk.batch for chunk in ledger.chunks}
    async for batch in client.batches.list(limit=100):
        chunk = lost.get((batch.metadata or {}).get(_MARK, ""))
        if chunk is not None and chunk.batch is None and batch.id not in known:
            chunk.batch = batch.id
        seen += 1
        if seen == _SEARCHED:
            break
    ledger.chunks = [chunk for chunk in ledger.chunks if chunk.batch is not None]
    ledger.save()


async def _await_batches(
    client: AsyncOpenAI,
    ledger: _Ledger,
    wanted: Mapping[str, BatchCall],
    keep: Callable[[list[tuple[str, Reply]]], None],
    poll_seconds: float,
    sleep: Callable[[float], Awaitable[None]],
    progress: Callable[[int], None] | None,
) -> None:
    waiting = ledger.open_for(wanted)
    sizes = {chunk.digest: len(wanted.keys() & chunk.keys) for chunk in waiting}
    ended = len(wanted) - sum(sizes.values())
    refused = ""
    while waiting:
        counted = ended
        for chunk in list(waiting):
            batch = await client.batches.retrieve(str(chunk.batch))
            counts = batch.request_counts
            counted += min(counts.completed + counts.failed, sizes[chunk.digest]) if counts else 0
            if batch.status not in _ENDED:
                continue
            keep([(key, reply) for key, reply in await _replies(client, batch) if key in wanted])
            refused = refused or (_reason(batch) if batch.status == "failed" else "")
            chunk.done = True
            ledger.save()
            waiting.remove(chunk)
            ended += sizes[chunk.digest]
        if progress is not None:
            progress(max(counted, ended))
        if waiting:
            await sleep(poll_seconds)
    if refused:
        raise BackendError(f"The server refused a batch ({refused[:SHOWN_CHARACTERS]}); nothing of it was answered.")


def _reason(batch: Any) -> str:
    reasons = [entry.message for entry in (batch.errors.data or [])] if batch.errors else []
    return "; ".join(reason for reason in reasons if reason) or "no reason given"


async def _replies(client: AsyncOpenAI, batch: Any) -> list[tuple[str, Reply]]:
    """Read the lines of an ended batch that are answers or refusals."""
    found = []
    for file in (batch.output_file_id, batch.error_file_id):
        if file is None:
            continue
        content = (await client.files.content(file)).content
        for line in content.split(b"\n"):  # not splitlines: JSON text may hold other line ends
            read = _read_line(line, key=client.api_key)
            if read is not None:
                found.append(read)
    return found


def _read_line(line: bytes, *, key: str) -> tuple[str, Reply] | None:
    try:
        record = json.loads(line)
        name, response = record["custom_id"], record["response"]
        if response["status_code"] != 200:
            return None
        reply = completion_outcome(response["body"], key=key).reply
    except (ValueError, KeyError, TypeError):
        return None
    return None if reply.status == FAILED else (str(name), replace(reply, batch=True))


@contextmanager
def _explained(judge: OpenAIJudge, client: AsyncOpenAI, state: Path) -> Iterator[None]:
    """Turn the client's errors into one sentence without the key."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        told = ErrorResponse.of(error, key=client.api_key, now=time.time()).shown
    except openai.APIConnectionError as error:
        told = f"{type(error).__name__}"
    else:
        return
    raise BackendError(
        f"The batch API at {judge.base_url} failed ({told}); what was submitted is listed in {state}, so run again to "
        "go on with it, or rate without batches."
    ) from None
