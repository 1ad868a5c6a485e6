"""From votes to corrected ratings: how doubtful each rating is, what it should be, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tamis.noise import RoundVotes


@dataclass(frozen=True)
class Correction:
    """Outcome of the detection rounds for n rated items and K classes.

    Attributes
    ----------
    misrated_prob : ndarray of shape (n,), float64
        Share of rounds in which the rating was flagged, the paper's estimate of the probability that it is wrong; NaN
        for items without a rating.
    suggested : ndarray of shape (n,), int64
        The class, other than the observed one, with the most votes; -1 where nothing was voted.
    confidence : ndarray of shape (n,), float64
        ``misrated_prob`` times the share of votes for ``suggested``.
    """

    misrated_prob: np.ndarray
    suggested: np.ndarray
    confidence: np.ndarray

    def curated(self, observed: np.ndarray, threshold: float, *, classes: Sequence[int] | None = None) -> np.ndarray:
        """Replace ratings by the suggestion where ``confidence >= threshold``; all others stay.

        ``classes`` limits which observed classes may be replaced.
        """
        allowed = observed >= 0 if classes is None else np.isin(observed, classes)
        change = allowed & (self.suggested >= 0) & (self.confidence >= threshold)
        return np.where(change, self.suggested, observed)


def aggregate_votes(votes: RoundVotes, observed: np.ndarray, *, smoothing: bool) -> Correction:
    """Turn the votes of the detection rounds into probabilities and suggestions.

    Parameters
    ----------
    votes : RoundVotes
        Appearances A, times flagged F, and votes V per class.
    observed : ndarray of shape (n,), int64
        Observed class, -1 where there is none.
    smoothing : bool
        True for the paper's Laplace terms, whose confidence depends on A and hence on the size of the pool:
        q = (F+1)/(A+2), s_c = (V_c+1)/(sum V + K). False for the scale-free form: q = F/A, s_c = V_c/sum V, so that
        a unanimous vote has confidence 1 in a pool of any size.

    Notes
    -----
    The suggestion is argmax over c != observed of s_c, and confidence = q * s_suggested (DS2, score curation). In the
    paper's form an item enters the error set only if q > 0.5; 0.5 itself is not an error.
    """
    n, n_classes = votes.votes.shape
    rated = observed >= 0
    v = votes.votes.astype(np.float64)
    total = v.sum(axis=1, keepdims=True)
    extra = 1.0 if smoothing else 0.0
    appearances = np.broadcast_to(np.asarray(votes.appearances, dtype=np.float64), (n,))
    with np.errstate(invalid="ignore", divide="ignore"):
        q = (votes.flagged + extra) / (appearances + 2 * extra)
        share = (v + extra) / (total + n_classes * extra)
    others = np.where(total > 0, share, 0.0)
    others[np.flatnonzero(rated), observed[rated]] = -1.0
    suggested = np.where(rated & (total[:, 0] > 0), others.argmax(axis=1), -1)
    best = np.where(suggested >= 0, others.max(axis=1), 0.0)
    q = np.where(rated, q, np.nan)
    confidence = np.where(rated & (best > 0), np.nan_to_num(q) * best, 0.0)
    if smoothing:
        confidence = np.where(np.nan_to_num(q) > 0.5, confidence, 0.0)
    return Correction(misrated_prob=q, suggested=np.where(best > 0, suggested, -1), confidence=confidence)


def changes_by_threshold(
    correction: Correction, observed: np.ndarray, thresholds: np.ndarray, *, classes: Sequence[int] | None = None
) -> list[tuple[float, int]]:
    """Return how many ratings would change at each confidence threshold."""
    return [(float(t), int((correction.curated(observed, t, classes=classes) != observed).sum())) for t in thresholds]
