"""From scores to the layers that go: one criterion, or the best of several by what the cut model loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import DataError
from tamis.prune.criteria_list import GIVEN
from tamis.prune.evidence import perplexity
from tamis.prune.layer_scores import LayerScores
from tamis.prune.pruner import LayerPruner
from tamis.prune.settings import PruneSettings

_INSTEAD = "compute in float32 (--dtype float32), and if that does not help, look for damaged weights"
Losses = Callable[[str, list[tuple[int, ...]]], list[pl.DataFrame] | None]


@dataclass(frozen=True)
class Chosen:
    """A choice of layers, and what it was chosen from.

    Attributes
    ----------
    pruner : LayerPruner
        Fitted.
    scores : LayerScores
        That it was fitted on.
    measured : list of LayerScores
        All criteria that were computed, the chosen one among them.
    candidates : list of dict
        ``criterion, dropped, perplexity`` of each cut that was compared; empty if one criterion was asked for.
    dense : list of float or None
        Perplexity of the uncut model on the same records.
    curve : list of dict
        ``dropped`` (how many) and ``perplexity``, layers going in the chosen order; without cuts that are broken.
    broken : list of str
        Criteria whose cut gives no finite loss, so that nothing can be said of it.
    """

    pruner: LayerPruner
    scores: LayerScores
    measured: list[LayerScores]
    candidates: list[dict[str, Any]]
    dense: list[float] | None
    curve: list[dict[str, Any]]
    broken: list[str]

    def table(self) -> pl.DataFrame:
        """Layers with a column of scores for each criterion."""
        columns = [each.frame["score"].alias(each.criterion) for each in self.measured]
        return pl.DataFrame([self.scores.frame["layer"], pl.Series("unit_id", self.scores.unit_ids), *columns])


def choose(scores: Sequence[LayerScores], settings: PruneSettings, seed: int, *, losses: Losses) -> Chosen:
    """Decide which layers go.

    With several scores, each is cut by its own order, and the cut with the lowest perplexity before any healing wins
    (of equal ones the earlier).

    Parameters
    ----------
    scores : sequence of LayerScores
    settings : PruneSettings
    seed : int
    losses : callable
        From a step's name and cuts (layers dropped) to losses of the records to choose with, or None without any.

    Raises
    ------
    RecipeError, DataError
        See :meth:`LayerPruner.fit`; DataError too if the uncut model, or each of the cuts, gives no finite loss.
    """
    pruners = [settings.pruner(each.criterion, len(each), seed).fit(each) for each in scores]
    dense, candidates, best = None, [], 0
    broken: list[str] = []
    known: dict[frozenset[int], list[float]] = {}
    if len(scores) > 1:
        found = losses("candidates", [(), *(each.dropped_ for each in pruners)])
        if found is not None:
            dense, *values = [_perplexity(each) for each in found]
            _require_finite(dense)
            known = {frozenset(each.dropped_): value for each, value in zip(pruners, values, strict=True)}
            known[frozenset()] = dense
            finite = [i for i, value in enumerate(values) if np.isfinite(value[0])]
            if not finite:
                raise DataError(f"No cut of the {len(scores)} candidates gives a finite loss; {_INSTEAD}.")
            candidates = [
                {"criterion": scores[i].criterion, "dropped": list(pruners[i].dropped_), "perplexity": values[i]}
                for i in finite
            ]
            broken = [scores[i].criterion for i in range(len(scores)) if i not in finite]
            best = min(finite, key=lambda i: values[i][0])
    pruner, own = pruners[best], scores[best]
    curve: list[dict[str, Any]] = []
    if own.criterion != GIVEN and not pruner.undecided_:
        longest = min(len(pruner.order_), len(pruner.dropped_) + settings.curve)
        cuts = [pruner.order_[:n] for n in range(longest + 1)]
        new = [cut for cut in cuts if frozenset(cut) not in known]
        found = losses("curve", new)
        if found is not None:
            known |= {frozenset(cut): _perplexity(each) for cut, each in zip(new, found, strict=True)}
            _require_finite(dense := known[frozenset()])
        for cut in cuts if known else ():
            point = known[frozenset(cut)]
            if np.isfinite(point[0]):
                curve.append({"dropped": len(cut), "layer": cut[-1] if cut else None, "perplexity": point})
            elif len(cut) == len(pruner.dropped_) and own.criterion not in broken:
                broken.append(own.criterion)
    return Chosen(pruner, own, list(scores), candidates, dense, curve, broken)


def _require_finite(dense: list[float]) -> None:
    if not np.isfinite(dense[0]):
        raise DataError(f"The uncut model gives no finite loss on held-out records; {_INSTEAD}.")


def _perplexity(frame: pl.DataFrame) -> list[float]:
    return list(perplexity(frame["loss"].to_list(), frame["tokens"].to_list()))
