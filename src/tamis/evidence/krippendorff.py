"""Krippendorff's alpha: how far answers to the same tasks agree beyond what chance explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import parameter_error

if TYPE_CHECKING:
    from scipy import sparse

    from tamis.data.answer_codes import AnswerCodes
    from tamis.evidence.resampling import Estimate

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal"]


def krippendorff_alpha(codes: AnswerCodes, *, level: Level = "nominal") -> float:
    r"""Return Krippendorff's alpha, ``1 - observed / expected`` disagreement.

    Parameters
    ----------
    codes : AnswerCodes
        Only tasks with two or more answers count.
    level : {"nominal", "ordinal"}, default "nominal"
        Distance of two labels: 1 if they differ, or, for labels in the order of their codes, the square of how many
        answers lie between them, :math:`\delta^2_{ck} = (\sum_{g=c}^{k} n_g - (n_c + n_k)/2)^2`.

    Returns
    -------
    float
        1 for full agreement, 0 for what chance gives, negative below; nan where all answers are the same or no task has
        two: there is nothing to agree about.

    Raises
    ------
    RecipeError
        If ``level`` is neither of the two.

    Notes
    -----
    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections C and D. Both distances are a sum over
    tasks that needs no coincidence matrix: the ordinal one is a squared difference of the labels' mid-ranks.

    Examples
    --------
    >>> from tamis.data.answer_codes import AnswerCodes
    >>> codes = AnswerCodes.of([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 0, 1])
    >>> krippendorff_alpha(codes)
    0.444
    """
    votes = _Votes.of(codes)
    return float(votes.alpha(votes.tasks[None, :].astype(np.float64), _checked(level, "krippendorff_alpha"))[0])


def krippendorff_interval(
    codes: AnswerCodes, rng: np.random.Generator, n_bootstrap: int = 1000, *, level: Level = "nominal"
) -> Estimate:
    """Return Krippendorff's alpha with a 95 % percentile interval over resampled tasks.

    Parameters
    ----------
    codes : AnswerCodes
    rng : numpy.random.Generator
        Resamples tasks with two or more answers, each with all its answers. For more than 67,000 different vote counts
        fewer than 1,000 resamples are drawn (never fewer than 200).
    n_bootstrap : int, default 1000
    level : {"nominal", "ordinal"}, default "nominal"
        As in :func:`krippendorff_alpha`.

    Returns
    -------
    Estimate
        Value, low and high; nan where alpha is not defined.

    Raises
    ------
    RecipeError
        If ``level`` is neither of the two.

    Examples
    --------
    >>> from tamis.data.answer_codes import AnswerCodes
    >>> task, worker = np.divmod(np.arange(400), 2)
    >>> codes = AnswerCodes.of(task, worker, (task + (worker * task % 5 == 4)) % 2)
    >>> value, low, high = krippendorff_interval(codes, np.random.default_rng(0))
    >>> round(value, 2), 0.4 < low < value < high < 0.8
    (0.6, True)
    """
    from tamis.evidence.resampling import UNDEFINED, estimates  # scipy.stats takes seconds to import

    kind = _checked(level, "krippendorff_interval")
    votes = _Votes.of(codes)
    if not len(votes.tasks):
        return UNDEFINED
    return estimates(lambda w: votes.alpha(w, kind)[:, None], votes.tasks, rng=rng, n_bootstrap=n_bootstrap)[0]


def _checked(level: Level, owner: str) -> Level:
    if level not in ("nominal", "ordinal"):
        raise parameter_error(owner, "level", "'nominal' or 'ordinal'", level)
    return level


@dataclass(frozen=True, eq=False)
class _Votes:
    """Tasks with two or more answers, those with the same votes as one row.

    ``counts`` (rows, K) holds votes, ``tasks`` (rows,) how many tasks have them, ``answers`` (rows,) their sum.
    """

    counts: sparse.csr_array
    tasks: NDArray[np.int64]
    answers: Floats

    @classmethod
    def of(cls, codes: AnswerCodes) -> _Votes:
        counts = codes.counts[np.flatnonzero(codes.per_task >= 2)]
        # equal votes have equal sums of random words, and other votes other sums but for one chance in 2^64
        words = np.random.default_rng(0).integers(2**64, size=codes.n_classes, dtype=np.uint64)
        _, first, tasks = np.unique(counts.astype(np.uint64) @ words, return_index=True, return_counts=True)
        rows = counts[first]
        return cls(rows, tasks, rows.sum(axis=1))

    def alpha(self, weights: Floats, level: Level) -> Floats:
        """Alpha under each row of weights, shape (B, rows) -> (B,)."""
        totals = (self.counts.T @ weights.T).T
        n = totals.sum(axis=1)
        varies = totals.max(axis=1, initial=0.0) < n
        if level == "nominal":
            within = self.answers**2 - self.counts.power(2).sum(axis=1)
            observed = weights @ (within / (self.answers - 1))
            expected = n**2 - (totals**2).sum(axis=1)
        else:
            # mid-ranks as shares, about their mean: then the sum of (p_c - p_k)^2 over pairs is 2 n sum of p^2
            ranks = (np.cumsum(totals, axis=1) - totals / 2) / np.maximum(n, 1)[:, None] - 0.5
            squares, sums = self.counts @ (ranks**2).T, self.counts @ ranks.T
            within = 2 * (self.answers[:, None] * squares - sums**2)
            observed = np.einsum("br,rb->b", weights, within / (self.answers - 1)[:, None])
            expected = 2 * n * (totals * ranks**2).sum(axis=1)
        ratio = np.divide(observed * (n - 1), expected, out=np.full(n.shape, np.nan), where=varies)
        return np.asarray(1 - ratio, dtype=np.float64)
