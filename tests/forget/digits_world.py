"""Digits of scikit-learn: 1,300 to learn from, 497 to test with, and a perceptron of 64-128-64-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tamis.evidence.forgetting import Predictions, forgetting_metrics
from tamis.forget.forget_sets import class_positions, random_positions
from tamis.models.small_networks import mlp
from tamis.toy import digits as toy
from tamis.train import TrainSettings, train
from tamis.train.labelled import CrossEntropy, LabelledExamples, logits_of

LEARNED, FORGOTTEN_CLASS = toy.LEARNED, 3
RECIPE = TrainSettings(**{**toy.RECIPE, "micro_tokens": 64, "tune": "full"})


@dataclass(frozen=True)
class DigitsWorld:
    """Digits of one seed."""

    examples: LabelledExamples
    test: LabelledExamples
    forget: Any
    kind: str

    @property
    def retain(self):
        return np.setdiff1d(np.arange(len(self.examples)), self.forget)

    def metrics(self, network):
        """UA, RA, TA, MIA and AUC of a network."""
        parts = (self.examples.take(self.forget), self.examples.take(self.retain), self.test)
        found = [Predictions.of(logits_of(network, each), each.labels.numpy()) for each in parts]
        return forgetting_metrics(*found, forgotten_classes=[FORGOTTEN_CLASS] if self.kind == "class" else [])


def digits_world(seed, kind):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(y))
    learned, rest = order[:LEARNED], order[LEARNED:]
    if kind == "class":
        forget = class_positions(y[learned], FORGOTTEN_CLASS)
    else:
        forget = random_positions(LEARNED, 0.1, np.random.default_rng(100 + seed))
    return DigitsWorld(LabelledExamples.of(x[learned], y[learned]), LabelledExamples.of(x[rest], y[rest]), forget, kind)


def perceptron(seed):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp(toy.SIZES)


def trained(examples, *, seed, epochs=60):
    network = perceptron(seed)
    train(network, CrossEntropy(examples), TrainSettings(**{**RECIPE.to_json(), "seed": seed, "epochs": epochs}))
    return network
