"""Losses of a pool by one model: the base, another model, or the base with what it learned on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows, flat_of, listed
from tamis.models.causal_lm import LocalModel, load_own
from tamis.models.lm_head import require_split
from tamis.runs.steps import part_path
from tamis.train.settings import TrainSettings


@dataclass(frozen=True)
class Scorer:
    """A model with the weights that it has at one point.

    Attributes
    ----------
    model : LocalModel
    learned : tuple of str
        Files of :func:`tamis.train.learned.save_learned`, in the order of training.
    settings : TrainSettings
        Of those trainings.
    dtype, device : str
        As for :func:`tamis.models.causal_lm.load`.
    """

    model: LocalModel
    learned: tuple[str, ...] = ()
    settings: TrainSettings = field(default_factory=TrainSettings)
    dtype: str = "auto"
    device: str = "auto"

    def network(self) -> Any:
        """Load it; a process keeps the last one that it loaded."""
        return _network(self)

    def own(self) -> Any:
        """Load a copy in float32 whose weights may be changed."""
        from tamis.train.learned import with_learned

        network = load_own(self.model, device=self.device)
        for path in self.learned:
            network = with_learned(network, Path(path), self.settings)
        return network


@lru_cache(maxsize=1)
def _network(scorer: Scorer) -> Any:
    import torch

    if scorer.learned:
        network = scorer.own()
        if scorer.dtype != "auto" or network.device.type != "cpu":
            network = network.to(torch.bfloat16 if scorer.dtype == "auto" else getattr(torch, scorer.dtype))
    else:
        network = load_own(scorer.model, dtype=scorer.dtype, device=scorer.device)
    require_split(network, scorer.model.name)
    return network


@dataclass(frozen=True)
class ScorePart:
    """Losses of the records of one part of the tokens; runs wherever the engine puts it."""

    scorer: Scorer
    folder: str
    with_prompt_tokens: bool

    def __call__(self, number: int) -> pl.DataFrame:
        """Return the columns ``unit_id`` and ``loss``, a list of float32 a record."""
        from tamis.train.token_losses import token_losses

        rows = TokenRows.from_frame(pl.read_parquet(part_path(Path(self.folder), number)))
        where = np.ones(len(rows.ids), dtype=bool) if self.with_prompt_tokens else rows.response
        losses = token_losses(self.scorer.network(), rows, where=where)
        return pl.DataFrame([rows.unit_ids, listed(losses, rows.offsets).alias("loss")])


def flat_losses(parts: pl.DataFrame) -> NDArray[np.float32]:
    """Losses of a step's parts, one token after the other."""
    return flat_of(parts["loss"], np.float32)
