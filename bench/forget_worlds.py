"""Real data for the forgetting benchmarks: MNIST with a small CNN, Adult with a perceptron, scikit-learn's digits."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tables import SHARED_DATA

from tamis.evidence.forgetting import Predictions, forgetting_metrics
from tamis.forget.forget_sets import class_positions, random_positions
from tamis.models.small_networks import cnn, mlp
from tamis.runs.digests import derive_seed
from tamis.toy.digits import LEARNED, RECIPE, SIZES, TESTED
from tamis.train.labelled import LabelledExamples, logits_of
from tamis.train.seeded import seeded
from tamis.train.settings import TrainSettings

ADULT = ("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship",
         "race", "sex", "capital_gain", "capital_loss", "hours", "country", "income")  # fmt: skip
ADULT_NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours")
ADULT_LABEL = "relationship"


@dataclass(frozen=True)
class DataSet:
    """One data set with the network and training that go with it.

    Attributes
    ----------
    name : str
    x, y : ndarray
    sizes : tuple of int
        Examples to learn from, to stop by, and to test with.
    make : callable
        Makes a network with random weights.
    training : TrainSettings
    gone : int
        Class of the class task.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    sizes: tuple[int, int, int]
    make: Callable[[], Any]
    training: TrainSettings
    gone: int

    def fresh(self, seed: int) -> Any:
        """A network with random weights of a seed."""
        import torch

        with seeded(derive_seed(seed, "weights"), torch.device("cpu")):
            return self.make()

    def training_for(self, task: str) -> TrainSettings:
        """Training of a task: where labels are odd and even, one of five CNNs learned nothing at the usual rate."""
        return replace(self.training, learning_rate=0.02) if task == "group" else self.training

    def split(self, seed: int, task: str) -> Split:
        """Examples of one seed, and what is to be forgotten.

        ``random N`` is N percent, ``class`` one class; ``group`` is that class too, but labels are odd and even, so
        that others of its label stay.
        """
        order = np.random.default_rng(derive_seed(seed, self.name)).permutation(len(self.y))
        ends = np.cumsum(self.sizes)
        learned, held, test = (order[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True))
        if task in ("class", "group"):
            forget = class_positions(self.y[learned], self.gone)
        else:
            share = float(task.split()[1]) / 100
            forget = random_positions(len(learned), share, np.random.default_rng(derive_seed(seed, task)))
        y = self.y % 2 if task == "group" else self.y
        parts = [LabelledExamples.of(self.x[at], y[at]) for at in (learned, held, test)]
        return Split(*parts, forget, [self.gone] if task == "class" else [])


@dataclass(frozen=True)
class Split:
    """Examples of one seed."""

    examples: LabelledExamples
    held_out: LabelledExamples
    test: LabelledExamples
    forget: NDArray[np.int64]
    gone: list[int]

    def metrics(self, network: Any) -> dict[str, float]:
        """UA, RA, TA, MIA and AUC."""
        retain = np.setdiff1d(np.arange(len(self.examples)), self.forget)
        parts = (self.examples.take(self.forget), self.examples.take(retain), self.test)
        said = [Predictions.of(logits_of(network, each), each.labels.numpy()) for each in parts]
        return forgetting_metrics(*said, forgotten_classes=self.gone)


def recipe(rate: float) -> TrainSettings:
    """SGD as the baselines' framework has it, with a cosine to 0; 60 epochs, where that has 182 on larger data."""
    return TrainSettings(**{**RECIPE, "learning_rate": rate, "micro_tokens": RECIPE["batch_rows"], "tune": "full"})


def digits() -> DataSet:
    """scikit-learn's digits: 1,300 to learn from, a perceptron of 64-128-64-10."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    sizes = (LEARNED, len(y) - LEARNED - TESTED, TESTED)
    return DataSet(
        "digits", (x / 16).astype(np.float32), y, sizes, lambda: mlp(SIZES), recipe(RECIPE["learning_rate"]), 3
    )


def mnist() -> DataSet:
    """MNIST's test digits: 5,000 to learn from, a CNN of 52,000 weights."""
    with np.load(SHARED_DATA / "mnist" / "mnist_t10k.npz") as stored:
        x, y = stored["x"], stored["y"].astype(np.int64)
    images = (x / 255).astype(np.float32)[:, None]
    return DataSet("MNIST", images, y, (5000, 1000, 2000), lambda: cnn([1, 28, 28], [8, 16], 64, 10),
                   recipe(0.05), 3)  # fmt: skip


def adult() -> DataSet:
    """Adult, relationship in the household from everything else: 6 classes, 8,000 to learn from, a perceptron."""
    with gzip.open(SHARED_DATA / "fairness_tabular" / "adult.data.gz") as stream:
        frame = pl.read_csv(stream.read(), has_header=False, new_columns=list(ADULT), infer_schema=False)
    frame = frame.drop_nulls().with_columns(pl.all().str.strip_chars()).cast(dict.fromkeys(ADULT_NUMBERS, pl.Float32))
    text = [name for name in ADULT if name not in (*ADULT_NUMBERS, ADULT_LABEL)]
    y = frame[ADULT_LABEL].cast(pl.Enum(sorted(frame[ADULT_LABEL].unique()))).to_physical().to_numpy().astype(np.int64)
    x = frame.drop(ADULT_LABEL).to_dummies(text).to_numpy().astype(np.float32)
    x = (x - x.mean(0)) / x.std(0)
    return DataSet("Adult", x, y, (8000, 2000, 2000), lambda: mlp([x.shape[1], 128, 64, 6]), recipe(0.02), 3)


DATA_SETS = {"digits": digits, "mnist": mnist, "adult": adult}
