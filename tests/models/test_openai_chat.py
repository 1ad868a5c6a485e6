"""The OpenAI judge against a real server on loopback: what every answer and every fault becomes."""

from __future__ import annotations

import asyncio
import email.utils
import json
import socket
import subprocess
import sys
import time
import traceback

import pytest

from tamis.errors import BackendError, RecipeError, TamisError
from tamis.models.judging import JudgePrompt
from tamis.models.openai_chat import OpenAIJudge
from tamis.models.openai_completion import read_completion
from tamis.models.openai_dialect import Dialect
from tamis.models.openai_errors import ErrorResponse, retry_after
from tamis.models.tokenize import ASKED_AT_ONCE, estimate_tokens, sampled_counts
from tamis.toy import FAULTS, Endpoint, prompt_digest

KEY = "sk-test-SECRET0123456789"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def prompt_of(sample, criteria=("rarity", "overall")):
    questions = tuple((name, f"{name}?") for name in criteria)
    return JudgePrompt("You are a judge.", "Rate:\n", sample, "\nAnswer in JSON.", questions, "", 1, 10)


def judge_of(endpoint, model="toy", **options):
    return OpenAIJudge.parse(f"{model}@{endpoint.url}", **{"temperature": 0.0, "max_tokens": 50, **options})


def attempts(judge, *prompts, numbers=(0,)):
    """Call for each prompt and number at once, in one event loop, and close."""

    async def run():
        try:
            calls = (judge.attempt(prompt, sample=0, number=number) for prompt in prompts for number in numbers)
            return await asyncio.gather(*calls)
        finally:
            await judge.close()

    return asyncio.run(run())


def attempt(judge, sample="An answer. [[quality 7]]"):
    return attempts(judge, prompt_of(sample))[0]


def told(error):
    return "".join(traceback.format_exception(error))


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "model", "url"),
        [
            ("gpt-4o-mini", "gpt-4o-mini", "https://api.openai.com/v1"),
            ("local@http://127.0.0.1:80/v1", "local", "http://127.0.0.1:80/v1"),
            ("org/model:8b@https://host/v1/", "org/model:8b", "https://host/v1"),
            ("@cf/meta/llama@2@http://[::1]:8/v1", "@cf/meta/llama@2", "http://[::1]:8/v1"),
            ("claude@20240101", "claude@20240101", "https://api.openai.com/v1"),
        ],
    )
    def test_model_and_address(self, text, model, url):
        judge = OpenAIJudge.parse(text, temperature=0.0, max_tokens=5)
        assert (judge.model, judge.base_url) == (model, url)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "no model"),
            ("  @http://127.0.0.1/v1", "no model"),
            ("m@http://", "must be http"),
            ("m@https:/v1", "must be http"),
            ("m@httpx://host/v1", "must be http"),
            ("m@http://a host/v1", "must be http"),
            ("m@http://host:port/v1", "no URL"),
            ("m@127.0.0.1:8000/v1", "must be http"),
            ("m@localhost/v1", "must be http"),
            ("m@ftp://host/v1", "must be http"),
            (f"m@http://user:{KEY}@host/v1", "OPENAI_API_KEY"),
            ("m@http://user:secret@host/v1", "OPENAI_API_KEY"),
            ("m@https://host/v1?api-key=secret", "OPENAI_API_KEY"),
            (f"m@https://host/{KEY}/v1", "OPENAI_API_KEY"),
        ],
    )
    def test_bad_addresses_are_one_sentence_without_secrets(self, text, said):
        with pytest.raises(RecipeError, match=said) as caught:
            OpenAIJudge.parse(text, temperature=0.0, max_tokens=5)
        assert "secret" not in str(caught.value).lower()

    @pytest.mark.parametrize(
        "options", [{"structured": "xml"}, {"temperature": -1.0}, {"max_tokens": 0}, {"timeout": 0.0}]
    )
    def test_bad_parameters(self, options):
        with pytest.raises(RecipeError, match=next(iter(options))):
            OpenAIJudge.parse("m", **{"temperature": 0.0, "max_tokens": 5, **options})

    def test_name_and_price_key(self):
        judge = OpenAIJudge.parse("org/tiny:1b@http://127.0.0.1:8080/v1", temperature=0.0, max_tokens=5)
        assert (judge.name, judge.price_key) == ("tiny:1b", "127.0.0.1:8080/org/tiny:1b")
        openai = OpenAIJudge.parse("gpt-4o-mini", temperature=0.0, max_tokens=5)
        assert (openai.name, openai.price_key) == ("gpt-4o-mini", "gpt-4o-mini")

    def test_fingerprint_depends_on_what_answers_depend_on_and_on_nothing_else(self, monkeypatch):
        base = {"temperature": 0.0, "max_tokens": 5}
        first = OpenAIJudge.parse("m", **base).fingerprint
        changes = [{"temperature": 0.5}, {"max_tokens": 6}, {"structured": "off"}, {"seed": 1}]
        others = {OpenAIJudge.parse("m", **{**base, **change}).fingerprint for change in changes}
        others |= {OpenAIJudge.parse(text, **base).fingerprint for text in ("n", "m@http://127.0.0.1/v1")}
        assert len(others | {first}) == 7
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert OpenAIJudge.parse("m", **base, timeout=1.0).fingerprint == first


