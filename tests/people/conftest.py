"""Small crowds with known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tamis.data import AnswerCodes


@pytest.fixture
def crowd() -> Callable[..., tuple[AnswerCodes, np.ndarray]]:
    """Make a crowd: ``crowd(workers=..., tasks=..., classes=..., accuracy=..., density=...)`` gives codes and truth."""

    def make(
        *,
        workers: int = 20,
        tasks: int = 120,
        classes: int = 3,
        accuracy: float = 0.7,
        density: float = 0.4,
        seed: int = 0,
    ) -> tuple[AnswerCodes, np.ndarray]:
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, classes, tasks)
        worker, task = np.nonzero(rng.random((workers, tasks)) < density)
        right = rng.random(len(task)) < accuracy
        label = np.where(right, truth[task], rng.integers(0, classes, len(task)))
        codes = AnswerCodes.of(task, worker, label, n_tasks=tasks, n_workers=workers, n_classes=classes)
        return codes, truth

    return make


@pytest.fixture
def noisy() -> Callable[..., np.ndarray]:
    """Labels that equal the truth with a probability: ``noisy(truth, accuracy, classes, seed)``."""

    def make(truth: np.ndarray, accuracy: float = 0.7, classes: int = 3, seed: int = 9) -> np.ndarray:
        rng = np.random.default_rng(seed)
        wrong = (truth + rng.integers(1, classes, len(truth))) % classes
        return np.where(rng.random(len(truth)) < accuracy, truth, wrong).astype(np.int32)

    return make
