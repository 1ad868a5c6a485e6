import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tamis.engine.inline import InlineEngine
from tamis.engine.ray import RayEngine
from tamis.errors import BackendError, DataError, IncompleteError, MissingExtraError, RecipeError

ray = pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture(autouse=True)
def tasks_by_value():
    """Workers do not find this file by its name."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class OddError(Exception):
    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")


@dataclass(frozen=True)
class Task:
    """Squares, except what stands in the other fields."""

    folder: str = ""
    deadly_once: tuple = ()
    deadly: tuple = ()
    wrong: tuple = ()

    def __call__(self, x):
        if x in self.deadly:
            os._exit(9)
        if x in self.deadly_once:
            marker = Path(self.folder) / f"died-{x}"
            if not marker.exists():
                marker.touch()
                os._exit(9)
        if x in self.wrong:
            raise DataError(f"shard {x}")
        return x * x


def odd(x):
    raise OddError(1, x)


def meet(folder):
    """Wait until two processes are here."""
    (Path(folder) / f"here-{os.getpid()}").touch()
    deadline = time.monotonic() + 30
    while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def test_results_are_those_of_the_inline_engine_and_ray_is_gone_afterwards():
    shards = list(range(11))
    assert dict(RayEngine(workers=2).map(Task(), shards)) == dict(InlineEngine().map(Task(), shards))
    assert not ray.is_initialized()
    assert list(RayEngine().map(Task(), [])) == []


@pytest.fixture(scope="module")
def session():
    """One Ray for the tests below, which then show that a session of the caller's is used and left alone."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("session")
def test_the_error_of_a_task_reaches_the_caller_as_it_was_raised():
    with pytest.raises(DataError, match=r"^shard 3$") as caught:
        list(RayEngine(workers=2).map(Task(wrong=(3,)), list(range(6))))
    assert type(caught.value) is DataError
    with pytest.raises(RuntimeError, match="OddError: 1 and 4"):  # it cannot be rebuilt from its message
        list(RayEngine(workers=1).map(odd, [4]))
    assert ray.is_initialized()


@pytest.mark.usefixtures("session")
def test_the_shards_of_a_dead_worker_are_done_by_another(tmp_path):
    shards = list(range(9))
    found = list(RayEngine(workers=2).map(Task(folder=str(tmp_path), deadly_once=(0, 4, 8)), shards))
    assert dict(found) == {i: i * i for i in shards}
    assert len(found) == len(shards)
    assert {path.name for path in tmp_path.iterdir()} == {"died-0", "died-4", "died-8"}


@pytest.mark.usefixtures("session")
def test_a_shard_that_kills_its_workers_ends_the_map_and_the_others_are_kept():
    kept = {}
    with pytest.raises(IncompleteError, match=r"Shard 6 of 6 lost its worker 3 times.*tamis resume"):
        kept.update(RayEngine(workers=1).map(Task(deadly=(5,)), list(range(6))))
    assert kept == {i: i * i for i in range(5)}


@pytest.mark.usefixtures("session")
def test_each_worker_is_one_process_with_its_share_of_the_cores(tmp_path):
    found = [result for _, result in RayEngine(workers=2).map(meet, [str(tmp_path)] * 8)]
    assert len({pid for pid, _ in found}) == 2
    assert {threads for _, threads in found} == {str(max(1, (os.cpu_count() or 1) // 2))}


@pytest.mark.usefixtures("session")
def test_a_caller_that_stops_early_leaves_no_worker(tmp_path):
    results = RayEngine(workers=2).map(meet, [str(tmp_path)] * 8)
    _, (pid, _) = next(results)
    results.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_without_a_cluster(scheme):
    ray.shutdown()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(BackendError, match=f"No Ray cluster answers at '{scheme}127.0.0.1:{port}'"):
        list(RayEngine(address=f"{scheme}127.0.0.1:{port}").map(abs, [1]))
    assert time.monotonic() - begun < 15


def test_bad_choices(monkeypatch):
    with pytest.raises(RecipeError, match="'workers' parameter of RayEngine must be an int in"):
        RayEngine(workers=0)
    with pytest.raises(BackendError, match="write auto, HOST:PORT or"):
        list(RayEngine(address="host:port").map(abs, [1]))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tamis\[ray\]'"):
        list(RayEngine().map(abs, [1]))
