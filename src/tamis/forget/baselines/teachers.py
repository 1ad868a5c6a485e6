"""Baselines with teachers: SCRUB and the bad teacher."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np

from tamis.errors import RecipeError
from tamis.forget.baselines.baseline import Baseline
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.pairing import cycled
from tamis.forget.soft_and_hard import SoftAndHard
from tamis.runs.digests import derive_seed
from tamis.train.labelled import logits_of
from tamis.train.seeded import seeded


class Scrub(Baseline):
    """Away from the old model on what goes, close to it on what stays, in turn (SCRUB; arXiv 2302.09880).

    Each of the first epochs passes over the forgotten examples, following the gradient away from the old predictions,
    and then over the retained ones; the last epochs repair on the retained ones alone. Where the two meet one batch
    holds some of both.
    """

    usual_epochs: ClassVar[float] = 5
    away_epochs: ClassVar[int] = 2
    hard: ClassVar[float] = 0.99
    soft: ClassVar[float] = 0.001

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> SoftAndHard:
        """Epochs of the two kinds, one after the other."""
        positions, away = [], []
        for epoch in range(max(1, round(self.epochs_for(*sets.sizes)))):
            parts = [(sets.forget, True)] * (epoch < self.away_epochs) + [(sets.retain, False)]
            for part, leave in parts:
                positions.append(part[cycled(len(part), len(part), rng)])
                away.append(np.full(len(part), leave))
        leaving = np.concatenate(away)
        return SoftAndHard(
            sets.examples,
            np.concatenate(positions),
            hard=np.where(leaving, 0.0, self.hard),
            soft=np.where(leaving, -1.0, self.soft),
            teacher=log_probabilities(network, sets),
        )


class BadTeacher(Baseline):
    """Follow an untrained network on what goes, the old model on what stays (Chundawat et al., arXiv 2205.08096)."""

    usual_epochs: ClassVar[float] = 3

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> SoftAndHard:
        """Divergence from the teacher of each example."""
        import torch

        teacher = log_probabilities(network, sets)
        at = torch.as_tensor(sets.forget)
        teacher[at] = log_probabilities(untrained(network, self.seed), sets)[at]
        used = np.concatenate([sets.retain, sets.forget])
        positions = used[cycled(len(used), max(1, round(self.epochs_for(*sets.sizes) * len(used))), rng)]
        n = len(positions)
        return SoftAndHard(sets.examples, positions, hard=np.zeros(n), soft=np.ones(n), teacher=teacher)


def log_probabilities(network: Any, sets: ForgetSets) -> Any:
    """Log-softmax of a network on all examples, a Tensor of shape (N, K)."""
    import torch

    return torch.as_tensor(logits_of(network, sets.examples)).log_softmax(1)


def untrained(network: Any, seed: int) -> Any:
    """A copy of a network with weights as they are before any training.

    Raises
    ------
    RecipeError
        If a module has weights and no ``reset_parameters``.
    """
    device = next(network.parameters()).device
    with seeded(derive_seed(seed, "untrained"), device):
        if hasattr(network, "save_pretrained"):  # transformers draws weights as its configuration says
            return type(network)(network.config).to(device)
        twin = copy.deepcopy(network)
        for name, module in twin.named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif list(module.parameters(recurse=False)):
                raise RecipeError(
                    f"The module {name!r} of {type(network).__name__} cannot be made untrained: it has weights and no "
                    "reset_parameters(); give it one."
                )
    return twin
