"""Self-evolving cleaning: the model that a slice has trained ranks the next one (arXiv 2502.01968, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tamis.curate.tokens.cleaner import TokenCleaner
from tamis.curate.tokens.outcome import Outcome, merged_stages
from tamis.data.token_rows import TokenRows
from tamis.errors import DataError
from tamis.runs.digests import derive_seed

Floats = NDArray[np.float32]
Train = Callable[[int, TokenRows, NDArray[np.bool_]], None]
Losses = Callable[[int, TokenRows], Floats]


def self_evolving(
    rows: TokenRows,
    base: Floats,
    cleaner: TokenCleaner,
    *,
    train: Train,
    losses: Losses,
    slices: int = 5,
    slicing: str = "shuffled",
) -> Outcome:
    """Clean slice by slice, each by the model that the slices before it have trained.

    1. Train on all response tokens of slice 0.
    2. For each later slice: score it by the loss of the base, which never changes, less that of the latest model; keep
       the share ``cleaner.keep`` of the slice; go on training the latest model with that mask.

    Parameters
    ----------
    rows : TokenRows
    base : ndarray of float32, shape (T,)
        Losses by the base model.
    cleaner : TokenCleaner
        Its parameters rank each slice.
    train : callable
        ``train(stage, rows, mask)`` lets the latest model learn the tokens of the mask.
    losses : callable
        ``losses(stage, rows)`` returns the losses by the latest model, flat.
    slices : int, default 5
    slicing : {"shuffled", "contiguous"}, default "shuffled"
        A pool is often in order of quality, so that contiguous slices (the published way) differ.

    Returns
    -------
    Outcome
        No record is left out: the first slices have one more where the numbers do not divide (the published recipe
        drops the remainder).

    Raises
    ------
    DataError
        If a slice would have fewer than two records.
    """
    require_slices(len(rows), slices)
    order = np.arange(len(rows))
    if slicing == "shuffled":
        order = np.random.default_rng(derive_seed(cleaner.seed, "slices")).permutation(len(rows))
    pieces: list[tuple[NDArray[np.int64], TokenCleaner | None, Floats]] = []
    for stage, positions in enumerate(np.array_split(order, slices)):
        part = rows.take(positions)
        own = base[rows.places(positions)]
        if stage == 0:
            pieces.append((positions, None, np.zeros(0, np.float32)))
            mask = part.response
        else:
            latest = losses(stage, part)
            ranking = TokenCleaner(**{**cleaner.get_params(), "seed": derive_seed(cleaner.seed, "slice", stage)})
            if ranking.can_rank(part, base=own, reference=latest):
                ranking.fit(part, base=own, reference=latest)
                pieces.append((positions, ranking, latest))
                mask = ranking.mask_
            else:
                pieces.append((positions, None, latest))
                mask = np.zeros(len(part.ids), dtype=bool)
        if mask.any():  # a slice that teaches nothing is passed over
            train(stage, part, mask)
    return merged_stages(rows, base, pieces)


def require_slices(n: int, slices: int) -> None:
    """Raise DataError unless n records make so many slices that can be ranked."""
    if n < 2 * slices:
        raise DataError(f"{slices} slices need at least {2 * slices} records. Got {n} instead; use fewer slices.")
