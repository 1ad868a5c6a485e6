"""DS2 for one rater, section by section as in the paper: matrix, detection, aggregation, replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.curate.correction import Correction, aggregate_votes
from tamis.curate.official import detection_epochs, subsample_transition
from tamis.curate.ratings import RaterLabels
from tamis.curate.rules import RuleComparison, compare_rules
from tamis.neighbors import NeighborGraph
from tamis.noise import (
    RoundVotes,
    TransitionMatrix,
    estimate_transition,
    half_hidden_votes,
    knn_agreement,
    visibility_words,
)
from tamis.runs.digests import derive_seed

if TYPE_CHECKING:
    from tamis.curate.ds2 import DS2


@dataclass(frozen=True)
class RaterCuration:
    """What DS2 found out about one rater. Arrays run over the rows of the table; exact copies share their values.

    Attributes
    ----------
    labels : RaterLabels
        The rater's scale and classes.
    transition : TransitionMatrix
        How the rater confuses classes, as far as neighbourhoods tell: inconsistency, not accuracy.
    agreement : ndarray of shape (n,), float64
        Agreement of a rating with those of the nearest neighbours, 0 to 1; NaN without a rating.
    correction : Correction
        Probability of a wrong rating, suggestion and confidence.
    curated : ndarray of shape (n,), int64
        Class after correction, -1 without a rating.
    corrected : ndarray of shape (n,), bool
        Ratings that were replaced by the neighbours' suggestion. ``curated`` may differ from the observed class where
        this is False: exact copies that were rated apart share the lower median of their ratings.
    rules : RuleComparison
        What the rank rule and the vote rule would flag, and which is better where truth is known.
    """

    labels: RaterLabels
    transition: TransitionMatrix
    agreement: np.ndarray
    correction: Correction
    curated: np.ndarray
    corrected: np.ndarray
    rules: RuleComparison


def curate_rater(
    ds2: DS2,
    labels: RaterLabels,
    graph: NeighborGraph,
    ids: list[str],
    *,
    X: np.ndarray | None,
    truth: np.ndarray | None,
) -> RaterCuration:
    """Estimate one rater's matrix, detect and correct ratings.

    Parameters
    ----------
    ds2 : DS2
        Its parameters.
    labels : RaterLabels
        Ratings of the n rows.
    graph : NeighborGraph
        Over the same rows.
    ids : list of str, length graph.n_unique
        Id of the first copy of each distinct record; they decide which half of the pool a round hides.
    X : ndarray of shape (graph.n_unique, d) or None
        Unit vectors; given for ``fidelity="paper"`` only, which searches subsamples anew.
    truth : ndarray of shape (n,) or None
        True ratings, for the comparison of the rules only.
    """
    observed = labels.of_groups(graph)  # exact copies count once
    transition = _transition(ds2, labels, observed, graph, X)
    votes = _detect(ds2, labels, observed, transition, graph, ids, X)
    correction = aggregate_votes(votes, observed, smoothing=X is not None)
    curated = correction.curated(observed, ds2.threshold, classes=correctable_classes(ds2, transition))
    agreement = knn_agreement(observed, graph.idx, graph.dist, labels.scale.n_classes, k=min(ds2.neighbors, graph.k))
    known = None if truth is None else labels.classes_of_groups(np.asarray(truth, dtype=np.float64), graph)
    by_row, rated = graph.group, labels.observed >= 0
    return RaterCuration(
        labels=labels,
        transition=transition,
        agreement=np.where(rated, agreement.score[by_row], np.nan),
        correction=Correction(
            misrated_prob=np.where(rated, correction.misrated_prob[by_row], np.nan),
            suggested=np.where(rated, correction.suggested[by_row], -1),
            confidence=np.where(rated, correction.confidence[by_row], 0.0),
        ),
        curated=np.where(rated, curated[by_row], -1),
        corrected=rated & (curated != observed)[by_row],
        rules=compare_rules(observed, agreement, transition, known, curated=curated),
    )


def _transition(
    ds2: DS2, labels: RaterLabels, observed: np.ndarray, graph: NeighborGraph, X: np.ndarray | None
) -> TransitionMatrix:
    seed = derive_seed(ds2.seed, "transition", labels.rater)
    if X is not None:
        return subsample_transition(X, observed, labels.scale.names, np.random.default_rng(seed))
    return estimate_transition(
        observed,
        graph.idx,
        labels.scale.n_classes,
        n_restarts=ds2.n_restarts,
        n_bootstrap=ds2.n_bootstrap,
        naming=ds2.naming,
        duplicate_share=graph.duplicate_share,
        class_names=labels.scale.names,
        seed=seed,
    )


def _detect(
    ds2: DS2,
    labels: RaterLabels,
    observed: np.ndarray,
    transition: TransitionMatrix,
    graph: NeighborGraph,
    ids: list[str],
    X: np.ndarray | None,
) -> RoundVotes:
    """Flag ratings in repeated rounds; each flag votes for the class that the neighbours favour."""
    T, p = transition.T, transition.p
    if X is not None:
        rng = np.random.default_rng(derive_seed(ds2.seed, "epochs", labels.rater))
        return detection_epochs(X, observed, T, p, n_epochs=ds2.rounds, k=ds2.neighbors, rng=rng)
    return half_hidden_votes(
        observed,
        graph.idx,
        graph.dist,
        labels.scale.n_classes,
        visibility_words(ids, derive_seed(ds2.seed, "hidden half")),
        k=min(ds2.neighbors, graph.k),
        n_rounds=ds2.rounds,
        rule=ds2.rule,
        T=T,
        p=p,
    )


def correctable_classes(ds2: DS2, transition: TransitionMatrix) -> list[int]:
    """Observed classes in which ratings may be replaced. Doubt is measured and shown in all classes.

    The matrix guards the rank rule: classes it does not identify are left alone unless ``correct="all"``. When ratings
    do not follow the features at all, neither rule may correct anything.
    """
    everything = list(range(transition.n_classes))
    if ds2.correct == "none":
        return []
    if ds2.correct == "all" or ds2.fidelity == "paper":
        return everything
    if ds2.rule == "vote":
        return everything if transition.diagnostics.agreement.follows_features else []
    return list(transition.usable_classes)
