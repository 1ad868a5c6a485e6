"""When to stop forgetting: ascent has no fixed point, so held-out examples have to say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tamis.errors import DataError
from tamis.evidence.membership import true_label_confidence
from tamis.forget.forget_sets import ForgetSets
from tamis.train.labelled import LabelledExamples, logits_of

TOO_MUCH = 3.0
"""Points of held-out accuracy whose loss stops a run, if chance does not explain it; and that tell examples apart."""
LITTLE = 1.0
"""Points of held-out accuracy that may be lost when the aim is reached; else later steps may bring them back."""
RETAINED = 300
"""Retained examples, evenly spaced, that stand for all: the same before and after, so that few are enough."""
IN_A_ROW = 2
"""Times that it has to be seen."""
CHANCE = 0.05
"""Probability, if nothing was lost, of a loss as large as that seen, from which a loss is taken for chance."""
UNLIKE = (
    "before anything was forgotten, {:.1f} % of what is to be forgotten was right, of held-out examples {:.1f} %: the "
    "two are unlike (wrong labels are), and the usual aim does not fit; give the accuracy that a model trained anew "
    "would have (--aim)"
)


class StopRule:
    """How far a network is from the aim, and whether it is there.

    Whole classes are forgotten when the accuracy on them is 0; other examples when the accuracy on them is no higher
    than the original's on held-out ones, and the network no surer of them than of held-out ones, since a model that
    never saw them is neither. A run stops there if a repair follows or held-out accuracy fell by no more than a point,
    else it goes on until two evaluations in a row came no closer, since descent may bring it back.

    It also stops when held-out examples, those of forgotten classes left out, are twice in a row predicted worse by
    three points that chance does not explain (McNemar's exact test: how many became wrong against how many became
    right): first steps often cost accuracy that later ones bring back.

    Parameters
    ----------
    sets : ForgetSets
    held_out : LabelledExamples
        Of the same kind as the training examples, and not among them.
    network : torch.nn.Module
        Before anything is forgotten.
    aim : float, optional
        Accuracy on what is to be forgotten, in [0, 1], that a model trained anew is thought to have. Default: as above.
    repair_follows : bool, default=False
        Whether descent alone follows, which brings back what was lost.

    Attributes
    ----------
    warnings : tuple of str
        That the examples to be forgotten are unlike held-out ones, if they are.
    """

    def __init__(
        self,
        sets: ForgetSets,
        held_out: LabelledExamples,
        network: Any,
        *,
        aim: float | None = None,
        repair_follows: bool = False,
    ) -> None:
        self._repair_follows = repair_follows
        self._forget = sets.examples.take(sets.forget)
        labels = held_out.labels.numpy()
        gone = np.unique(self._forget.labels.numpy()) if sets.kind == "class" else np.zeros(0, dtype=np.int64)
        self._held_out = held_out.take(np.flatnonzero(~np.isin(labels, gone)))
        if not len(self._held_out):
            raise DataError(
                "All held-out examples are of classes that are to be forgotten; give some of the others too."
            )
        self._retain = sets.examples.take(sets.retain[:: -(-len(sets.retain) // RETAINED)])
        self._right = _right_and_sure(network, self._held_out)[0]
        self._retained = _accuracy(_right_and_sure(network, self._retain)[0])
        given = 0.0 if aim is None and sets.kind == "class" else aim
        self._aim = None if given is None else 100 * given
        began, known = _accuracy(self._right), _accuracy(_right_and_sure(network, self._forget)[0])
        self.warnings = (UNLIKE.format(known, began),) if self._aim is None and known < began - TOO_MUCH else ()

    def distance(self, network: Any) -> float:
        """How far the network is from the aim, in points.

        It stands for the average gap to a model trained anew, which nobody has: the mean of what the accuracy on what
        is to be forgotten differs from the aim (for UA), of what the confidence in its true labels differs from that on
        held-out examples (MIA), and of the accuracy that was lost on some retained examples (RA) and on held-out ones
        (TA).
        """
        right, sure = _right_and_sure(network, self._held_out)
        forgotten_right, forgotten_sure = _right_and_sure(network, self._forget)
        began, held_out, forgotten = (_accuracy(each) for each in (self._right, right, forgotten_right))
        aim = began if self._aim is None else self._aim
        surer = 100 * float(forgotten_sure.mean()) - (100 * float(sure.mean()) if self._aim is None else self._aim)
        lost = max(0.0, began - held_out)
        kept = _accuracy(_right_and_sure(network, self._retain)[0])
        found = (abs(forgotten - aim) + abs(surer) + max(0.0, self._retained - kept) + lost) / 4
        self._now = {
            "distance": found,
            "there": forgotten <= aim and (self._aim is not None or surer <= 0),
            "little": self._repair_follows or lost <= LITTLE,
            "worse": lost > TOO_MUCH and self._is_worse(right),
        }
        self._words = (
            f"the accuracy on held-out examples fell from {began:.1f} to {held_out:.1f} %",
            f"the accuracy on what is to be forgotten is {forgotten:.1f} %, the aim {aim:.1f} %",
        )
        return found

    def reason(self, network: Any, noted: Sequence[Mapping[str, Any]]) -> tuple[str | None, dict[str, Any]]:
        """Why to stop at the weights that were measured last, or None to go on; and what was measured, to be noted."""
        past = [*noted, self._now][-IN_A_ROW:]
        before = [each["distance"] for each in noted[: -IN_A_ROW + 1]]
        if len(past) == IN_A_ROW and all(each["worse"] for each in past):
            return self._words[0], self._now
        in_vain = bool(before) and all(each["there"] and each["distance"] >= min(before) for each in past)
        return self._words[1] if self._now["there"] and (self._now["little"] or in_vain) else None, self._now

    def _is_worse(self, right: NDArray[np.bool_]) -> bool:
        lost, changed = int((self._right & ~right).sum()), int((right != self._right).sum())
        return bool(changed and binomtest(lost, changed, alternative="greater").pvalue < CHANCE)


def _right_and_sure(network: Any, examples: LabelledExamples) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    logits, labels = logits_of(network, examples), examples.labels.numpy()
    return np.asarray(logits.argmax(axis=1) == labels), true_label_confidence(logits, labels)


def _accuracy(right: NDArray[np.bool_]) -> float:
    return 100 * float(right.mean())
