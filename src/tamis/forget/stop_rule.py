"""When to stop forgetting: ascent has no fixed point, so held-out examples have to say it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tamis.errors import DataError
from tamis.evidence.membership import true_label_confidence
from tamis.forget.forget_sets import ForgetSets
from tamis.train.labelled import LabelledExamples, logits_of

TOO_MUCH = 3.0
"""Points of held-out accuracy whose loss stops a run, if chance does not explain it."""
LITTLE = 1.0
"""Points of held-out accuracy that may be lost when the aim is reached; else later steps may bring them back."""
IN_A_ROW = 2
"""Times that it has to be seen."""
CHANCE = 0.05
"""Probability, if nothing was lost, of a loss as large as that seen, from which a loss is taken for chance."""


class StopRule:
    """How far a network is from the aim, and whether it is there.

    Whole classes are forgotten when the accuracy on them is 0; other examples when the accuracy on them is no higher
    than on held-out ones, since a model that never saw them does no better there. A run stops there if held-out
    accuracy fell by no more than a point, else it goes on, since descent may bring it back. It also stops when held-out
    examples, those of forgotten classes left out, are twice in a row predicted worse by three points that chance does
    not explain (McNemar's exact test: how many became wrong against how many became right): first steps often cost
    accuracy that later ones bring back.

    Parameters
    ----------
    sets : ForgetSets
    held_out : LabelledExamples
        Of the same kind as the training examples, and not among them.
    network : torch.nn.Module
        Before anything is forgotten.
    """

    def __init__(self, sets: ForgetSets, held_out: LabelledExamples, network: Any) -> None:
        self._forget = sets.examples.take(sets.forget)
        labels = held_out.labels.numpy()
        self._whole = sets.kind == "class"
        gone = np.unique(self._forget.labels.numpy()) if self._whole else np.zeros(0, dtype=np.int64)
        self._held_out = held_out.take(np.flatnonzero(~np.isin(labels, gone)))
        if not len(self._held_out):
            raise DataError(
                "All held-out examples are of classes that are to be forgotten; give some of the others too."
            )
        self._right = _right_and_sure(network, self._held_out)[0]
        self._reason: str | None = None
        self._worse = 0

    def distance(self, network: Any) -> float:
        """How far the network is from the aim, in points.

        It stands for the average gap to a model trained anew, which nobody has: the mean of two distances on what is
        to be forgotten (of accuracy, and of confidence in the true label, which falls before accuracy does; for UA and
        MIA) and twice the points of held-out accuracy that were lost (for RA and TA).
        """
        right, sure = _right_and_sure(network, self._held_out)
        forgotten_right, forgotten_sure = _right_and_sure(network, self._forget)
        forgotten, held_out = 100 * float(forgotten_right.mean()), 100 * float(right.mean())
        above = forgotten - (0.0 if self._whole else held_out)
        surer = 100 * float(forgotten_sure.mean() - (0.0 if self._whole else sure.mean()))
        began = 100 * float(self._right.mean())
        lost = max(0.0, began - held_out)
        self._worse = self._worse + 1 if lost > TOO_MUCH and self._is_worse(right) else 0
        if self._worse >= IN_A_ROW:
            self._reason = f"the accuracy on held-out examples fell from {began:.1f} to {held_out:.1f} %"
        elif above <= 0 and lost <= LITTLE:
            self._reason = (
                f"the accuracy on what is to be forgotten is {forgotten:.1f} %, on held-out examples {held_out:.1f} %"
            )
        return (abs(above) + abs(surer) + 2 * lost) / 4

    def reason(self, network: Any) -> str | None:
        """Why to stop at the weights that were measured last; None to go on."""
        return self._reason

    def _is_worse(self, right: NDArray[np.bool_]) -> bool:
        lost, changed = int((self._right & ~right).sum()), int((right != self._right).sum())
        return bool(changed and binomtest(lost, changed, alternative="greater").pvalue < CHANCE)


def _right_and_sure(network: Any, examples: LabelledExamples) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    logits, labels = logits_of(network, examples), examples.labels.numpy()
    return np.asarray(logits.argmax(axis=1) == labels), true_label_confidence(logits, labels)
