"""``tamis forget`` on real digits: killed and resumed to the same bytes, its certificate, and its report."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tamis.toy.digits import digits_world

pytestmark = pytest.mark.e2e
RESULTS = ("model/model.safetensors", "model/classifier.json", "selection.parquet", "certificate/predictions.parquet",
           "certificate/request.json")  # fmt: skip


def results(folder):
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Forget a tenth of the digits, with some checkpoints on the way, and train a network anew without them."""
    world = digits_world(tmp_path_factory.mktemp("digits"), seed=0)
    given = [world["model"], "--data", world["data"], "--test", world["test"], "--held-out", world["held_out"]]
    more = ["--share", 0.1, "--seed", 2, "--epochs", 10, "--retrain", "--retrain-epochs", 4]
    return list(map(str, ["forget", *given, *more]))


@pytest.fixture(scope="module")
def straight(arguments, tmp_path_factory):
    out = tmp_path_factory.mktemp("straight") / "run"
    command = [sys.executable, "-m", "tamis", *arguments, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return out


def test_killed_in_the_middle_of_an_edit_it_resumes_to_the_same_bytes(
    straight, arguments, environment, tamis, tmp_path
):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "tamis", *arguments, "--out", str(out)], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not list(out.glob("steps/*-edited-0/training/checkpoint-*")):
        assert process.poll() is None, "it ended before there was a checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not list(out.glob("steps/*-edited-0/_DONE/all")), "the kill came too late"
    finished = tamis("resume", out)
    assert finished.returncode == 0, finished.stderr
    assert results(out) == results(straight)
    assert not list(out.rglob(".tmp-*"))
    assert not list(out.glob("steps/*/training"))
    assert (out / "report.html").stat().st_size > 10_000


def test_the_certificate_names_files_of_which_a_byte_changed(straight, tamis, tmp_path):
    assert tamis("forget", "verify", straight).returncode == 0
    copy, changed = shutil.copytree(straight, tmp_path / "run"), (RESULTS[0], *RESULTS[3:])
    for name in changed:
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 3] ^= 1
        (copy / name).write_bytes(bytes(data))
    told = tamis("forget", "verify", copy)
    assert told.returncode == 2
    assert re.findall(r"^differs: (.*?): expected", told.stderr, re.MULTILINE) == list(changed)
    assert "3 of " in told.stderr
    assert "Traceback" not in told.stderr


def test_the_report_has_what_a_reader_needs(straight):
    page = (straight / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2 [^>]*>(.*?)</h2>", page) == [
        "What came in", "What we distrust", "What was done", "Did it help?", "What this run can and cannot say",
        "What it cost", "How to do it again",
    ]  # fmt: skip
    summary = json.loads((straight / "manifest.json").read_text())["summary"]
    assert f"{summary['gap']['average']:.2f}" in page
    assert "tamis forget verify" in page
    assert "share: 0.1" in page
    assert not re.findall(r"""(?:src|href)=["']https?:""", page), "it needs the network"


@pytest.mark.parametrize("dark", [False, True])
def test_the_report_opens_in_a_browser(straight, opens_in_a_browser, dark):
    opens_in_a_browser(straight / "report.html", dark=dark)
