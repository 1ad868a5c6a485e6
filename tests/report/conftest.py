"""Runs with known content, made by the real job on tiny pools."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tamis.curate.job import curate
from tamis.engine import get_engine
from tamis.recipe import Recipe
from tamis.report import write_report
from tamis.runs import Run

CLOCK = count()
NASTY = "<script>alert('x')</script><img src=\"http://evil.example/x.png\">"


def tick() -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(CLOCK))).isoformat(timespec="seconds")


def write_pool(folder: Path, *, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three well separated quality classes 1-3; returns (true class, vectors)."""
    truth = 1 + np.arange(n) % 3
    place = truth * 4 + rng.integers(0, 4, n)
    vectors = rng.normal(size=(20, 16))[place] + 0.2 * rng.normal(size=(n, 16))
    with (folder / "pool.jsonl").open("w", encoding="utf-8") as stream:
        for i in range(n):
            record = {
                "id": f"r{i:04d}",
                "instruction": f"Question {i} {NASTY}",
                "output": f"Answer {i} & {NASTY}",
                "source": ["plain", "<b>bold</b>"][i % 2],
                "true": int(truth[i]),
            }
            stream.write(json.dumps(record) + "\n")
        stream.write("{broken\n")
    np.save(folder / "vectors.npy", vectors.astype(np.float32))
    return truth, vectors


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a finished run: ``make_run(raters=..., noise=..., missing=..., **params)`` gives its folder."""

    def make(
        *, raters: tuple[str, ...] = ("judge",), noise: float = 0.15, missing: int = 0, n: int = 240, **params: Any
    ) -> Path:
        rng = np.random.default_rng(7)
        folder = tmp_path_factory.mktemp("world")
        truth, _ = write_pool(folder, n=n, rng=rng)
        rows = []
        for name in raters:
            wrong = rng.random(n) < noise
            values = np.where(wrong, rng.integers(1, 4, n), truth)
            for i in range(n):
                status = ("refused", "unparsed", "missing")[i % 3] if i < missing else "ok"
                value = float(values[i]) if status == "ok" else None
                rows.append({"unit_id": f"r{i:04d}", "rater": name, "value": value, "status": status})
        ratings = pl.DataFrame(rows, schema_overrides={"value": pl.Float64}).with_columns(criterion=pl.lit("overall"))
        ratings.write_parquet(folder / "ratings.parquet")
        recipe = Recipe(
            method="ds2",
            inputs={role: str(folder / file) for role, file in INPUTS.items()},
            params={"budget": 30, "scale": "1-3", "n_bootstrap": 10, "id_column": "id", "group": "source", **params},
        )
        run = Run.start(folder / "run", recipe, command="tamis curate 'pool.jsonl' --budget 30 # <go>", clock=tick)
        curate(run, engine=get_engine("inline"))
        return folder / "run"

    return make


INPUTS = {"pool": "pool.jsonl", "ratings": "ratings.parquet", "embeddings": "vectors.npy"}


@pytest.fixture(scope="session")
def usable_run(make_run: Callable[..., Path]) -> Path:
    """One good rater, four records without a rating, known truth."""
    return make_run(missing=4, truth="true")


@pytest.fixture(scope="session")
def usable_page(usable_run: Path) -> str:
    return write_report(usable_run).read_text(encoding="utf-8")
