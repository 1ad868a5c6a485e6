"""Scores of layers by one criterion, and losses of cut models, as parts of a run's steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.data.token_rows import TokenRows
from tamis.engine import Engine
from tamis.models.causal_lm import folder_here
from tamis.prune.layer_scores import LayerScores
from tamis.prune.settings import PruneSettings
from tamis.runs.steps import Progress, Step
from tamis.train.tuned_model import TunedModel

LAYERS_PER_PART = 8
"""Layers that one part of a step scores, for criteria that look at one layer at a time."""
ONE_BY_ONE = ("magnitude", "ppl")
RANKED = ("sleb", "angular")
"""Criteria whose order is more than that of their scores."""


@dataclass(frozen=True)
class ScoreLayers:
    """Scores of some layers; runs wherever the engine puts it.

    Attributes
    ----------
    model : TunedModel
    criterion : str
    settings : PruneSettings
    documents : list of list of int
        Token ids of the texts to calibrate with.
    k : int
        Layers to go, and ``allowed`` which may, for criteria that look at several at once.
    allowed : tuple of bool
    seed : int
    """

    model: TunedModel
    criterion: str
    settings: PruneSettings
    documents: list[list[int]]
    k: int
    allowed: tuple[bool, ...]
    seed: int

    def __call__(self, layers: tuple[int, ...]) -> pl.DataFrame:
        """Return the columns ``layer`` and ``score``, and ``rank`` where the criterion gives one."""
        if self.criterion == "magnitude":
            return _frame(layers, [self._magnitude(layer) for layer in layers])
        network, windows = self.model.network(), self._windows()
        if self.criterion == "ppl":
            from tamis.prune.criteria.leave_one_out import losses_without, perplexity

            return _frame(layers, perplexity(losses_without(network, windows, layers), windows.shape[1]))
        if self.criterion in ("bi", "bi-flat"):
            from tamis.prune.criteria.block_influence import block_influence

            values = block_influence(network, windows, reduction="token" if self.criterion == "bi" else "flat")
            return _frame(layers, values)
        if self.criterion == "taylor":
            from tamis.prune.criteria.taylor import taylor

            absolute: Any = self.settings.taylor_absolute
            return _frame(layers, taylor(network, windows, absolute=absolute))
        return self._ranked(network, windows)

    def _ranked(self, network: Any, windows: Any) -> pl.DataFrame:
        """Scores and ranks of a criterion that looks at several layers at once."""
        allowed = np.array(self.allowed)
        if self.criterion == "angular":
            from tamis.prune.criteria.angular import angular_block

            blocks = angular_block(network, windows, self.k, allowed=allowed)
            first: list[int] = list(range(blocks.start, blocks.start + self.k))
            scores = blocks.scores
        else:
            from tamis.prune.criteria.leave_one_out import sleb

            found = sleb(network, windows, self.k, allowed=allowed)
            first, scores = list(found.order), found.scores
        rest = sorted((layer for layer in range(len(scores)) if layer not in first), key=lambda i: (scores[i], i))
        return _frame(range(len(scores)), scores).with_columns(rank=pl.Series(np.argsort([*first, *rest])))

    def _magnitude(self, layer: int) -> float:
        from safetensors import safe_open

        from tamis.prune.criteria.magnitude import layer_magnitude
        from tamis.prune.surgery.checkpoint import Checkpoint

        checkpoint = Checkpoint.open(Path(folder_here(self.model.model)))

        def tensors() -> Any:
            for name in checkpoint.names_of(layer):
                with safe_open(checkpoint.tensors[name].file, framework="pt") as file:
                    yield name, file.get_tensor(name)

        reduction: Any = self.settings.magnitude_reduction
        power: Any = self.settings.magnitude_p
        return layer_magnitude(tensors(), reduction=reduction, p=power)

    def _windows(self) -> Any:
        from tamis.prune.criteria.windows import calibration_windows

        return calibration_windows(
            self.documents, n=self.settings.n_windows, seq_len=self.settings.seq_len, seed=self.seed
        )


def _frame(layers: Any, scores: Any) -> pl.DataFrame:
    return pl.DataFrame({"layer": list(layers), "score": np.asarray(scores, dtype=np.float64)})


def score_layers(
    step: Step, task: ScoreLayers, n_layers: int, *, engine: Engine, progress: Progress | None
) -> LayerScores:
    """Score all layers, once.

    Raises
    ------
    DataError
        If the criterion gives a score that is not finite, or texts are too short.
    """
    if not step.complete:
        size = LAYERS_PER_PART if task.criterion in ONE_BY_ONE else n_layers
        shards = [tuple(range(a, min(a + size, n_layers))) for a in range(0, n_layers, size)]
        step.map(task, shards, engine=engine, sizes=[len(each) for each in shards], progress=progress)
    return LayerScores(pl.concat(list(step.parts())), criterion=task.criterion)


@dataclass(frozen=True)
class LossWithout:
    """Losses of records by a model with some layers left out; runs wherever the engine puts it."""

    model: TunedModel
    rows: TokenRows

    def __call__(self, dropped: tuple[int, ...]) -> pl.DataFrame:
        """Return the columns ``unit_id``, ``loss`` (nats, summed) and ``tokens``."""
        from tamis.prune.criteria.skipping import skipped
        from tamis.train.token_losses import held_out_loss

        network = self.model.network()
        with skipped(network, dropped):
            sums, counts = held_out_loss(network, self.rows, np.ones(len(self.rows.ids), dtype=bool))
        return pl.DataFrame({"unit_id": self.rows.unit_ids, "loss": sums, "tokens": counts})


def losses_of_cuts(
    step: Step, task: LossWithout, cuts: list[tuple[int, ...]], *, engine: Engine, progress: Progress | None
) -> list[pl.DataFrame]:
    """Losses of each of these cuts, once."""
    if not step.complete:
        step.map(task, cuts, engine=engine, sizes=[1] * len(cuts), progress=progress)
    return list(step.parts())
