"""The public crowd sets, planted as in section 7b of the specification, and a large simulated crowd."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tables import SHARED_DATA

from tamis.data import AnswerCodes, Answers, read_answers
from tamis.people.crowd_scores import Condition
from tamis.people.planting import Planted, plant, simulated_llm

CROWD = SHARED_DATA / "crowd"
SETS = ("rte", "bluebird", "d_sentiment", "SP", "d_jn-product")


@dataclass(frozen=True)
class CrowdSet:
    """One public set: its answers, and the truth of each task (-1 where unknown)."""

    name: str
    answers: Answers
    truth: NDArray[np.int32]

    @property
    def codes(self) -> AnswerCodes:
        """The answers as codes."""
        return self.answers.codes


def load(name: str) -> CrowdSet:
    """Read a set."""
    answers = read_answers(CROWD / name / "label.csv")
    truth = pl.read_csv(CROWD / name / "truth.csv", infer_schema=False)
    codes = {label: i for i, label in enumerate(answers.classes)}
    known = {task: codes[label] for task, label in truth.select("item", "truth").iter_rows()}
    return CrowdSet(name, answers, np.array([known.get(task, -1) for task in answers.tasks], dtype=np.int32))


@dataclass(frozen=True)
class Draw:
    """A planted crowd: condition on ``condition.z``, whose further sample makes the virtual workers."""

    planted: Planted
    condition: Condition


def draw(data: CrowdSet, p_llm: float, seed: int, others: float | None = None) -> Draw:
    """Simulate an LLM and plant workers: random and biased shares drawn from U[0, .2], or both ``others``."""
    rng = np.random.default_rng([seed, round(100 * p_llm), SETS.index(data.name)])  # rows of a table share no draw
    samples = simulated_llm(data.truth, data.codes.n_classes, samples=4, rng=rng)
    p_random, p_biased = rng.uniform(0, 0.2, 2) if others is None else (others, others)
    planted = plant(data.codes, samples[2:], p_llm=p_llm, p_random=p_random, p_biased=p_biased, rng=rng)
    return Draw(planted, Condition("simulated", samples[0], samples[1:2]))


def large(folder: Path, *, workers: int, per_worker: int, tasks: int, classes: int, seed: int = 0) -> None:
    """Write ``answers.csv`` and ``llm.csv`` of a large crowd; a tenth of the workers paste."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, tasks)
    task = np.concatenate([rng.choice(tasks, per_worker, replace=False) for _ in range(workers)])
    worker = np.repeat(np.arange(workers), per_worker)

    def noisy(labels: NDArray[np.int64], accuracy: float) -> NDArray[np.int64]:
        return np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, classes, len(labels)))

    label = noisy(truth[task], 0.7)
    bases = [noisy(truth, 0.7) for _ in range(2)]
    pastes = (rng.random(workers) < 0.1)[worker]
    label[pastes] = noisy(bases[0][task[pastes]], 0.9)
    order = rng.permutation(len(task))
    named = [pl.format("t{}", "task").alias("task"), pl.format("w{}", "worker").alias("worker"), "label"]
    pl.DataFrame({"task": task[order], "worker": worker[order], "label": label[order]}).select(named).write_csv(
        folder / "answers.csv"
    )
    labels = [
        pl.DataFrame({"task": np.arange(tasks), "model": model, "sample": sample, "label": noisy(base, 0.9)})
        for model, base in zip("ab", bases, strict=True)
        for sample in range(2)
    ]
    pl.concat(labels).with_columns(pl.format("t{}", "task").alias("task")).write_csv(folder / "llm.csv")
