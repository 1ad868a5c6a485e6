"""Training anew without what is to be forgotten: the measure of all ways to forget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from tamis.forget.baselines.teachers import untrained
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetter import Forgetter
from tamis.forget.soft_and_hard import SoftAndHard
from tamis.train.settings import TrainSettings


class Retrain(Forgetter):
    """Train an untrained network on what stays, as the original was trained.

    Parameters
    ----------
    training : TrainSettings
        Of the original training.
    fresh : callable, optional
        Makes an untrained network from a seed. Default: the network with all weights reset.
    seed : int, default=0
    """

    stops: ClassVar[bool] = False
    learning_rate = None
    epochs = 1

    def __init__(self, *, training: TrainSettings, fresh: Callable[[int], Any] | None = None, seed: int = 0) -> None:
        self.training = training
        self.fresh = fresh
        self.seed = seed

    def start(self, network: Any, sets: ForgetSets) -> Any:
        """An untrained network."""
        made = untrained(network, self.seed) if self.fresh is None else self.fresh(self.seed)
        return made.requires_grad_(True)

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> SoftAndHard:
        """Cross-entropy of the retained examples."""
        n = len(sets.retain)
        return SoftAndHard(sets.examples, sets.retain, hard=np.ones(n), soft=np.zeros(n))

    def settings(self, sets: ForgetSets, n: int, *, stops: bool) -> TrainSettings:
        """Those of the original training."""
        return replace(self.training, seed=self.seed, eval_every=max(1, self.training.n_steps(n) // 10))

    def rate(self, kind: str) -> float:
        """That of the original training."""
        return self.training.learning_rate
