"""``kill -9`` before each single change to the run directory, not only at random moments.

A child process counts, by an audit hook, the files it creates, renames, links and removes below the run directory, and
kills itself before the n-th. The same work begun again must then end as if nothing had happened, for every n.
"""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e

# One driver that never uses polars itself forks each child: threads do not survive a fork, and imports take a second.
DRIVER = """
import json, os, signal, sys, traceback
from pathlib import Path
import polars as pl
from tamis.engine import get_engine
from tamis.recipe import Recipe
from tamis.runs import Run, atomic_write_text

EXPECTED = "[[1], [4], [9], [16], [25]]"
folder, beside = Path(sys.argv[1]), sys.argv[2] == "beside"
listed = os.scandir

class Listing:
    '''A folder's entries with _DONE first: file systems list in any order, this one is the hardest.'''
    def __init__(self, path):
        with listed(path) as entries:
            self.entries = iter(sorted(entries, key=lambda e: e.name))
    __enter__ = __iter__ = lambda self: self
    __exit__ = lambda self, *ignored: None
    __next__ = lambda self: next(self.entries)
    close = lambda self: None

os.scandir = Listing

def square(shard):
    return pl.DataFrame({"x": [v * v for v in shard]})

def work(root, name):
    recipe = Recipe(method="ds2", inputs={"pool": str(root / "pool.jsonl")}, params={"budget": 1})
    with Run.start(root / name, recipe, command="") as run:
        first = run.step("first", n=3)
        if not first.complete:
            first.map(square, [[1], [2], [3]], engine=get_engine("inline"), sizes=[1, 1, 1])
        parts = [part["x"].to_list() for part in first.parts()]
        second = run.step("second", own=name)
        if not second.complete:
            second.map(square, [[4], [5]], engine=get_engine("inline"), sizes=[1, 1])
        parts += [part["x"].to_list() for part in second.parts()]
        atomic_write_text(run.folder / "result.txt", str(parts))
        run.finish("complete", {})

def killed_before(root, name, fatal):
    changes = 0
    def watch(event, arguments):
        nonlocal changes
        if event == "open":
            changing = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changing = event in ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
        if changing and any(str(a).startswith(str(root / name)) for a in arguments):
            changes += 1
            if changes == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    work(root, name)

def child(call, *arguments):
    '''Run in a forked process; return its exit status and its last words.'''
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            call(*arguments)
            os._exit(0)
        except BaseException:
            os.write(writer, traceback.format_exc().splitlines()[-1].encode())
            os._exit(1)
    os.close(writer)
    words = os.fdopen(reader).read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), words

def attempt(fatal):
    root = folder / f"at-{fatal}"
    root.mkdir()
    (root / "pool.jsonl").write_text("{}\\n")
    if beside and child(work, root, "beside")[0]:
        return "the run beside failed"
    status, words = child(killed_before, root, "run", fatal)
    if status == 0:
        return "not killed"
    if status != -signal.SIGKILL:
        return "the work failed by itself: " + words
    status, words = child(work, root, "run")
    if status:
        return words.replace(str(root), "")
    found = (root / "run" / "result.txt").read_text()
    return "" if found == EXPECTED else "wrong result " + found

outcomes = {}
for fatal in range(1, 1000):
    outcomes[fatal] = attempt(fatal)
    if outcomes[fatal] == "not killed":
        break
print(json.dumps(outcomes))
"""


def outcomes(folder, beside):
    """What came of a kill before each change in turn, by its number; the last one is past the end of the work."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), beside], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = {int(number): reason for number, reason in json.loads(done.stdout).items()}
    assert found.pop(max(found)) == "not killed"
    assert len(found) > 15
    return {number: reason for number, reason in found.items() if reason}


@pytest.mark.parametrize("beside", ["alone", "beside"])
def test_no_kill_costs_more_than_time(tmp_path, beside):
    """Alone, and with a run beside it whose finished step is taken over."""
    assert outcomes(tmp_path, beside) == {}
