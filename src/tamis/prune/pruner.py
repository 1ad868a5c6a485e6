"""``LayerPruner``: which layers go, given what a criterion says about each (Lu et al., arXiv 2411.15558)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, RecipeError, parameter_error
from tamis.estimator import Selector
from tamis.prune.criteria.order import random_scores, reverse_scores
from tamis.prune.layer_ranges import layer_id
from tamis.prune.layer_scores import LayerScores
from tamis.select import Selection

VERSION = 1
"""Of what a choice depends on besides its parameters and scores."""
RANKINGS = ("score", "reverse", "random")
STEP = "decide"


class LayerPruner(Selector):
    """Drop the k layers with the lowest scores; of equal scores the lower index.

    The paper drops the last k (``rank_by="reverse"``), one-shot, a quarter of the layers. A layer whose score could
    not be measured is not decided about.

    Parameters
    ----------
    ratio : float, default=0.25
        Share of the LAYERS to drop, in (0, 1); k is its floor. A quarter of the layers is less than a quarter of the
        parameters, since embeddings and head stay.
    n_drop : int, optional
        k itself; it wins over ``ratio``.
    protect_first : int, default=0
        First layers, which stay.
    protect_last : int, default=0
        Last layers, which stay.
    protect : tuple of int, default=()
        Further layers that stay.
    rank_by : {"score", "reverse", "random"}, default="score"
        By the scores, or a baseline.
    seed : int, default=42
        For ``rank_by="random"``.

    Attributes
    ----------
    dropped_ : tuple of int
    kept_ : tuple of int
        In order, undecided layers left out.
    order_ : tuple of int
        Layers that may go, the first to go first.
    undecided_ : tuple of int
        Layers without a measurement.
    protected_ : ndarray of bool, shape (N,)
    selection_ : Selection
        Of layers, units ``layer-NNN``; the score is the criterion's (higher = more wanted).

    Examples
    --------
    >>> scores = LayerScores.of([0.9, 0.2, 0.1, 0.3], criterion="bi")
    >>> LayerPruner(n_drop=2).fit(scores).dropped_, LayerPruner().fit(scores).dropped_
    ((1, 2), (2,))
    >>> LayerPruner(n_drop=2, rank_by="reverse", protect_last=1).fit(scores).kept_
    (0, 3)
    """

    def __init__(
        self,
        *,
        ratio: float = 0.25,
        n_drop: int | None = None,
        protect_first: int = 0,
        protect_last: int = 0,
        protect: tuple[int, ...] = (),
        rank_by: str = "score",
        seed: int = 42,
    ) -> None:
        self.ratio = ratio
        self.n_drop = n_drop
        self.protect_first = protect_first
        self.protect_last = protect_last
        self.protect = protect
        self.rank_by = rank_by
        self.seed = seed

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        RecipeError
            If one is wrong.
        """
        name = type(self).__name__
        if isinstance(self.ratio, bool) or not isinstance(self.ratio, int | float) or not 0 < self.ratio < 1:
            raise parameter_error(name, "ratio", "a float in (0, 1)", self.ratio)
        for parameter, least in (("n_drop", 1), ("protect_first", 0), ("protect_last", 0)):
            value = getattr(self, parameter)
            if value is None and parameter == "n_drop":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise parameter_error(name, parameter, f"an int in [{least}, inf)", value)
        if not isinstance(self.protect, tuple | list) or any(
            isinstance(layer, bool) or not isinstance(layer, int) for layer in self.protect
        ):
            raise parameter_error(name, "protect", "a tuple of layers", self.protect)
        if self.rank_by not in RANKINGS:
            raise parameter_error(name, "rank_by", f"one of {', '.join(map(repr, RANKINGS))}", self.rank_by)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise parameter_error(name, "seed", "an int", self.seed)

    def fit(self, scores: LayerScores) -> Self:
        """Decide which layers go.

        Parameters
        ----------
        scores : LayerScores
            Of all N layers.

        Returns
        -------
        LayerPruner

        Raises
        ------
        RecipeError
            If a parameter is wrong, or protection leaves fewer layers than are to go.
        DataError
            If there is one layer, or none was measured.
        """
        self.validate()
        n = len(scores)
        if n < 2:
            raise DataError(f"A model needs at least two layers to lose one. Got {n} instead.")
        k = self.count(n)
        measured = scores.frame["score"].is_not_null().to_numpy()
        if not measured.any():
            raise DataError(f"None of the {n} layers has a score by {scores.criterion!r}, so nothing can be chosen.")
        protected = self.protection(n)
        self.require_free(n, unmeasured=np.flatnonzero(~measured).tolist())
        order = [layer for layer in self._order(scores) if measured[layer] and not protected[layer]]
        self.protected_, self.order_ = protected, tuple(order)
        self.dropped_ = tuple(sorted(order[:k]))
        self.undecided_ = tuple(np.flatnonzero(~measured).tolist())
        self.kept_ = tuple(layer for layer in range(n) if layer not in {*self.dropped_, *self.undecided_})
        self.selection_: Selection = _selection(scores, order[:k], protected, self.rank_by)
        return self

    def count(self, n_layers: int) -> int:
        """How many of so many layers go.

        Raises
        ------
        RecipeError
            If it is none, or all of them.

        Examples
        --------
        >>> LayerPruner().count(30), LayerPruner(n_drop=3).count(30)
        (7, 3)
        """
        # 0.29 of 100 are 29, though 0.29 * 100 is a little less
        k = math.floor(self.ratio * n_layers + 1e-9) if self.n_drop is None else self.n_drop
        if not 0 < k < n_layers:
            asked = f"a ratio of {self.ratio}" if self.n_drop is None else f"{self.n_drop} layers"
            raise RecipeError(
                f"Of {n_layers} layers, {asked} would drop {k}; at least one has to go and at least one to stay."
            )
        return k

    def require_free(self, n_layers: int, *, unmeasured: Sequence[int] = ()) -> None:
        """Raise RecipeError if fewer layers may go than are to go."""
        k, protected = self.count(n_layers), np.flatnonzero(self.protection(n_layers)).tolist()
        free = n_layers - len({*protected, *unmeasured})
        if free < k:
            raise RecipeError(
                f"{k} of {n_layers} layers are to go, but {len(protected)} are protected"
                + (f" and {len(unmeasured)} have no score" if unmeasured else "")
                + f", which leaves {free}; protect fewer or drop fewer."
            )

    def protection(self, n_layers: int) -> NDArray[np.bool_]:
        """Layers that stay whatever their scores, shape (N,)."""
        protected = np.zeros(n_layers, dtype=bool)
        protected[: self.protect_first] = True
        protected[n_layers - min(self.protect_last, n_layers) :] = True
        for layer in self.protect:
            if not 0 <= layer < n_layers:
                raise parameter_error(type(self).__name__, "protect", f"layers from 0 to {n_layers - 1}", self.protect)
            protected[layer] = True
        return protected

    def _order(self, scores: LayerScores) -> Sequence[int]:
        if self.rank_by == "score":
            return scores.order
        return LayerScores.of(self.baseline(len(scores)), criterion=self.rank_by).order

    def baseline(self, n_layers: int) -> NDArray[np.float64]:
        """Scores of the baseline that ``rank_by`` names, shape (N,)."""
        return reverse_scores(n_layers) if self.rank_by == "reverse" else random_scores(n_layers, seed=self.seed)


def _selection(scores: LayerScores, dropped: Sequence[int], protected: NDArray[np.bool_], rank_by: str) -> Selection:
    """Decision, score, rank and reason of each layer; rank 0 is the layer that is wanted most."""
    name = scores.criterion if rank_by == "score" else rank_by
    place = {layer: number for number, layer in enumerate(dropped, 1)}
    order = list(scores.order)
    rows: list[dict[str, Any]] = []
    for layer, score, rank in scores.frame.iter_rows():
        if score is None:
            decision, reason = None, f"{name}: no finite score"
        elif layer in place:
            decision, reason = "drop", f"{name}: number {place[layer]} of {len(dropped)} to go"
        elif protected[layer]:
            decision, reason = "keep", "protected"
        else:
            decision, reason = "keep", f"{name}: behind the {len(dropped)} that go"
        rows.append({"unit_id": layer_id(layer), "decision": decision, "score": score,
                     "rank": None if rank is None else len(order) - 1 - order.index(layer), "reason": reason,
                     "step": STEP})  # fmt: skip
    return Selection(
        pl.DataFrame(rows, schema_overrides={"decision": pl.String, "rank": pl.Int64, "score": pl.Float64})
    )
