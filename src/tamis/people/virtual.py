"""Virtual LLM workers: what score a worker would have who pasted an LLM's answers into the same tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.evidence.resampling import UNDEFINED, Estimate
from tamis.people.strata import Floats

ROUNDING = 1e-9
MOST_Z = 1000.0
QUANTILE = 0.9
"""Share of the virtual workers of a model that lie below its threshold."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The virtual workers of one model.

    Attributes
    ----------
    model : str
        Whose further samples they paste.
    scores : ndarray of shape (n_workers, samples)
        The score of each worker's place, had the answers been pasted; nan where it cannot be known.
    threshold : Estimate
        Their 90 % quantile, with its bootstrap interval over workers.
    """

    model: str
    scores: Floats
    threshold: Estimate

    @property
    def n(self) -> int:
        """Virtual workers."""
        return int((~np.isnan(self.scores)).sum())

    @property
    def median(self) -> float:
        """Their median score."""
        return float(np.nanmedian(self.scores))


def reference(
    model: str,
    scores: Floats,
    *,
    rng: np.random.Generator,
    quantile: float = QUANTILE,
    n_bootstrap: int = 400,
    level: float = 0.95,
) -> Reference:
    """Summarise the virtual workers of a model.

    Parameters
    ----------
    model : str
    scores : ndarray of shape (n_workers, samples)
    rng : numpy.random.Generator
        Resamples workers.
    quantile : float, default 0.9
    n_bootstrap : int, default 400
    level : float, default 0.95

    Examples
    --------
    >>> found = reference("m", np.arange(10.0)[:, None], rng=np.random.default_rng(0))
    >>> found.threshold[0], found.n
    (8.1, 10)
    """
    there = scores[~np.isnan(scores).all(axis=1)]
    value = threshold_of([scores], quantile)
    if value is None:
        return Reference(model, scores, UNDEFINED)
    drawn = [np.nanquantile(there[rng.integers(0, len(there), len(there))], quantile) for _ in range(n_bootstrap)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Reference(model, scores, (value, float(low), float(high)))


def strictest(references: Sequence[Reference]) -> Reference | None:
    """Return the reference with the highest threshold: below it lie 90 % of the virtual workers of every model.

    None if no model has virtual workers, that is, no second sample.
    """
    known = [each for each in references if not np.isnan(each.threshold[0])]
    return max(known, key=lambda each: each.threshold[0]) if known else None


def virtual_quantile(scores: Floats, found: Reference) -> Floats:
    """Share of the virtual workers that score no more than each worker, shape (n_workers,); nan stays nan.

    A pasting worker is as likely to lie anywhere in between; an independent one lies near 1.
    """
    others = np.sort(found.scores[~np.isnan(found.scores)])
    share = np.searchsorted(others, scores, side="right") / max(1, len(others))
    placed: Floats = np.where(np.isnan(scores), np.nan, share)
    return placed


def paired_z(difference: Floats, se: Floats) -> Floats:
    """``z_i = (S_i - Q_i) / SE``: a worker against the virtual one in the same place.

    Without any spread, as where every answer equals the pasted one, z is 0 for no difference and else as large as it
    gets here, 1,000; nan where nothing was paired.
    """
    without = np.where(np.abs(difference) < ROUNDING, 0.0, np.sign(difference) * MOST_Z)
    z: Floats = np.divide(difference, se, out=without, where=se > ROUNDING)
    return z


def threshold_of(virtual: Sequence[Floats], quantile: float = QUANTILE) -> float | None:
    """Return the highest over models of a quantile of their virtual workers, None if there are none.

    A trace is added, so that a score equal to it up to rounding lies below it.
    """
    known = [scores[~np.isnan(scores)] for scores in virtual]
    quantiles = [float(np.quantile(scores, quantile)) for scores in known if len(scores)]
    return max(quantiles) + ROUNDING if quantiles else None


def written_by(labels: NDArray[np.int32], task: NDArray[np.int32]) -> NDArray[np.int32]:
    """What virtual workers write in place of each answer: the label of its task, shape (n, samples).

    Parameters
    ----------
    labels : ndarray of int32, shape (samples, n_tasks)
    task : ndarray of int32, shape (n,)
    """
    return np.ascontiguousarray(labels[:, task].T)
