"""UA, RA, TA and MIA of a classifier that was to forget, and their gap to a model trained anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.evidence.membership import margin, svc_attack, true_label_confidence
from tamis.evidence.ranking import auroc
from tamis.evidence.resampling import Estimate

METRICS = ("UA", "RA", "TA", "MIA")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network says of some examples.

    Attributes
    ----------
    labels, predicted : ndarray of int, shape (N,)
    confidence : ndarray of float, shape (N,)
        Probability of each true label.
    margin : ndarray of float, shape (N,)
        Logit-scaled confidence; see :func:`~tamis.evidence.membership.margin`.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    margin: NDArray[np.float64]

    @classmethod
    def of(cls, logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Predictions:
        """Take the logits of a network, shape (N, K)."""
        found = np.asarray(logits)
        return cls(labels, found.argmax(axis=1), true_label_confidence(found, labels), margin(found, labels))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each is predicted right."""
        return np.asarray(self.predicted == self.labels)

    def without(self, classes: Sequence[int]) -> Predictions:
        """Leave examples of some classes out."""
        kept = ~np.isin(self.labels, list(classes))
        return Predictions(self.labels[kept], self.predicted[kept], self.confidence[kept], self.margin[kept])


def forgetting_metrics(
    forget: Predictions, retain: Predictions, test: Predictions, *, forgotten_classes: Sequence[int] = (), seed: int = 0
) -> dict[str, float]:
    """How one network stands to what it was to forget, in percent.

    Parameters
    ----------
    forget, retain, test : Predictions
    forgotten_classes : sequence of int, default=()
        Left out of the test set: whole classes that were forgotten.
    seed : int, default=0

    Returns
    -------
    dict
        ``UA`` (100 less the accuracy on the forgotten), ``RA`` (accuracy on the retained), ``TA`` (on the test set),
        ``MIA`` (share of the forgotten that :func:`~tamis.evidence.membership.svc_attack` takes for strangers), and
        ``AUC`` (100 times the chance that the margin of a forgotten example is above a test example's; 50 if nothing
        tells them apart). None is good because it is high: a model trained anew is the measure.

    Examples
    --------
    >>> labels = np.zeros(5, dtype=int)
    >>> right, wrong = (Predictions.of(np.array([each] * 5), labels) for each in ([4.0, 0.0], [0.0, 4.0]))
    >>> found = forgetting_metrics(wrong, right, wrong)
    >>> found["UA"], found["RA"], found["MIA"], found["AUC"]
    (100.0, 100.0, 100.0, 50.0)
    """
    seen = test.without(forgotten_classes)
    strangers = svc_attack(retain.confidence, seen.confidence, forget.confidence, seed=seed)
    return {
        "UA": 100 - 100 * float(forget.right.mean()),
        "RA": 100 * float(retain.right.mean()),
        "TA": 100 * float(seen.right.mean()),
        "MIA": 100 * float(strangers.mean()),
        "AUC": attack_auc(forget, seen)[0],
    }


def attack_auc(forget: Predictions, test: Predictions) -> Estimate:
    """Chance that a forgotten example has a higher margin than a test example, in percent, with DeLong's interval.

    Examples
    --------
    >>> labels = np.zeros(2, dtype=int)
    >>> sure, unsure = (Predictions.of(np.array(each), labels) for each in ([[3.0, 0], [4, 0]], [[1.0, 0], [3, 0]]))
    >>> attack_auc(sure, unsure)[0]
    87.5
    """
    margins = np.concatenate([forget.margin, test.margin])
    is_forgotten = np.repeat([True, False], [len(forget.margin), len(test.margin)])
    value, low, high = auroc(margins, is_forgotten)
    return 100 * value, 100 * low, 100 * high


def average_gap(found: Mapping[str, Sequence[float]], retrained: Mapping[str, Sequence[float]]) -> float:
    """Mean over UA, RA, TA and MIA of the distance between seed means, in points; 0 for the retrained model itself.

    Parameters
    ----------
    found, retrained : mapping of metric to its value for each seed

    Examples
    --------
    >>> one = {name: [10.0, 20.0] for name in METRICS}
    >>> average_gap(one, one), average_gap(one, one | {"UA": [13.0, 21.0]})
    (0.0, 0.5)
    """
    return float(np.mean([abs(np.mean(found[name]) - np.mean(retrained[name])) for name in METRICS]))
