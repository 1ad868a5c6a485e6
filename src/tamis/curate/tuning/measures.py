"""Losses of held-out records, by what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows


def held_out_sums(network: Any, rows: TokenRows, masks: dict[str, NDArray[np.bool_]]) -> dict[str, list[float]]:
    """Summed loss of each record's tokens, by the name of a mask; the counts are the mask's."""
    from tamis.train.token_losses import token_losses

    losses = token_losses(network, rows, where=np.logical_or.reduce(list(masks.values()))).astype(np.float64)
    n = len(rows)
    return {
        name: np.bincount(rows.row_of[mask], weights=losses[mask], minlength=n).tolist() for name, mask in masks.items()
    }
