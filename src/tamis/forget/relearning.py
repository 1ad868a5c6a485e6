"""Persistence: how fast a network learns again what it was made to forget."""

from __future__ import annotations

import copy
from typing import Any

from tamis.forget.forget_sets import ForgetSets
from tamis.train.labelled import CrossEntropy, logits_of
from tamis.train.loop import train
from tamis.train.settings import TrainSettings

STEPS = 10
BATCH_ROWS = 64


def relearning(network: Any, sets: ForgetSets, *, learning_rate: float, seed: int, steps: int = STEPS) -> list[float]:
    """Accuracy on the forgotten examples while a copy of a network is trained on them again.

    Parameters
    ----------
    network : torch.nn.Module
        It is not changed.
    sets : ForgetSets
    learning_rate : float
        Of SGD with momentum 0.9.
    seed : int
        Of the order of the examples.
    steps : int, default=10
        Of at most 64 examples.

    Returns
    -------
    list of float, length ``steps + 1``
        Percent, before the first step and after each. An edited network that gets them back faster than one trained
        anew has kept something of them.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from tamis.train.labelled import LabelledExamples
    >>> network, examples = torch.nn.Linear(4, 2), LabelledExamples.of(np.eye(4, dtype=np.float32), [0, 0, 1, 1])
    >>> sets = ForgetSets.of(network, examples, [1])
    >>> len(relearning(network, sets, learning_rate=0.1, seed=0, steps=3))
    4
    """
    part = sets.examples.take(sets.forget)
    labels = part.labels.numpy()
    learner = copy.deepcopy(network).requires_grad_(True)
    rows = min(BATCH_ROWS, len(part))
    found: list[float] = []

    def right(own: Any) -> float:
        share = 100 * float((logits_of(own, part).argmax(axis=1) == labels).mean())
        found.append(share)
        return share

    settings = TrainSettings(
        steps=steps, batch_rows=rows, micro_tokens=rows, learning_rate=learning_rate, schedule="constant", warmup=0.0,
        optimizer="sgd", momentum=0.9, tune="full", precision="float32", eval_every=1, seed=seed,
    )  # fmt: skip
    train(learner, CrossEntropy(part), settings, held_out=right)
    return found
