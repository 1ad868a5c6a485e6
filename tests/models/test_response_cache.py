import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tamis.errors import RunStateError
from tamis.models.judging import JudgePrompt, Reply
from tamis.models.response_cache import Habit, ResponseCache, reply_key

QUESTIONS = (("overall", "How good?"),)
PROMPT = JudgePrompt("You judge.", "Judge:\n", "<s>text</s>", "JSON", QUESTIONS, "{criterion}: ", 1, 10)


@pytest.fixture
def cache(tmp_path):
    with ResponseCache(tmp_path / "replies.sqlite") as opened:
        yield opened


def test_a_reply_comes_back_as_it_was_put(cache):
    reply = Reply("answered", '{"overall": 7} ünïcode', 120, 9, attempts=2, batch=True)
    cache.put([("a", reply), ("b", Reply("refused", "no", None, None))], run="r")
    assert cache.get(["b", "a", "c"]) == {"a": reply, "b": Reply("refused", "no")}


def test_a_later_reply_replaces_an_earlier_one(cache):
    cache.put([("a", Reply("answered", "prose"))], run="r")
    cache.put([("a", Reply("answered", "{}"))], run="s")
    assert cache.get(["a"])["a"].text == "{}"
    assert cache.asked_by(["a"], run="s") == {"a"}
    assert cache.asked_by(["a"], run="r") == set()


def test_more_keys_than_one_query_holds(cache):
    keys = [f"k{i}" for i in range(1234)]
    cache.put([(key, Reply("answered", key)) for key in keys], run="r")
    assert {key: reply.text for key, reply in cache.get(keys).items()} == {key: key for key in keys}


def test_a_failed_batch_leaves_nothing(cache):
    with pytest.raises(Exception, match="NOT NULL"):
        cache.put([("a", Reply("answered", "x")), ("b", Reply("answered", None))], run="r")
    assert cache.get(["a", "b"]) == {}
    cache.put([("a", Reply("answered", "x"))], run="r")


@pytest.mark.parametrize(
    "changed",
    [
        {"system": "You grade."},
        {"opening": "Rate:\n"},
        {"sample": "<s>other</s>"},
        {"closing": "YAML"},
        {"questions": (("overall", "How bad?"),)},
        {"answer": "{criterion} = "},
        {"high": 5},
    ],
)
def test_the_key_tells_prompts_apart(changed):
    assert reply_key("m", PROMPT, 0) != reply_key("m", replace(PROMPT, **changed), 0)


def test_the_key_names_model_sample_and_what_a_scripted_judge_knows():
    told = replace(PROMPT, truth=4.0)
    keys = {reply_key("m", PROMPT, 0), reply_key("n", PROMPT, 0), reply_key("m", PROMPT, 1), reply_key("m", told, 0)}
    assert len(keys) == 4


def test_the_habit_of_a_judge_is_remembered(cache):
    assert cache.habit("m") is None
    cache.note_habit("m", Habit(0.5, 30.0))
    cache.note_habit("m", Habit(0.25, None))
    assert cache.habit("m") == Habit(0.25, None)


def test_a_file_that_is_no_cache_is_an_error(tmp_path):
    (tmp_path / "replies.sqlite").write_text("not a database, but long enough to be taken for a header " * 20)
    with pytest.raises(RunStateError, match="cannot be used"):
        ResponseCache(tmp_path / "replies.sqlite")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunStateError, match="cannot be opened"):
        ResponseCache(tmp_path / "file" / "replies.sqlite")


WRITER = """
import sys
from tamis.models.judging import Reply
from tamis.models.response_cache import ResponseCache
name, path = sys.argv[1:]
with ResponseCache(path) as cache:
    for i in range(10_000):
        cache.put([(f"{name}{i}", Reply("answered", str(i)))], run=name)
        print(i, flush=True)
"""


def test_what_was_put_survives_kill_and_writers_take_turns(tmp_path):
    path = tmp_path / "replies.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, name, str(path)], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for writer in writers:
        for _ in range(50):
            writer.stdout.readline()
    time.sleep(0.2)
    told = []
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        lines = writer.stdout.read().splitlines()
        told.append(int(lines[-1]) if lines else 49)
        writer.stdout.close()
        writer.wait()
    with ResponseCache(path) as cache:
        for name, last in zip("ab", told, strict=True):
            assert len(cache.get([f"{name}{i}" for i in range(last + 1)])) == last + 1
