"""Losses of the parts of a pool by one model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows, flat_of, listed
from tamis.runs.steps import part_path
from tamis.train.tuned_model import TunedModel


@dataclass(frozen=True)
class ScorePart:
    """Losses of the records of one part of the tokens; runs wherever the engine puts it."""

    model: TunedModel
    folder: str
    with_prompt_tokens: bool

    def __call__(self, number: int) -> pl.DataFrame:
        """Return the columns ``unit_id`` and ``loss``, a list of float32 a record."""
        from tamis.train.token_losses import token_losses

        rows = TokenRows.from_frame(pl.read_parquet(part_path(Path(self.folder), number)))
        where = np.ones(len(rows.ids), dtype=bool) if self.with_prompt_tokens else rows.response
        losses = token_losses(self.model.network(), rows, where=where)
        return pl.DataFrame([rows.unit_ids, listed(losses, rows.offsets).alias("loss")])


def flat_losses(parts: pl.DataFrame) -> NDArray[np.float32]:
    """Losses of a step's parts, one token after the other."""
    return flat_of(parts["loss"], np.float32)
