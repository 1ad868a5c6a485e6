"""``tamis tokens`` and ``tamis train`` on a tiny model, killed at random moments and resumed to the same bytes.

A process that has imported everything forks itself for each command, so that a command takes a second and not eight,
and a kill falls on work and not on imports. One run is made as a user makes it, and must give the same bytes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytestmark = pytest.mark.e2e
FORKS = """
import json, os, runpy, sys, traceback
import accelerate, altair, pandas, peft, polars, pyarrow.compute, safetensors.torch, torch, vl_convert
import tamis.cli.app, tamis.cli.execute, tamis.report, tamis.report.tokens, tamis.report.training
import tamis.curate.tokens.explain, tamis.curate.tokens.job, tamis.curate.tuning.job
import tamis.models.generated_reply, tamis.train.learned, tamis.train.loop, tamis.train.token_losses
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaForCausalLM
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    arguments, log = json.loads(line)
    pid = os.fork()
    if not pid:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.argv, code = ["tamis", *arguments], 1
        try:
            if arguments[0].endswith(".py"):
                runpy.run_path(arguments[0])["main"](*arguments[1:])
                code = 0
            else:
                tamis.cli.app.app()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    print(pid, flush=True)
    sys.stdin.readline()  # until then a process that has ended keeps its number, so that no other can be killed
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
RESULTS = ("tokens.parquet", "spans.parquet", "selection.parquet", "evidence.parquet", "selected.jsonl")
TRAINED = ("evidence.parquet", "model/model.safetensors", "model/config.json", "model/tokenizer.json",
           "model/README.md")  # fmt: skip
TRAINING = ("--learning-rate", 0.01, "--batch-rows", 2, "--lora-rank", 2, "--epochs", 3)


class Command:
    """Commands of tamis, one at a time, each in a fork of a process that is warm."""

    def __init__(self, folder):
        self.log = folder / "log.txt"
        environment = {**os.environ, "TAMIS_CACHE": str(folder / "cache"), "PYTHONHASHSEED": "random",
                       "OMP_NUM_THREADS": "1"}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout.readline() == "ready\n"

    def start(self, *arguments):
        self.log.unlink(missing_ok=True)
        self.pid = int(self._ask(json.dumps([list(map(str, arguments)), str(self.log)])))
        assert self.pid > 1

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self):
        return int(self._ask(""))

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def run(self, *arguments):
        began = time.monotonic()
        self.start(*arguments)
        code = self.wait()
        assert code == 0, self.log.read_text()
        return time.monotonic() - began

    def run_until_killed(self, arguments, fresh, moment, *, attempts=12):
        """Run in fresh folders until a kill lands before the end; returns the folder."""
        for _ in range(attempts):
            out = fresh()
            self.start(*arguments, "--out", out)
            time.sleep(moment)
            if self.kill() == -signal.SIGKILL and not (out / "report.html").exists():
                return out
            moment *= 0.8  # it had ended before the kill
        pytest.fail("the process always ended before it could be killed")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    command = Command(tmp_path_factory.mktemp("command"))
    yield command
    command.process.stdin.close()
    command.process.wait()
    command.process.stdout.close()


@pytest.fixture(scope="module")
def world(command, tmp_path_factory):
    """A model, and a pool of 60 records."""
    folder = tmp_path_factory.mktemp("world")
    command.run(Path(__file__).with_name("tiny_llama.py"), folder / "base")
    rows = ({"id": f"r{i:02d}", "prompt": f"add {i}", "response": f"it is {i + i % 7}."} for i in range(60))
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def fresh(tmp_path):
    """Folders that have no finished run beside them to take steps from."""
    made = []

    def fresh():
        made.append(tmp_path / str(len(made)))
        made[-1].mkdir()
        return made[-1] / "run"

    return fresh


def cleaning(world, *more):
    return ["tokens", world / "pool.jsonl", "--base", world / "base", *TRAINING, "--check-rows", 4, *more]


def contents(folder, names):
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def cleaned(world, command, tmp_path_factory):
    """A run with warm-up that nothing disturbed; how long it took."""
    out = tmp_path_factory.mktemp("cleaned") / "run"
    duration = command.run(*cleaning(world, "--warmup", 24), "--out", out)
    return out, duration


