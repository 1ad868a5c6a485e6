"""How many decisions hang on the arithmetic: a second scoring in bfloat16, on some records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tamis.curate.tokens.outcome import Outcome
from tamis.data.token_rows import TokenRows
from tamis.evidence.ratios import ratio_interval
from tamis.evidence.resampling import to_json
from tamis.runs.digests import derive_seed
from tamis.train.tuned_model import TunedModel


def flipped_share(
    outcome: Outcome, base: TunedModel, reference: TunedModel, *, n_rows: int, seed: int
) -> list[float | None] | None:
    """Share of decisions that turn when both models compute in bfloat16, with an interval over records.

    The tokens of the sample are compared with the cut of the whole pool. None for rankings without one cut.

    Parameters
    ----------
    outcome : Outcome
        Of the scoring proper.
    base, reference : TunedModel
    n_rows : int
        Records to score again.
    seed : int
    """
    if np.isnan(outcome.cut):
        return None
    usable = np.flatnonzero(np.bincount(outcome.rows.row_of[outcome.ranked], minlength=len(outcome.rows)))
    drawn = np.random.default_rng(derive_seed(seed, "rounding")).permutation(usable)[:n_rows]
    places, rows = outcome.rows.places(drawn), outcome.rows.take(drawn)
    where = outcome.ranked[places]
    first, second = (_rounded_losses(each, rows, where) for each in (base, reference))
    again = first - second >= np.float32(outcome.cut)
    turned = where & np.isfinite(first - second) & (again != outcome.mask[places])
    counts = (np.bincount(rows.row_of[which], minlength=len(rows)) for which in (turned, where))
    return to_json(ratio_interval(*counts, bounds=(0.0, 1.0)))


def _rounded_losses(model: TunedModel, rows: TokenRows, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    from tamis.models.bfloat16 import in_bfloat16
    from tamis.train.token_losses import token_losses

    with in_bfloat16(replace(model, dtype="float32").own()) as network:
        return token_losses(network, rows, where=where)
