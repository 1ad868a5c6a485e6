"""The constructor that the baselines share."""

from __future__ import annotations

from typing import ClassVar

from tamis.forget.forgetter import Forgetter


class Baseline(Forgetter):
    """A way to forget whose only parameters are those of the training.

    Parameters
    ----------
    learning_rate : float, optional
        Default: that of the class.
    epochs : float, optional
        Default: that of the class.
    batch_rows : int, default=64
    momentum : float, default=0.9
    weight_decay : float, default=5e-4
    clip : float, optional, default=5
        Largest norm of a step's gradient.
    seed : int, default=0
    """

    usual_rate: ClassVar[float] = 0.01
    usual_epochs: ClassVar[float] = 10

    def __init__(
        self,
        *,
        learning_rate: float | None = None,
        epochs: float | None = None,
        batch_rows: int = 64,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        clip: float | None = 5.0,
        seed: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_rows = batch_rows
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.clip = clip
        self.seed = seed

    def rate(self, kind: str) -> float:
        """The class's own, whatever is to be forgotten."""
        return self.usual_rate

    def passes(self, kind: str, n_retain: int, n_forget: int) -> float:
        """The class's own, whatever is to be forgotten."""
        return self.usual_epochs