class TestAnswers:
    def test_an_answer_with_its_tokens(self):
        with Endpoint() as endpoint:
            reply = attempt(judge_of(endpoint)).reply
        assert reply.status == "answered"
        assert json.loads(reply.text) == {"rarity": 7, "overall": 7}
        assert reply.input_tokens > 10
        assert reply.output_tokens > 0
        assert reply.attempts == 1

    def test_what_is_sent(self):
        judge = OpenAIJudge.parse("m", temperature=0.3, max_tokens=50)
        prompt = prompt_of("x")
        body = judge.request(prompt, sample=0, number=0)
        assert body["messages"] == prompt.messages()
        assert body["response_format"]["json_schema"]["schema"] == prompt.schema()
        assert (body["temperature"], body["max_tokens"], body["model"]) == (0.3, 50, "m")
        seeds = {judge.request(prompt, sample=s, number=n)["seed"] for s in range(3) for n in range(3)}
        assert len(seeds) == 9
        assert all(0 <= seed < 2**31 for seed in seeds)
        forms = {
            mode: OpenAIJudge.parse("m", temperature=0.0, max_tokens=5, structured=mode).request(prompt, sample=0)
            for mode in ("schema", "json", "off")
        }
        assert forms["schema"]["response_format"]["type"] == "json_schema"
        assert forms["json"]["response_format"] == {"type": "json_object"}
        assert "response_format" not in forms["off"]

    @pytest.mark.parametrize("fault", ["refuse", "filter"])
    def test_refusals(self, fault):
        with Endpoint(faults={fault: 1.0}) as endpoint:
            got = attempt(judge_of(endpoint))
        assert got.reply.status == "refused"
        assert not got.transient

    @pytest.mark.parametrize("fault", ["length", "broken-json", "wrong-schema"])
    def test_text_of_any_kind_is_an_answer_that_parsing_judges(self, fault):
        with Endpoint(faults={fault: 1.0}) as endpoint:
            got = attempt(judge_of(endpoint))
        assert (got.reply.status, got.transient) == ("answered", False)
        assert got.reply.text

    def test_an_answer_that_spent_its_tokens_on_nothing_is_not_repeated(self):
        body = {
            "choices": [{"message": {"content": ""}, "finish_reason": "length"}],
            "usage": {"completion_tokens": 50},
        }
        got = read_completion(json.dumps(body))
        assert (got.reply.status, got.transient, got.reply.output_tokens) == ("failed", False, 50)

    @pytest.mark.parametrize(
        "body", ["[]", "{}", '{"choices": null}', '{"choices": [{}]}', '{"choices": [{"message": null}]}', '"text"', ""]
    )
    def test_bodies_that_are_no_completion(self, body):
        got = read_completion(body)
        assert (got.reply.status, got.transient) == ("failed", True)


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "overloaded"),
        [
            *((fault, True) for fault in ("429", "503", "529")),
            *((fault, False) for fault in ("408", "409", "500", "502", "504")),
            *((fault, False) for fault in ("reset", "truncated", "non-utf8", "html", "empty", "null")),
        ],
    )
    def test_what_may_pass(self, fault, overloaded):
        with Endpoint(faults={fault: 1.0}) as endpoint:
            got = attempt(judge_of(endpoint))
        assert got.reply.status == "failed"
        assert got.reply.error
        assert (got.transient, got.overloaded, got.unreachable) == (True, overloaded, False)
        assert got.retry_after is None
        assert got.reply.text == ""

    def test_tokens_of_an_empty_answer_are_billed(self):
        with Endpoint(faults={"null": 1.0}) as endpoint:
            assert attempt(judge_of(endpoint)).reply.input_tokens > 10

    def test_a_server_that_hangs_is_overloaded_and_costs_no_connection(self):
        prompts = [prompt_of(str(k)) for k in range(40)]
        with Endpoint(faults={"hang": 0.5}) as endpoint:
            judge = judge_of(endpoint, timeout=0.4)

            async def run():
                rounds = []
                for number in range(3):
                    began = time.monotonic()
                    rounds.append(await asyncio.gather(*(judge.attempt(p, sample=0, number=number) for p in prompts)))
                    assert time.monotonic() - began < 3
                await judge.close()
                return rounds

            got = asyncio.run(run())
        for number, outcomes in enumerate(got):
            served = {e["prompt"]: e["fault"] for e in endpoint.log if e["attempt"] == number}
            for prompt, outcome in zip(prompts, outcomes, strict=True):
                hung = served[prompt_digest(prompt.messages())] == "hang"
                assert outcome.reply.status == ("failed" if hung else "answered")
                assert (outcome.transient, outcome.overloaded, outcome.unreachable) == (hung, hung, False)

    @pytest.mark.parametrize(("header", "seconds"), [("1.5", 1.5), ("0", 0.0), ("soon", None)])
    def test_retry_after_in_seconds(self, header, seconds):
        with Endpoint(faults={"429-after": 1.0}, retry_after=header) as endpoint:
            got = attempt(judge_of(endpoint))
        assert (got.transient, got.overloaded, got.retry_after) == (True, True, seconds)

    def test_retry_after_as_a_date(self):
        date = email.utils.formatdate(time.time() + 30, usegmt=True)
        with Endpoint(faults={"429-after": 1.0}, retry_after=date) as endpoint:
            assert 20 < attempt(judge_of(endpoint)).retry_after <= 30
        assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, now=9.0) == 0.0
        assert retry_after({"retry-after": "nan"}, now=9.0) is None

    def test_nobody_there_is_unreachable(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound but not listening: refused
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
            got = attempt(OpenAIJudge.parse(f"m@{url}", temperature=0.0, max_tokens=5))
        assert (got.reply.status, got.transient, got.unreachable) == ("failed", True, True)
        assert "connection" in got.reply.error

    def test_an_unknown_model_stops_everything(self):
        with Endpoint(models=["other"]) as endpoint, pytest.raises(BackendError) as caught:
            attempt(judge_of(endpoint))
        assert "'toy'" in str(caught.value)
        assert endpoint.url in str(caught.value)

    def test_a_wrong_path_stops_everything(self):
        with Endpoint() as endpoint, pytest.raises(BackendError, match="must end in /v1"):
            attempt(OpenAIJudge.parse(f"toy@{endpoint.url}/v2", temperature=0.0, max_tokens=5))

    @pytest.mark.parametrize("fault", ["quota", "402"])
    def test_an_exhausted_quota_stops_everything(self, fault):
        with Endpoint(faults={fault: 1.0}) as endpoint, pytest.raises(BackendError, match="quota"):
            attempt(judge_of(endpoint))

    def test_a_prompt_beyond_the_context_fails_alone(self):
        with Endpoint(context=100) as endpoint:
            long, short = attempts(judge_of(endpoint), prompt_of("x" * 2000), prompt_of("x"))
        assert (long.reply.status, long.transient) == ("failed", False)
        assert long.reply.error == "the prompt is longer than the model's context; lower --max-chars"
        assert short.reply.status == "answered"

    @pytest.mark.parametrize("fault", ["400", "422", "418"])
    def test_other_client_errors_fail_alone_with_the_servers_words(self, fault):
        with Endpoint(faults={fault: 1.0}) as endpoint:
            got = attempt(judge_of(endpoint))
        assert (got.reply.status, got.transient) == ("failed", False)
        assert got.reply.error == f"HTTP {fault}: Fault {fault} on schedule."


class TestKey:
    def test_a_missing_key_is_named_at_the_first_call_only(self):
        judge = OpenAIJudge.parse("gpt-4o-mini", temperature=0.0, max_tokens=5)
        assert judge.count_prompt_tokens([prompt_of("x")])[1] is False
        with pytest.raises(RecipeError, match="OPENAI_API_KEY"):
            attempt(judge)

    @pytest.mark.parametrize("key", ["sk-ключ", "sk-a\nb", "sk a"])
    def test_a_key_that_no_header_takes(self, monkeypatch, key):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(RecipeError, match="OPENAI_API_KEY") as caught:
            attempt(OpenAIJudge.parse("gpt-4o-mini", temperature=0.0, max_tokens=5))
        assert key not in str(caught.value)

    def test_the_right_key_is_sent(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with Endpoint(key=KEY) as endpoint:
            assert attempt(judge_of(endpoint)).reply.status == "answered"

    def test_a_wrong_key_is_one_sentence_and_never_shown(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with Endpoint(key="another") as endpoint, pytest.raises(BackendError, match="OPENAI_API_KEY") as caught:
            attempt(judge_of(endpoint))
        assert "Incorrect API key provided: [key]" in str(caught.value)
        assert KEY not in told(caught.value)
        assert caught.value.__context__ is None

    def test_the_key_is_in_no_text_of_the_judge(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with Endpoint(faults={"500": 0.5, "400": 0.5}) as endpoint:
            judge = judge_of(endpoint)
            outcomes = attempts(judge, *(prompt_of(str(k)) for k in range(10)))
        texts = [repr(judge), judge.fingerprint, judge.name, judge.price_key, *map(repr, outcomes)]
        assert not any(KEY in text for text in texts)
        assert KEY not in read_completion(json.dumps({"error": f"bad {KEY}"}), key=KEY).reply.error


class TestConcessions:
    @pytest.mark.parametrize(
        ("unsupported", "calls", "form"),
        [(["json_schema"], 2, "json_object"), (["response_format"], 3, None)],
    )
    def test_the_form_gives_way_step_by_step_and_once(self, unsupported, calls, form):
        with Endpoint(unsupported=unsupported) as endpoint:
            judge = judge_of(endpoint)

            async def run():
                first = await judge.attempt(prompt_of("[[quality 7]]"), sample=0, number=0)
                second = await judge.attempt(prompt_of("[[quality 8]]"), sample=0, number=0)
                await judge.close()
                return first.reply, second.reply

            first, second = asyncio.run(run())
        assert (first.status, first.attempts) == ("answered", calls)
        assert (second.status, second.attempts) == ("answered", 1)
        sent = judge.request(prompt_of("x"), sample=0).get("response_format")
        assert (sent and sent["type"]) == form
        assert len(judge.conceded) == calls - 1

    def test_calls_under_way_together_give_way_only_as_far_as_needed(self):
        with Endpoint(unsupported=["json_schema"], latency=0.05) as endpoint:
            judge = judge_of(endpoint)
            outcomes = attempts(judge, *(prompt_of(str(k)) for k in range(20)))
        assert {got.reply.status for got in outcomes} == {"answered"}
        assert judge.request(prompt_of("x"), sample=0)["response_format"] == {"type": "json_object"}
        assert len(judge.conceded) == 1

    @pytest.mark.parametrize("mode", ["schema", "json"])
    def test_a_form_that_was_asked_for_by_name_does_not_give_way(self, mode):
        with Endpoint(unsupported=["response_format"]) as endpoint:
            got = attempt(judge_of(endpoint, structured=mode))
        assert (got.reply.status, got.transient) == ("failed", False)

    @pytest.mark.parametrize("name", ["temperature", "seed", "max_tokens"])
    def test_parameters_that_the_server_does_not_take(self, name):
        with Endpoint(unsupported=[name]) as endpoint:
            judge = judge_of(endpoint)
            got = attempt(judge)
        assert (got.reply.status, got.reply.attempts) == ("answered", 2)
        sent = judge.request(prompt_of("x"), sample=0)
        assert name not in sent
        assert ("max_completion_tokens" in sent) == (name == "max_tokens")
        assert sent["response_format"]["type"] == "json_schema"

    def test_all_at_once(self):
        with Endpoint(unsupported=["temperature", "seed", "max_tokens", "response_format"]) as endpoint:
            got = attempt(judge_of(endpoint))
        assert got.reply.status == "answered"

    def test_messages_of_servers_that_name_no_parameter(self):
        sent = {"seed": 1, "max_tokens": 5, "temperature": 2.0, "response_format": {"type": "json_schema"}}
        vllm = "1 validation error: {'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'not permitted'}"
        assert Dialect("auto").concede(sent, ErrorResponse(422, vllm))
        assert Dialect("auto").concede(sent, ErrorResponse(400, "This response_format type is unavailable now"))
        out_of_range = ErrorResponse(400, "temperature must be between 0 and 1")
        assert not Dialect("auto").concede(sent, out_of_range)
        echo = "messages.0: Field required, input: " + "x" * 500 + " the grammar of the seed is unknown"
        assert not Dialect("auto").concede(sent, ErrorResponse(400, echo))
        context = "max_tokens is too large: maximum context length is 10, and json_schema counts"
        assert not Dialect("auto").concede(sent, ErrorResponse(400, context))


class TestTokens:
    def test_a_server_with_a_tokenizer_is_exact(self):
        texts = ["", "abc", "x" * 41]
        with Endpoint() as endpoint:
            assert judge_of(endpoint).count_tokens(texts) == ([0, 1, 11], True)

    def test_whole_prompts_are_what_is_billed(self):
        prompts = [prompt_of("word " * k) for k in (1, 40, 300)]
        with Endpoint() as endpoint:
            judge = judge_of(endpoint)
            counted, exact = judge.count_prompt_tokens(prompts)
            billed = [got.reply.input_tokens for got in attempts(judge, *prompts)]
        assert exact
        assert counted == billed

    def test_many_prompts_are_counted_in_part_and_scaled(self):
        prompts = [prompt_of("word " * k) for k in range(200)]
        with Endpoint() as endpoint:
            judge = judge_of(endpoint)
            counted, exact = judge.count_prompt_tokens(prompts)
            billed = [got.reply.input_tokens for got in attempts(judge, *prompts)]
        assert not exact
        assert sum(counted) == pytest.approx(sum(billed), rel=0.01)
        assert counted == pytest.approx(billed, abs=2)

    def test_the_server_is_asked_about_64_texts(self):
        asked = []
        sampled_counts(list(range(1000)), lambda i: asked.append(i) or i)
        assert len(asked) == ASKED_AT_ONCE
        assert {0, 999} <= set(asked)
        assert sampled_counts([5] * 100, lambda i: 3) == ([3] * 100, False)

    def test_without_a_server_it_is_an_estimate(self):
        judge = OpenAIJudge.parse("m@http://127.0.0.1:9/v1", temperature=0.0, max_tokens=5)
        assert judge.count_tokens(["x" * 40, "質量評価", ""]) == ([10, 4, 0], False)
        counted, exact = judge.count_prompt_tokens([prompt_of("x")])
        own = sum(estimate_tokens(m["content"]) for m in prompt_of("x").messages())
        assert (counted, exact) == ([own + 4 * 2 + 3], False)


def test_importing_the_judge_loads_no_client():
    code = "import sys, tamis.models.openai_chat; print([m for m in ('openai', 'httpx2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_one_judge_works_in_one_event_loop_after_another():
    with Endpoint() as endpoint:
        judge = judge_of(endpoint)
        assert [attempt(judge).reply.status for _ in range(2)] == ["answered"] * 2


def test_no_fault_is_an_exception_other_than_ours():
    """All faults in equal shares: whatever happens is an attempt, or an error of tamis."""
    faults = {name: 1 / len(FAULTS) for name in FAULTS}
    with Endpoint(faults=faults) as endpoint:
        judge = judge_of(endpoint, timeout=0.5)

        async def run():
            calls = (judge.attempt(prompt_of(str(k)), sample=0, number=0) for k in range(200))
            got = await asyncio.gather(*calls, return_exceptions=True)
            await judge.close()
            return got

        for outcome in asyncio.run(run()):
            assert not isinstance(outcome, BaseException) or isinstance(outcome, TamisError)
