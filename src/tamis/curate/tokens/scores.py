"""What tokens are ranked by: the loss gap between two models, and the baselines it is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RANKINGS = ("excess", "reverse", "base-high", "base-low", "random")
"""Names the ``rank_by`` parameter takes."""

Floats = NDArray[np.float32]


def token_scores(rank_by: str, base: Floats, reference: Floats, *, rng: np.random.Generator) -> Floats:
    """Return the score of each token; higher is kept first.

    ``excess`` is the method's: ``Score(j) = loss(t_j; base) - loss(t_j; reference)``, the influence with its sign
    turned (arXiv 2502.01968, section 4): high where the update lowered the loss most. The others are baselines:
    ``reverse`` its negative, ``base-high`` and ``base-low`` the base model's loss alone, ``random``.

    Parameters
    ----------
    rank_by : str
        One of :data:`RANKINGS`.
    base, reference : ndarray of float32, shape (T,)
        Losses in nats; nan where there is none.
    rng : numpy.random.Generator
        For ``random``.

    Returns
    -------
    ndarray of float32, shape (T,)
        nan where either loss is.

    Examples
    --------
    >>> base, reference = np.array([2.0, 1.0], dtype=np.float32), np.array([0.5, 1.25], dtype=np.float32)
    >>> token_scores("excess", base, reference, rng=np.random.default_rng(0)).tolist()
    [1.5, -0.25]
    """
    with np.errstate(invalid="ignore"):  # an infinite loss is none
        gap = base - reference
    by: dict[str, Any] = {
        "excess": lambda: gap,
        "reverse": lambda: -gap,
        "base-high": lambda: base.copy(),
        "base-low": lambda: -base,
        "random": lambda: rng.random(len(base), dtype=np.float32),
    }
    score: Floats = np.asarray(by[rank_by](), dtype=np.float32)
    score[~np.isfinite(gap)] = np.nan
    return score
