import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TAMIS = [sys.executable, "-m", "tamis"]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture
def environment(tmp_path):
    """The caller's environment with a cache of its own: nothing is taken over from other runs."""
    return {**os.environ, "TAMIS_CACHE": str(tmp_path / "cache"), "PYTHONHASHSEED": "random"}


@pytest.fixture
def tamis(environment):
    """Run the command line as a user does; returns the finished process."""

    def run(*arguments):
        command = [*TAMIS, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)

    return run


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Give 9,000 rows with ratings, and vectors whose clusters follow the true score: three shards of neighbours."""
    folder = tmp_path_factory.mktemp("pool")
    rng = np.random.default_rng(0)
    quality = rng.integers(0, 6, 9000)
    centres = rng.normal(size=(60, 16))
    vectors = centres[rng.integers(0, 10, 9000) * 6 + quality] + 0.3 * rng.normal(size=(9000, 16))
    ratings = np.clip(quality + (rng.random(9000) < 0.2) * rng.integers(-1, 2, 9000), 0, 5)
    np.save(folder / "vectors.npy", vectors.astype(np.float32))
    with (folder / "pool.jsonl").open("w") as stream:
        for i, rating in enumerate(ratings.tolist()):
            stream.write(json.dumps({"prompt": f"question {i}", "response": f"answer {i}", "rating": rating}) + "\n")
    return folder


@pytest.fixture(scope="session")
def dolly_slice(tmp_path_factory):
    """Give the first 300 shipped records."""
    path = tmp_path_factory.mktemp("dolly") / "dolly.jsonl"
    lines = (ROOT / "examples" / "dolly.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:300]), encoding="utf-8")
    return path


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """Give this process a cache of its own."""
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def address():
    """Address of a llama.cpp server with SmolLM2 that lives as long as the tests of a file."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("llama_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), "the server did not start"
        yield url
        process.stdin.close()


@pytest.fixture
def opens_in_a_browser(tmp_path):
    """Check that headless Chromium draws a report and complains about nothing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on PATH: install it to check the report in a browser")

    def opens_in_a_browser(report, *, dark):
        picture = tmp_path / "report.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
                 "--hide-scrollbars", "--window-size=1200,2400", f"--user-data-dir={tmp_path / 'profile'}",
                 f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--enable-logging=stderr"]  # fmt: skip
        opened = subprocess.run(
            [browser, *flags, f"--screenshot={picture}", report.as_uri()], capture_output=True, text=True, timeout=120
        )
        console = [line for line in opened.stderr.splitlines() if "CONSOLE" in line]
        assert not console, console
        assert picture.stat().st_size > 50_000, "the picture is as good as blank"

    return opens_in_a_browser
