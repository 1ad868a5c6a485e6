"""The batch mode against a real server on loopback: nothing lost, nothing paid twice, whenever it is killed."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections import Counter

import pytest

from tamis.errors import BackendError, RunStateError
from tamis.models import openai_batch
from tamis.models.calls import Call
from tamis.models.judging import JudgePrompt
from tamis.models.openai_batch import run_batch
from tamis.models.openai_chat import OpenAIJudge
from tamis.toy import Endpoint, prompt_digest

KEY = "sk-test-SECRET0123456789"


class KilledError(Exception):
    """Stands for ``kill -9`` while the run waits: nothing after it is executed."""


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def calls_of(n):
    def prompt(k):
        return JudgePrompt("Judge.", "Rate:\n", f"{k} [[quality {k % 10 + 1}]]", "", (("overall", "?"),), "", 1, 10)

    return [Call(f"key-{k}", prompt(k), 0) for k in range(n)]


def run(endpoint, calls, folder, *, sleep=None, **options):
    """Run to the end; returns what was kept, in the order in which it came."""
    kept = []

    async def no_wait(seconds):
        await asyncio.sleep(0.001)

    async def whole():
        judge = OpenAIJudge.parse(f"toy@{endpoint.url}", temperature=0.0, max_tokens=50)
        try:
            await run_batch(
                judge, calls, state=folder / "batches.json", keep=kept.extend, sleep=sleep or no_wait, **options
            )
        finally:
            await judge.close()

    error = None
    try:
        asyncio.run(whole())
    except Exception as raised:  # handed back beside what was kept
        error = raised
    return kept, error


def ratings(kept):
    return {key: json.loads(reply.text)["overall"] for key, reply in kept}


def served(endpoint, calls):
    """How often each call was answered by the server."""
    counts = Counter(entry["prompt"] for entry in endpoint.log)
    return [counts[prompt_digest(call.prompt.messages())] for call in calls]


async def killed(seconds):
    raise KilledError


def test_every_call_is_answered_once_and_rightly(tmp_path):
    calls = calls_of(30)
    seen = []
    with Endpoint(batch_seconds=0.05) as endpoint:
        kept, error = run(endpoint, calls, tmp_path, progress=seen.append)
    assert error is None
    assert ratings(kept) == {f"key-{k}": k % 10 + 1 for k in range(30)}
    assert all(reply.input_tokens > 0 for _, reply in kept)
    assert served(endpoint, calls) == [1] * 30
    assert seen[-1] == 30
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["batches.json"]


def test_batches_are_cut_at_the_limits(tmp_path, monkeypatch):
    calls = calls_of(30)
    monkeypatch.setattr(openai_batch, "MAX_REQUESTS", 8)
    with Endpoint() as endpoint:
        kept, _ = run(endpoint, calls, tmp_path)
        sizes = [batch["request_counts"]["total"] for batch in endpoint.batches.batches.values()]
    assert sizes == [8, 8, 8, 5], "the first call is asked online"
    assert len(ratings(kept)) == 30
    folder = tmp_path / "again"
    folder.mkdir()
    monkeypatch.setattr(openai_batch, "MAX_BYTES", 2000)
    with Endpoint() as endpoint:
        kept, _ = run(endpoint, calls, folder)
        assert len(endpoint.batches.batches) > 5
        assert all(len(endpoint.batches.files[b["input_file_id"]]) <= 2000 for b in endpoint.batches.batches.values())
    assert len(ratings(kept)) == 30


def test_a_run_killed_while_waiting_goes_on_with_the_same_batch(tmp_path):
    calls = calls_of(20)
    with Endpoint(batch_seconds=0.1) as endpoint:
        first, error = run(endpoint, calls, tmp_path, sleep=killed)
        assert isinstance(error, KilledError)
        assert json.loads((tmp_path / "batches.json").read_text())["chunks"][0]["batch"] == "batch_0"
        missing = [call for call in calls if call.key not in dict(first)]
        assert len(missing) == 19
        second, error = run(endpoint, missing, tmp_path)
        assert error is None
        assert len(endpoint.batches.batches) == 1
    assert ratings(first + second) == {f"key-{k}": k % 10 + 1 for k in range(20)}
    assert served(endpoint, calls) == [1] * 20


def test_a_batch_whose_id_never_arrived_is_found_again(tmp_path):
    calls = calls_of(20)
    with Endpoint(batch_seconds=0.05) as endpoint:
        respond = endpoint.batches.respond

        def cut_off(request):
            response = respond(request)
            created = (request.method, request.path) == ("POST", "/v1/batches")
            return None if created else response  # None closes the connection

        endpoint.batches.respond = cut_off
        first, error = run(endpoint, calls, tmp_path)
        assert isinstance(error, BackendError)
        assert len(endpoint.batches.batches) == 1
        endpoint.batches.respond = respond
        second, error = run(endpoint, [c for c in calls if c.key not in dict(first)], tmp_path)
        assert error is None
        assert len(endpoint.batches.batches) == 1
    assert len(ratings(first + second)) == 20
    assert served(endpoint, calls) == [1] * 20


def test_a_batch_that_was_never_created_is_submitted(tmp_path):
    calls = calls_of(5)
    chunk = {"digest": "0" * 32, "keys": [call.key for call in calls], "batch": None, "done": False}
    (tmp_path / "batches.json").write_text(json.dumps({"chunks": [chunk]}))
    with Endpoint() as endpoint:
        kept, error = run(endpoint, calls, tmp_path)
    assert error is None
    assert len(ratings(kept)) == 5


def test_a_run_killed_between_keeping_and_ticking_off_pays_nothing(tmp_path):
    calls = calls_of(10)
    state = tmp_path / "batches.json"
    with Endpoint() as endpoint:
        run(endpoint, calls, tmp_path)
        known = json.loads(state.read_text())
        known["chunks"][0]["done"] = False
        state.write_text(json.dumps(known))
        kept, error = run(endpoint, calls[1:3], tmp_path)
        assert error is None
        assert set(ratings(kept)) == {"key-1", "key-2"}
        assert len(endpoint.batches.batches) == 1
    assert served(endpoint, calls) == [1] * 10


def test_failed_and_expired_lines_are_left_out_and_asked_again(tmp_path):
    calls = calls_of(120)
    with Endpoint(faults={"500": 0.2, "truncated": 0.1, "empty": 0.1, "refuse": 0.1}, seed=2) as endpoint:
        kept, error = run(endpoint, calls, tmp_path)
        assert error is None
        assert endpoint.batches.batches["batch_0"]["end"] == "expired"
        faults = {entry["prompt"]: entry["fault"] for entry in endpoint.log}
        got = dict(kept)
        for call in calls:
            fault = faults[prompt_digest(call.prompt.messages())]
            expected = {None: "answered", "refuse": "refused"}.get(fault)
            assert (got[call.key].status if call.key in got else None) == expected
        again, error = run(endpoint, [call for call in calls if call.key not in got], tmp_path)
        assert error is None
        assert len(endpoint.batches.batches) == 2
        assert 0.4 < len(again) / (120 - len(kept)) < 0.9


def test_what_the_model_does_not_take_is_found_out_before_the_batch(tmp_path):
    calls = calls_of(10)
    with Endpoint(unsupported=["temperature", "max_tokens"]) as endpoint:
        kept, error = run(endpoint, calls, tmp_path)
    assert error is None
    assert len(ratings(kept)) == 10


def test_a_server_without_batches_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    calls = calls_of(3)
    with Endpoint(key=KEY) as endpoint:
        endpoint.batches.respond = endpoint._describe
        kept, error = run(endpoint, calls, tmp_path)
    assert isinstance(error, BackendError)
    assert endpoint.url in str(error)
    assert KEY not in "".join(traceback.format_exception(error))
    assert len(kept) == 1


def test_a_batch_refused_as_a_whole(tmp_path):
    calls = calls_of(4)
    with Endpoint() as endpoint:
        create = endpoint.batches._create

        def refuse(asked):
            response = create(asked)
            said = {"data": [{"message": "Enqueued token limit reached"}]}
            endpoint.batches.batches["batch_0"].update(end="failed", errors=said, output_file_id=None)
            return response

        endpoint.batches._create = refuse
        _, error = run(endpoint, calls, tmp_path)
        assert isinstance(error, BackendError)
        assert "Enqueued token limit" in str(error)
        endpoint.batches._create = create
        kept, error = run(endpoint, calls[1:], tmp_path)
    assert error is None
    assert len(kept) == 3


def test_a_broken_state_file_is_refused(tmp_path):
    (tmp_path / "batches.json").write_text('{"chunks": [')
    with Endpoint() as endpoint:
        kept, error = run(endpoint, calls_of(3), tmp_path)
    assert isinstance(error, RunStateError)
    assert kept == []
    assert endpoint.log == []