@pytest.fixture(scope="module")
def trained(cleaned, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    duration = command.run("train", cleaned[0], *TRAINING, "--out", out)
    return out, duration


def nothing_is_left_over(folder):
    assert not list(folder.rglob(".tmp-*"))
    assert not list(folder.glob("steps/*/training/*"))


def test_a_user_gets_the_same_bytes(world, cleaned, tamis, tmp_path):
    done = tamis(*cleaning(world, "--warmup", 24), "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "run", RESULTS) == contents(cleaned[0], RESULTS)
    assert "36 records, " in done.stdout
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    masks = pl.read_parquet(tmp_path / "run" / "tokens.parquet")
    assert masks["keep"].list.sum().sum() == int(0.6 * masks["response"].list.sum().sum())


@pytest.mark.parametrize("number", range(2))
def test_a_killed_cleaning_resumes_to_the_same_bytes(number, world, cleaned, command, fresh):
    expected, duration = cleaned
    draw, arguments = np.random.default_rng(number), cleaning(world, "--warmup", 24)
    out = command.run_until_killed(arguments, fresh, duration * (number + draw.random()) / 2)
    command.start(*arguments, "--out", out)
    time.sleep(duration * draw.uniform(0.1, 0.6))
    command.kill()  # and again while it goes on
    command.run(*arguments, "--out", out)
    assert contents(out, RESULTS) == contents(expected, RESULTS)
    nothing_is_left_over(out)


def test_a_training_that_was_killed_between_checkpoints_goes_on(world, cleaned, command, fresh):
    """Killed as soon as the first checkpoint lies there, then when the last one does."""
    arguments, out = cleaning(world, "--warmup", 24), fresh()
    for least in (10, 30):
        command.start(*arguments, "--out", out)
        deadline = time.monotonic() + 60
        while max((int(p.name.split("-")[1]) for p in out.glob("steps/*/training/checkpoint-*")), default=0) < least:
            assert time.monotonic() < deadline, command.log.read_text()
            time.sleep(0.002)
        assert command.kill() == -signal.SIGKILL
    command.run(*arguments, "--out", out)
    assert contents(out, RESULTS) == contents(cleaned[0], RESULTS)
    step = next(out.glob("steps/*-warm-up"))
    learned = "learned.safetensors"
    assert (step / learned).read_bytes() == next(cleaned[0].glob(f"steps/*-warm-up/{learned}")).read_bytes()
    nothing_is_left_over(out)


@pytest.mark.parametrize("number", range(2))
def test_a_killed_fine_tuning_resumes_to_the_same_model(number, cleaned, trained, command, fresh):
    expected, duration = trained
    draw, arguments = np.random.default_rng(10 + number), ["train", cleaned[0], *TRAINING]
    out = command.run_until_killed(arguments, fresh, duration * (number + draw.random()) / 2)
    command.start("resume", out) if (out / "recipe.yaml").exists() else command.start(*arguments, "--out", out)
    time.sleep(duration * draw.uniform(0.1, 0.6))
    command.kill()
    command.run(*arguments, "--out", out)
    assert contents(out, TRAINED) == contents(expected, TRAINED)
    nothing_is_left_over(out)


def test_a_model_that_was_being_saved_is_whole_or_absent(cleaned, trained, command, fresh):
    """Killed when the temporary folder of the model appears."""
    arguments, out = ["train", cleaned[0], *TRAINING], fresh()
    command.start(*arguments, "--out", out)
    deadline = time.monotonic() + 60
    while not list(out.glob(".tmp-*-model")) and not (out / "model").exists():
        assert time.monotonic() < deadline, command.log.read_text()
    command.kill()
    if (out / "model").exists():
        assert contents(out, TRAINED[1:]) == contents(trained[0], TRAINED[1:])
    command.run("resume", out)
    assert contents(out, TRAINED) == contents(trained[0], TRAINED)
    nothing_is_left_over(out)


def test_a_killed_self_evolving_run_resumes_to_the_same_bytes(world, command, fresh):
    arguments, expected = cleaning(world, "--mode", "self-evolving", "--slices", 3), fresh()
    duration = command.run(*arguments, "--out", expected)
    draw = np.random.default_rng(5)
    out = command.run_until_killed(arguments, fresh, duration * draw.uniform(0.3, 0.8))
    command.start("resume", out) if (out / "recipe.yaml").exists() else command.start(*arguments, "--out", out)
    time.sleep(duration * draw.uniform(0.1, 0.5))
    command.kill()  # and again while it goes on
    command.run(*arguments, "--out", out)
    assert contents(out, RESULTS) == contents(expected, RESULTS)
    learned = [p.read_bytes() for p in sorted(out.glob("steps/*-train-*/learned.safetensors"))]
    assert learned == [p.read_bytes() for p in sorted(expected.glob("steps/*-train-*/learned.safetensors"))]
    assert len(learned) == 3
    nothing_is_left_over(out)
