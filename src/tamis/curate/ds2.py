"""DS2: curate LLM ratings through their transition matrix, then select a diverse best subset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import numpy as np

from tamis.curate.budget import canonical_order, fill_budget
from tamis.curate.longtail import longtail_score
from tamis.curate.rater_curation import curate_rater
from tamis.curate.ratings import combine_scores, labels_by_rater, require_truth
from tamis.data import Signal, Table
from tamis.engine import get_engine
from tamis.errors import DataError, parameter_error
from tamis.estimator import Selector
from tamis.models import embed_texts, get_embedder
from tamis.neighbors import NeighborGraph, knn_graph, unit_rows

VERSION = 1
"""Part of every step key: raised when a change of this method changes its results."""


class DS2(Selector):
    """Curate rated records: find the ratings that cannot be trusted, correct them, select the best and rarest.

    Parameters
    ----------
    budget : int
        Records to select.
    fidelity : {"product", "paper"}, default "product"
        ``"paper"`` follows the published algorithm and its released settings: 50 subsamples for the matrix, one fit
        without repair of swapped classes, epochs on fresh subsamples with the record itself among its neighbours,
        Laplace terms in the confidence. ``"product"`` answers from one neighbour graph, repairs swapped classes,
        gives intervals, and refuses corrections that its matrix cannot carry.
    rule : {"rank", "vote"}, default "rank"
        How a round flags ratings: the lowest agreements of each class in the share that the matrix implies, or every
        rating that differs from its neighbours' vote. The vote rule needs no matrix.
    scale : str, default "auto"
        The raters' scale: ``"0-5"``, ``"1-10"`` (compressed to six classes), any ``"LOW-HIGH"``, ``"quantile:K"``.
    threshold : float, default 0.5
        Confidence from which a rating is replaced.
    correct : {"usable", "all", "none"}, default "usable"
        Which classes the rank rule may correct: those that the matrix identifies, all, or none.
    neighbors : int, default 10
        Neighbours for agreement and rarity, the record itself not counted.
    graph_neighbors : int, default 40
        Neighbours kept in the graph; hiding half the pool must leave ``neighbors`` of them.
    rounds : int, default 51
        Detection rounds, at most 64. Every record appears in each (in the paper's form: by chance).
    rater : str or None, default None
        Use this rater only.
    combine : {"mean", "median", "min", "max"}, default "mean"
        How several raters' curated classes become one score. Each rater keeps a matrix of its own.
    criterion : str, default "overall"
        Which criterion of the ratings to use.
    n_bootstrap : int, default 100
        Bootstrap replicates for the intervals of the matrix.
    n_restarts : int, default 4
        Starts of the matrix fit; the lowest loss wins.
    naming : {"matching", "order"}, default "matching"
        How swapped hidden classes are repaired: by a Hungarian assignment to the labels, or by sorting them by their
        mean score. The paper does neither.
    index : {"exact", "ivf", "hnsw"}, default "exact"
        Neighbour search; the approximate ones report the recall measured on this pool.
    embedder : str, default "minilm"
        Used when neither embeddings nor a graph is given.
    seed : int, default 0
        Seed of every random step.

    Attributes
    ----------
    raters_ : dict of str to RaterCuration
        Findings by rater.
    graph_ : NeighborGraph
        The neighbour graph.
    score_ : ndarray of shape (n,), float64
        Curated score; NaN where no rater measured the record.
    longtail_ : ndarray of shape (n,), float64
        Rarity, higher = rarer.
    selection_ : Selection
        Decision, score, rank and reason of each record. Records without a rating are undecided.

    Notes
    -----
    Clusterability of quality scores is assumed (a record and its nearest neighbours deserve the same rating), and
    errors that do not depend on content given the true class. A bias that all neighbours share is invisible.

    Ties are broken by record id instead of row number, so that the order of the rows changes nothing.

    References
    ----------
    Pang et al., "Improving Data Efficiency via Curating LLM-Driven Rating Systems", arXiv 2410.10877, ICLR 2025.

    Examples
    --------
    >>> import numpy as np, polars as pl
    >>> from tamis.data import Table
    >>> from tamis.curate import DS2
    >>> rng = np.random.default_rng(0)
    >>> quality = np.repeat([1, 5], 60)
    >>> vectors = np.eye(2)[(quality == 5).astype(int)] + 0.05 * rng.normal(size=(120, 2))
    >>> pool = Table.from_frame(pl.DataFrame({"text": [f"record {i}" for i in range(120)]}))
    >>> ratings = quality.copy()
    >>> ratings[:6] = 5  # the judge was too kind to six poor records
    >>> ds2 = DS2(budget=60, rule="vote", n_bootstrap=0).fit(pool, ratings=ratings, embeddings=vectors)
    >>> ds2.select().counts()
    {'keep': 60, 'drop': 60, 'undecided': 0}
    >>> int(ds2.raters_["rating"].corrected.sum())
    6
    """

    def __init__(
        self,
        budget: int,
        *,
        fidelity: Literal["product", "paper"] = "product",
        rule: Literal["rank", "vote"] = "rank",
        scale: str = "auto",
        threshold: float = 0.5,
        correct: Literal["usable", "all", "none"] = "usable",
        neighbors: int = 10,
        graph_neighbors: int = 40,
        rounds: int = 51,
        rater: str | None = None,
        combine: Literal["mean", "median", "min", "max"] = "mean",
        criterion: str = "overall",
        n_bootstrap: int = 100,
        n_restarts: int = 4,
        naming: Literal["matching", "order"] = "matching",
        index: Literal["exact", "ivf", "hnsw"] = "exact",
        embedder: str = "minilm",
        seed: int = 0,
    ) -> None:
        self.budget = budget
        self.fidelity = fidelity
        self.rule = rule
        self.scale = scale
        self.threshold = threshold
        self.correct = correct
        self.neighbors = neighbors
        self.graph_neighbors = graph_neighbors
        self.rounds = rounds
        self.rater = rater
        self.combine = combine
        self.criterion = criterion
        self.n_bootstrap = n_bootstrap
        self.n_restarts = n_restarts
        self.naming = naming
        self.index = index
        self.embedder = embedder
        self.seed = seed

    def fit(
        self,
        table: Table,
        *,
        ratings: str | Signal | np.ndarray,
        embeddings: np.ndarray | None = None,
        graph: NeighborGraph | None = None,
        truth: np.ndarray | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Curate the ratings of ``table`` and make the selection.

        Parameters
        ----------
        table : Table
            The pool, n rows.
        ratings : str, Signal, or ndarray of shape (n,)
            Name of a column, a long Signal, or one rating a row (NaN where it is missing).
        embeddings : ndarray of shape (n, d), optional
            One vector a row. Default: the texts, embedded with ``embedder``.
        graph : NeighborGraph, optional
            A precomputed graph over the rows of ``table``; replaces ``embeddings``.
        truth : ndarray of shape (n,), optional
            True ratings on the raters' scale, where known (NaN elsewhere): both rules are then scored against them.
            They never influence the selection.
        progress : callable, optional
            Called with (records searched, records in all).

        Returns
        -------
        self

        Raises
        ------
        RecipeError
            If a parameter is out of range.
        DataError
            If the pool is too small, the ratings are absent, constant or outside the scale, or vectors do not fit.
        """
        self.validate(n_rows=len(table))
        labels = labels_by_rater(table, ratings, criterion=self.criterion, rater=self.rater, scale=self.scale)
        require_truth(truth, labels)
        X = None
        if graph is None:
            order = canonical_order(table)
            X = unit_rows(self._embed(table) if embeddings is None else embeddings_of(embeddings, table), copy=False)
            X = X if np.array_equal(order, np.arange(len(order))) else X[order]
            graph = knn_graph(X, k=self.graph_neighbors, method=self.index, seed=self.seed, progress=progress)
            X, graph = X[graph.first] if self.fidelity == "paper" else None, graph.for_rows(order)
        elif graph.n_rows != len(table):
            raise DataError(f"The graph is about {graph.n_rows} rows and the table has {len(table)}.")
        elif self.fidelity == "paper":
            raise DataError("DS2 with fidelity='paper' searches fresh subsamples: pass embeddings, not a graph.")
        ids = table.ids.gather(graph.first).to_list()
        self.graph_ = graph
        self.longtail_ = self._longtail(graph)[graph.group]
        self.raters_ = {r.rater: curate_rater(self, r, graph, ids, X=X, truth=truth) for r in labels}
        self.score_ = combine_scores([c.curated for c in self.raters_.values()], self.combine)
        self.selection_ = fill_budget(
            table,
            score=self.score_,
            longtail=self.longtail_,
            origin=self._origin(),
            score_names=labels[0].scale.names if len(labels) == 1 else None,
            budget=self.budget,
            ties="row" if self.fidelity == "paper" else "id",
        )
        return self

    def validate(self, *, n_rows: int | None = None) -> None:
        """Raise RecipeError for the first parameter that is out of range.

        Parameters
        ----------
        n_rows : int, optional
            Size of the pool, when it is known: the budget must not exceed it.
        """
        choices = {
            "fidelity": ("product", "paper"),
            "rule": ("rank", "vote"),
            "correct": ("usable", "all", "none"),
            "combine": ("mean", "median", "min", "max"),
            "index": ("exact", "ivf", "hnsw"),
            "naming": ("matching", "order"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise parameter_error("DS2", name, f"one of {', '.join(map(repr, allowed))}", getattr(self, name))
        whole = {
            "budget": (1, None), "neighbors": (2, 15), "graph_neighbors": (self.neighbors, None), "rounds": (1, 64),
            "n_bootstrap": (0, None), "n_restarts": (1, None), "seed": (0, None),
        }  # fmt: skip
        for name, (low, high) in whole.items():
            value = getattr(self, name)
            integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not integer or value < low or (high is not None and value > high):
                span = f"[{low}, inf)" if high is None else f"[{low}, {high}]"
                raise parameter_error("DS2", name, f"an int in {span}", value)
        if self.n_bootstrap == 1:
            raise parameter_error("DS2", "n_bootstrap", "0 or an int in [2, inf)", self.n_bootstrap)
        number = isinstance(self.threshold, int | float | np.number) and not isinstance(self.threshold, bool)
        if not number or not 0 < self.threshold <= 1:
            raise parameter_error("DS2", "threshold", "a float in (0, 1]", self.threshold)
        if self.fidelity == "paper" and self.rule != "rank":
            raise parameter_error("DS2", "rule", "'rank' when fidelity is 'paper'", self.rule)
        if n_rows is not None and n_rows < 3:
            raise DataError(f"The pool has {n_rows} row(s); DS2 needs at least 3, a record and two neighbours.")
        if n_rows is not None and self.budget > n_rows:
            raise parameter_error("DS2", "budget", f"at most the {n_rows} rows of the pool", self.budget)

    def _embed(self, table: Table) -> np.ndarray:
        return embed_texts(table.texts(), embedder=get_embedder(self.embedder), engine=get_engine("inline"))

    def _origin(self) -> np.ndarray:
        """Say of each record where its score comes from."""
        corrected = np.any([c.corrected for c in self.raters_.values()], axis=0)
        moved = np.any([c.curated != c.labels.observed for c in self.raters_.values()], axis=0)
        return np.where(corrected, "corrected", np.where(moved, "shared by exact copies:", "rated"))

    def _longtail(self, graph: NeighborGraph) -> np.ndarray:
        if self.fidelity == "paper":
            return np.round(longtail_score(graph.dist, self.neighbors, include_self=True), 4)
        return longtail_score(graph.dist, self.neighbors)


def embeddings_of(embeddings: np.ndarray, table: Table) -> np.ndarray:
    """Check that there is one vector a row.

    Raises
    ------
    DataError
        If there is not.
    """
    vectors = np.asarray(embeddings)
    if vectors.ndim != 2 or len(vectors) != len(table):
        raise DataError(f"The embeddings have shape {vectors.shape}; expected ({len(table)}, d), one vector a row.")
    return vectors
