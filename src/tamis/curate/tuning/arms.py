"""Masks to train with: the run's own, and those that it has to be compared with."""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray

from tamis.curate.tokens.ranking import top_n, top_share_by_group
from tamis.data.token_rows import TokenRows
from tamis.errors import RecipeError, did_you_mean
from tamis.runs.digests import derive_seed

ARMS = {
    "kept": "the tokens that the run kept",
    "all": "all answer tokens",
    "random": "as many answer tokens, at random; another mask for each seed",
    "sample": "the same share of each record, by score (RHO of the paper)",
    "reverse": "as many tokens, lowest scores first",
}
"""Names of the arms, and what they train on."""

Mask = NDArray[np.bool_]


def arm_mask(arm: str, rows: TokenRows, keep: Mask, score: NDArray[np.float32], *, seed: int) -> Mask:
    """Return the tokens that an arm trains on.

    Parameters
    ----------
    arm : str
        One of :data:`ARMS`.
    rows : TokenRows
    keep : ndarray of bool, shape (T,)
        The run's mask.
    score : ndarray of float32, shape (T,)
        The run's scores; nan where a token was not ranked.
    seed : int

    Raises
    ------
    RecipeError
        If there is no such arm, or the run has no scores to rank by.

    Examples
    --------
    >>> rows = TokenRows.from_lists(["a"], [[9, 1, 2]], [[False, True, True]])
    >>> keep, score = np.array([False, True, False]), np.array([np.nan, 2, 1], dtype=np.float32)
    >>> arm_mask("reverse", rows, keep, score, seed=0).tolist()
    [False, False, True]
    """
    if arm not in ARMS:
        raise RecipeError(f"There is no arm called {arm!r}.{did_you_mean(arm, list(ARMS))}")
    if arm == "kept":
        return keep
    if arm == "all":
        return rows.response | keep
    ranked = np.isfinite(score)
    if not ranked.any():
        raise RecipeError(f"The arm {arm!r} needs scores, and this run has ranked no token; use 'kept' or 'all'.")
    n, unranked = int((keep & ranked).sum()), keep & ~ranked  # such as the first slice of the self-evolving mode
    if arm == "sample":
        share = simplest_share(n, int(ranked.sum()))
        return unranked | top_share_by_group(score, ranked, share, rows.row_of)[0]
    rng = np.random.default_rng(derive_seed(seed, "arm", "random"))
    values = -score if arm == "reverse" else rng.random(len(score), dtype=np.float32)
    return unranked | top_n(values, ranked, n)[0]


def simplest_share(kept: int, n: int) -> float:
    """Share of which ``kept`` is the whole part among n, with as few decimals as there is one.

    The share that was asked for, but for a coincidence.

    Examples
    --------
    >>> simplest_share(600, 1001), simplest_share(7, 7), simplest_share(1, 3)
    (0.6, 1.0, 0.4)
    """
    scale = next(10**digits for digits in count() if -(-kept * 10**digits // n) * n < (kept + 1) * 10**digits)
    return float(-(-kept * scale // n) / scale)
