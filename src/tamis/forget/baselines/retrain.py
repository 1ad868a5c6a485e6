"""Training anew without what is to be forgotten: the measure of all ways to forget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from tamis.forget.baselines.teachers import untrained
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetter import Forgetter, with_stops
from tamis.train.labelled import CrossEntropy
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

    def __init__(self, *, training: TrainSettings, fresh: Callable[[int], Any] | None = None, seed: int = 0) -> None:
        self.training = training
        self.fresh = fresh
        self.seed = seed

    def start(self, network: Any, sets: ForgetSets) -> Any:
        """An untrained network."""
        made = untrained(network, self.seed) if self.fresh is None else self.fresh(self.seed)
        return made.requires_grad_(True)

    def validate(self) -> None:
        """Check the settings of the training.

        Raises
        ------
        RecipeError
            If one is wrong.
        """
        self.training.validate()

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> CrossEntropy:
        """Cross-entropy of the retained examples."""
        return CrossEntropy(sets.examples.take(sets.retain))

    def settings(self, sets: ForgetSets, n: int, *, stops: bool) -> TrainSettings:
        """Those of the original training."""
        return with_stops(replace(self.training, seed=self.seed), n)

    def rate(self, kind: str) -> float:
        """That of the original training."""
        return self.training.learning_rate

    def passes(self, kind: str, n_retain: int, n_forget: int) -> float:
        """Those of the original training."""
        return self.training.epochs
