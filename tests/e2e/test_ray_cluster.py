"""A real cluster of two Ray nodes on this machine: four processes started here, and no others, are ended."""

import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="Ray is not installed")

from tamis.engine.inline import InlineEngine

SCRIPT = """
import json, pathlib, sys, time
from tamis.engine.ray import RayEngine

def task(x):
    import ray
    node = ray.get_runtime_context().get_node_id()
    (met / node).touch()
    deadline = time.monotonic() + 60
    while len(list(met.iterdir())) < 2 and time.monotonic() < deadline:  # a loaded machine starts one worker long
        time.sleep(0.05)                                                 # before the other
    time.sleep(0.15)
    return x * x, node

address, count, met = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
for position, (value, node) in RayEngine(address=address).map(task, list(range(count))):
    print(json.dumps([position, value, node]), flush=True)
"""

# a lost machine is noticed after about 2 s instead of 30
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def member_environment(folder):
    """Environment of all who belong to the cluster: Ray lets in only those who know its token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{folder}/token", "OMP_NUM_THREADS": "1"}


class Node:
    """One ``ray start --block`` and all that it started."""

    def __init__(self, *options, folder, number):
        ray = Path(sys.executable).parent / "ray"
        environment = {**member_environment(folder), **QUICK, "RAY_TMPDIR": folder}
        self.log = Path(folder) / f"node-{number}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(ray), "start", *options, "--num-cpus", "1", "--disable-usage-stats", "--block"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.family = {}

    def wait_until_up(self):
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in self.log.read_text(errors="replace"):
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.1)
        self.note()

    def note(self):
        """Remember the processes of this node; one whose parent dies can no longer be found from here."""
        if self.process.poll() is None:
            parent = psutil.Process(self.process.pid)
            for process in [parent, *parent.children(recursive=True)]:
                self.family[process.pid] = process

    def kill(self):
        self.note()
        for process in self.family.values():
            if process.is_running():  # the same process, not another under its number
                process.kill()
        self.process.wait(timeout=20)
        _, alive = psutil.wait_procs(self.family.values(), timeout=20)
        assert not alive


@pytest.fixture
def cluster():
    # sockets lie below the folder, and their paths may have 107 characters at most
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    (Path(folder) / "token").write_text(secrets.token_hex(32))
    nodes = []
    try:
        head = ("--head", "--port", str(port), "--node-ip-address", "127.0.0.1", "--include-dashboard", "false")
        nodes.append(Node(*head, "--temp-dir", folder, folder=folder, number=0))
        nodes[0].wait_until_up()
        nodes.append(Node("--address", address, "--node-ip-address", "127.0.0.1", folder=folder, number=1))
        nodes[1].wait_until_up()
        yield address, nodes, folder
    finally:
        for node in reversed(nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mapping(cluster, tmp_path):
    """Start the script in a process of its own; it is ended with the test."""
    script = tmp_path / "mapping.py"
    script.write_text(SCRIPT)
    met = tmp_path / "met"
    met.mkdir()
    started = []

    def start(count):
        environment = member_environment(cluster[2])
        with (tmp_path / "errors.txt").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, str(script), cluster[0], str(count), str(met)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait(timeout=20)


def squares(count):
    return dict(InlineEngine().map(lambda x: x * x, list(range(count))))


@pytest.mark.e2e
def test_both_nodes_work_and_the_results_are_those_of_one_process(cluster, mapping, tmp_path):
    process = mapping(20)
    rows = [json.loads(line) for line in process.stdout]
    assert process.wait(timeout=60) == 0, (tmp_path / "errors.txt").read_text()
    assert len(rows) == 20
    assert {position: value for position, value, _ in rows} == squares(20)
    assert len(Counter(node for _, _, node in rows)) == 2
    # the engine has left, the cluster has not
    assert all(node.process.poll() is None for node in cluster[1])


@pytest.mark.e2e
def test_a_node_that_is_lost_half_way_costs_no_shard(cluster, mapping, tmp_path):
    process = mapping(40)
    rows, used, killed = [], Counter(), False
    for line in process.stdout:
        rows.append(json.loads(line))
        used[rows[-1][2]] += 1
        if not killed and len(used) == 2 and len(rows) >= 10:
            cluster[1][1].kill()
            killed = True
    assert process.wait(timeout=120) == 0, (tmp_path / "errors.txt").read_text()
    assert killed
    assert len(rows) == 40
    assert {position: value for position, value, _ in rows} == squares(40)
    # the node that is left did most of the work
    assert max(used.values()) > min(used.values())


RATED_ROWS = 256
SHARED = ("signal.parquet", "replies.parquet")


@pytest.fixture
def rating(cluster, tmp_path):
    """Start a rating by a local model on an engine; every folder has a cache of its own."""
    environment = member_environment(cluster[2])
    builder = Path(__file__).with_name("tiny_llama.py")
    subprocess.run([sys.executable, str(builder), str(tmp_path / "llama")], check=True, env=environment)
    rows = [{"id": f"r{i}", "prompt": f"question {i}", "response": "word " * (i % 7)} for i in range(RATED_ROWS)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "tamis", "rate", str(tmp_path / "pool.jsonl"), "--embedder", "none"]
    command += ["--rater", f"hf:{tmp_path / 'llama'}"]

    def start(folder, *engine):
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / folder / "run"), *engine],
            env={**environment, "TAMIS_CACHE": str(tmp_path / folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finished(process):
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return said


def kill_once_replies_are_there(process, cache):
    """Kill -9 between the first shard and the last; return the replies that were kept."""
    while process.poll() is None:
        if kept := replies_in(cache):
            process.kill()
            break
        time.sleep(0.01)
    process.communicate()
    assert kept < RATED_ROWS, "the run had ended before it could be killed"
    return replies_in(cache)


def replies_in(cache):
    try:
        with closing(sqlite3.connect(f"file:{cache / 'replies.sqlite'}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM replies").fetchone()[0]
    except sqlite3.Error:  # not there yet
        return 0


@pytest.mark.e2e
def test_a_rating_goes_on_where_another_engine_was_killed(cluster, rating, tmp_path):
    ray = ("--engine", "ray", "--address", cluster[0])
    finished(rating("straight"))
    for folder, first, then in (("from-here", (), ray), ("from-there", ray, ())):
        kept = kill_once_replies_are_there(rating(folder, *first), tmp_path / folder / "cache")
        summary = json.loads(finished(rating(folder, *then, "--json")))
        assert 0 < kept < RATED_ROWS
        assert summary["raters"]["llama"]["status"] == {"ok": RATED_ROWS}
        for name in SHARED:
            straight = (tmp_path / "straight" / "run" / name).read_bytes()
            assert (tmp_path / folder / "run" / name).read_bytes() == straight
