"""When to stop forgetting: ascent has no fixed point, so held-out examples have to say it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tamis.forget.forget_sets import ForgetSets
from tamis.train.labelled import LabelledExamples, logits_of

WITHIN = 1.0
"""Points of held-out accuracy that forgetting may cost."""


class StopRule:
    """How far a network is from the aim, and whether it is there.

    Whole classes are forgotten when the accuracy on them is 0; other examples when the accuracy on them is no higher
    than on held-out ones, since a model that never saw them does no better there. The aim counts only while the
    accuracy on held-out examples, those of forgotten classes left out, is within a point of where it began.

    Parameters
    ----------
    sets : ForgetSets
    held_out : LabelledExamples
        Of the same kind as the training examples, and not among them.
    network : torch.nn.Module
        Before anything is forgotten.

    Examples
    --------
    See :class:`tamis.forget.ugradsl.UGradSL`.
    """

    def __init__(self, sets: ForgetSets, held_out: LabelledExamples, network: Any) -> None:
        self._forget = sets.examples.take(sets.forget)
        labels = held_out.labels.numpy()
        self._whole = sets.kind == "class"
        gone = np.unique(self._forget.labels.numpy()) if self._whole else np.zeros(0, dtype=np.int64)
        self._held_out = held_out.take(np.flatnonzero(~np.isin(labels, gone)))
        self.began = accuracy(network, self._held_out)
        self._reason: str | None = None

    def distance(self, network: Any) -> float:
        """Points above the aim on what is to be forgotten, and ten times the points lost beyond what may be lost."""
        forgotten, held_out = accuracy(network, self._forget), accuracy(network, self._held_out)
        above = max(0.0, forgotten - (0.0 if self._whole else held_out))
        lost = max(0.0, self.began - WITHIN - held_out)
        if lost:
            self._reason = f"the accuracy on held-out examples fell from {self.began:.1f} to {held_out:.1f} %"
        elif not above:
            self._reason = (
                f"the accuracy on what is to be forgotten is {forgotten:.1f} %, on held-out examples {held_out:.1f} %"
            )
        return above + 10 * lost

    def reason(self, network: Any) -> str | None:
        """Why to stop at the weights that were measured last; None to go on."""
        return self._reason


def accuracy(network: Any, examples: LabelledExamples) -> float:
    """Share of the examples that a network gets right, in percent."""
    right = logits_of(network, examples).argmax(axis=1) == examples.labels.numpy()
    return 100 * float(right.mean())
