"""``UGradSL``: gradient ascent on negatively smoothed labels, beside descent on what stays (arXiv 2406.07698)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tamis.errors import RecipeError, parameter_error
from tamis.forget.adaptive import DIRECTIONS
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetter import Forgetter
from tamis.forget.forgetting_pairs import ForgettingPairs
from tamis.forget.pairing import paired
from tamis.train.settings import SCHEDULES, TrainSettings


class Usual(NamedTuple):
    """Defaults of UGradSL or UGradSL+ for a kind of request; ``bench/bench_forget.py`` has what they do."""

    p: float
    learning_rate: float
    epochs: float
    repair: float


USUAL = {
    True: {"class": Usual(0.97, 0.015, 2, 2), "sample": Usual(0.9, 0.015, 2, 0)},
    False: {"class": Usual(0.97, 0.015, 10, 1), "sample": Usual(0.9, 0.02, 10, 0)},
}
"""By ``plus`` and kind of request."""
MIN_STEPS = 64
"""At least, by default: a few epochs of few examples change too little."""
MAX_PASSES = 20
"""At most over what goes, by default: a few examples are forgotten sooner, and more steps only cost accuracy."""
LOOK_PASSES = 4
"""Over what goes, between two evaluations at most; but no more than twice as many evaluations as usual."""
SAFE_DESCENT = 0.9
"""Weight of the descent below which runs diverged in our measurements."""


class UGradSL(Forgetter):
    """Make a classifier forget by ascent on negatively smoothed labels.

    Each step minimises ``mean of p * l(z_r) - (1 - p) * l(z_f, smoothed by alpha)`` over pairs of a retained and a
    forgotten example, by SGD.

    Parameters
    ----------
    plus : bool, default=True
        UGradSL+: an epoch passes over the retained examples, which takes ``|D_r| / |D_f|`` times as many steps as one
        of UGradSL, which passes over the forgotten ones. Which of them comes closer to a model trained anew depends on
        the task.
    alpha : float or {"paper", "deniability"}, default=-0.5
        Smoothing rate, below 0; or the self-adaptive rate, see :func:`~tamis.forget.adaptive.adaptive_rates`.
    p : float, optional
        Weight of the descent, in [0, 1]. Default: 0.9, where whole classes go 0.97.
    learning_rate : float, optional
        At first. Default: 0.015; without ``plus`` 0.02, unless whole classes go.
    epochs : float, optional
        At most, if there are held-out examples for the stop rule. Default: 2 with ``plus``, but no more than 20 passes
        over the forgotten; 10 without; and at least 64 steps.
    repair : float, optional
        Epochs over the retained examples that follow with descent alone, at the same rate falling to 0; no part of the
        published algorithm (compare Tarun et al., arXiv 2111.08947, who call it that). With held-out examples it is
        undone if it led away from the aim by more than 0.25 points. Default: where whole classes go 2, without ``plus``
        1, since it brings back accuracy that forgetting a class costs; else 0.
    batch_rows : int, default=64
        Pairs of a step.
    momentum : float, default=0.9
        The optimiser begins anew: its state from the original training is not used.
    weight_decay : float, default=5e-4
    clip : float, optional, default=5
        Largest norm of a step's gradient; None for the published algorithm.
    schedule : {"linear", "constant", "cosine"}, default="linear"
        Of the learning rate; the paper names none. Falling to 0 left more of the accuracy on what stays than a constant
        rate did.
    ramp : float, default=0
        Share of the run over which the rate goes from 0 to ``alpha``.
    reduction : {"mean", "sum"}, default="mean"
        ``"sum"`` as in the paper: equal to a learning rate that is larger by the number of pairs.
    force : bool, default=False
        Take ``alpha > 0``, which reinforces what is to be forgotten (a negative control).
    seed : int, default=0

    Notes
    -----
    It is approximate: closeness to a model trained anew is the measure, and there is no certificate. The loss has no
    lower bound, so that without a stop rule a long run diverges.

    Examples
    --------
    >>> import torch
    >>> from tamis.train.labelled import LabelledExamples
    >>> network = torch.nn.Linear(4, 2)
    >>> examples = LabelledExamples.of(np.eye(4, dtype=np.float32), [0, 0, 1, 1])
    >>> done = UGradSL(epochs=2, batch_rows=2).apply(network, examples, forget=[0])
    >>> done.reason, done.sets.retain.tolist()
    ('all 3 steps were done', [1, 2, 3])
    """

    def __init__(
        self,
        *,
        plus: bool = True,
        alpha: float | str = -0.5,
        p: float | None = None,
        learning_rate: float | None = None,
        epochs: float | None = None,
        repair: float | None = None,
        batch_rows: int = 64,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        clip: float | None = 5.0,
        schedule: str = "linear",
        ramp: float = 0.0,
        reduction: str = "mean",
        force: bool = False,
        seed: int = 0,
    ) -> None:
        self.plus = plus
        self.alpha = alpha
        self.p = p
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.repair = repair
        self.batch_rows = batch_rows
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.clip = clip
        self.schedule = schedule
        self.ramp = ramp
        self.reduction = reduction
        self.force = force
        self.seed = seed

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        RecipeError
            If one is wrong, or ``alpha`` is above 0 and not forced.
        """
        super().validate()
        name, number = type(self).__name__, isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if not number and self.alpha not in DIRECTIONS:
            raise parameter_error(name, "alpha", "a float <= 0, 'paper' or 'deniability'", self.alpha)
        if number and not np.isfinite(float(self.alpha)):
            raise parameter_error(name, "alpha", "a finite float", self.alpha)
        if number and float(self.alpha) > 0 and not self.force:
            raise RecipeError(
                f"With alpha = {self.alpha} > 0 ascent raises the confidence in what is to be forgotten: the sign is "
                f"wrong. Give {-float(self.alpha):g}, or force=True for a negative control."
            )
        if self.p is not None and not (isinstance(self.p, int | float) and 0 <= self.p <= 1):
            raise parameter_error(name, "p", "a float in [0, 1] or None", self.p)
        if self.repair is not None and not (
            isinstance(self.repair, int | float) and not isinstance(self.repair, bool) and 0 <= self.repair < np.inf
        ):
            raise parameter_error(name, "repair", "a float >= 0 or None", self.repair)
        if not isinstance(self.ramp, int | float) or not 0 <= self.ramp <= 1:
            raise parameter_error(name, "ramp", "a float in [0, 1]", self.ramp)
        if self.schedule not in SCHEDULES:
            raise parameter_error(name, "schedule", " or ".join(map(repr, SCHEDULES)), self.schedule)
        if self.reduction not in ("mean", "sum"):
            raise parameter_error(name, "reduction", "'mean' or 'sum'", self.reduction)

    def descent(self, kind: str) -> float:
        """Weight of the descent for a kind of request."""
        return USUAL[self.plus][kind].p if self.p is None else float(self.p)

    def warnings(self, sets: ForgetSets) -> tuple[str, ...]:
        """Say where ascent may win."""
        p = self.descent(sets.kind)
        if 0 < p < SAFE_DESCENT:
            return (f"p = {p:g} gives ascent much weight; below {SAFE_DESCENT} runs diverged in our measurements",)
        return ()

    def rate(self, kind: str) -> float:
        """Learning rate for a kind of request where none is given."""
        return USUAL[self.plus][kind].learning_rate

    def passes(self, kind: str, n_retain: int, n_forget: int) -> float:
        """Epochs for a request where none are given."""
        usual, n = USUAL[self.plus][kind].epochs, n_retain if self.plus else n_forget
        return max(min(usual, MAX_PASSES * n_forget / n), MIN_STEPS * self.batch_rows / n)

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> ForgettingPairs:
        """Pairs of all epochs, in the order of the steps."""
        retain, forget = paired(sets.retain, sets.forget, plus=self.plus, epochs=self.epochs_for(*sets.sizes), rng=rng)
        adaptive = self.alpha if isinstance(self.alpha, str) else None
        return ForgettingPairs(
            sets.examples, retain, forget, p=self.descent(sets.kind), alpha=0.0 if adaptive else float(self.alpha),
            ramp=round(self.ramp * len(retain)), adaptive=adaptive, reduction=self.reduction,
        )  # fmt: skip

    def repair_epochs(self, kind: str) -> float:
        """Epochs of descent alone for a kind of request."""
        return USUAL[self.plus][kind].repair if self.repair is None else float(self.repair)

    def settings(self, sets: ForgetSets, n: int, *, stops: bool) -> TrainSettings:
        """As for all, but few examples, which are forgotten in a few steps, are looked at more often."""
        made = super().settings(sets, n, stops=stops)
        few = -(-LOOK_PASSES * len(sets.forget) // self.batch_rows)
        return replace(made, eval_every=max(-(-made.eval_every // 2), min(made.eval_every, few)))

    def rows_of_an_example(self) -> int:
        """A pair is two rows, unless one of the two has no weight."""
        return 1 if self.p in (0, 1) else 2
