"""Two processes train what one trains."""

import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("one_of_several.py")


def test_two_processes_train_what_one_trains(tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    for folder in (together, alone):
        folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(together)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in started:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
    finally:
        for process in started:
            process.kill()
    runpy.run_path(str(SCRIPT))["main"](alone, "0")

    first, second = (json.loads((together / f"{rank}.json").read_text()) for rank in range(2))
    expected = json.loads((alone / "0.json").read_text())
    assert first["weights"] == second["weights"]
    assert first["weights"] == pytest.approx(expected["weights"], abs=1e-6)
    assert first["losses"] == pytest.approx(expected["losses"], rel=1e-6)
    assert first["weight"] == expected["weight"] == 13
    assert first["held_out"] == second["held_out"] == expected["held_out"] == [[i, float(i)] for i in range(4)]
    steps = [json.loads(line)["step"] for line in (together / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3], "one process writes"
