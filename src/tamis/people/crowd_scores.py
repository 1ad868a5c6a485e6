"""All workers of a crowd scored under every conditioning, and the lowest of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.data import AnswerCodes
from tamis.data.llm_labels import AlignedLabels
from tamis.people.scoring import Estimator, Terms, score_answers
from tamis.people.strata import Floats, Strata
from tamis.people.virtual import written_by
from tamis.people.worker_scores import FEWEST, WorkerScores, score_workers
from tamis.runs.digests import derive_seed


@dataclass(frozen=True, eq=False)
class Condition:
    """One model: the sample of its labels that is conditioned on, and further samples for virtual workers.

    Attributes
    ----------
    model : str
    z : ndarray of int32, shape (n_tasks,)
        Its first sample, -1 where there is no label.
    others : ndarray of int32, shape (samples, n_tasks)
        Its further samples.
    """

    model: str
    z: NDArray[np.int32]
    others: NDArray[np.int32]

    @classmethod
    def of(cls, aligned: AlignedLabels) -> list[Condition]:
        """Take the first sample of each model that labelled an answered task; later samples make virtual workers."""
        found = []
        for model in dict.fromkeys(name for name, _ in aligned.names):
            samples = [labels for labels in aligned.of(model) if (labels >= 0).any()]
            if samples:
                others = np.stack(samples[1:]) if samples[1:] else np.empty((0, len(samples[0])), dtype=np.int32)
                found.append(cls(model, samples[0], others))
        return found


def score_condition(
    codes: AnswerCodes, conditions: Sequence[Condition], index: int, *, estimator: Estimator, seed: int
) -> Terms:
    """Score all answers conditioned on one model, the real ones and those of the virtual workers of every model.

    Parameters
    ----------
    codes : AnswerCodes
    conditions : sequence of Condition
    index : int
        Which of them; -1 conditions on nothing, and has no virtual workers: correlated agreement (CA).
    estimator : Estimator
    seed : int
        Of the run; matters for the random penalty only.
    """
    rng = np.random.default_rng(derive_seed(seed, "penalty", index))
    if index < 0:
        return score_answers(Strata.whole(codes), estimator=estimator, rng=rng)
    pasted = np.concatenate([each.others for each in conditions])
    strata = Strata.of(codes, conditions[index].z)
    return score_answers(strata, written_by(pasted, codes.task), estimator=estimator, rng=rng)


@dataclass(frozen=True, eq=False)
class CrowdScores:
    """Scores of all workers.

    Attributes
    ----------
    score : ndarray of shape (n_workers,)
        The lowest over models of the conditioned scores, over those with enough answers; CA if there is no model. nan
        for workers without enough answers.
    se : ndarray of shape (n_workers,)
        Standard error of that score.
    n_scored : ndarray of int, shape (n_workers,)
        Answers that went into it.
    lowest : ndarray of int, shape (n_workers,)
        The model that gave it, -1 for none.
    used : ndarray of bool, shape (n_workers, M)
        Under which models the worker has enough answers.
    ca : WorkerScores
        Nothing conditioned on.
    conditioned : tuple of WorkerScores, length M
    virtual : tuple of ndarray, length M, each of shape (n_workers, samples)
        Score of a virtual worker who pastes each further sample of each model, nan where that cannot be known.
    """

    score: Floats
    se: Floats
    n_scored: NDArray[np.int64]
    lowest: NDArray[np.intp]
    used: NDArray[np.bool_]
    ca: WorkerScores
    conditioned: tuple[WorkerScores, ...]
    virtual: tuple[Floats, ...]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Workers with a score, shape (n_workers,)."""
        return ~np.isnan(self.score)


def crowd_scores(
    ca: Terms,
    conditioned: Sequence[Terms],
    conditions: Sequence[Condition],
    *,
    min_answers: int,
    count_all: bool = False,
    renormalise: bool = False,
) -> CrowdScores:
    """Average the terms of every worker and take the lowest score over models.

    Parameters
    ----------
    ca : Terms
    conditioned : sequence of Terms
        In the order of ``conditions``.
    conditions : sequence of Condition
    min_answers : int
        Answers that a worker needs under a model; fewer do not count there.
    count_all : bool, default False
        Whether all answers of a worker count towards ``min_answers``, as published, or those that could be scored.
    renormalise : bool, default False

    Notes
    -----
    A joint stratification by several models would make strata too thin; the minimum asks instead whether *one* of the
    models explains what a worker shares with the others.
    """
    codes = ca.strata.codes
    plain = score_workers(ca, renormalise=renormalise)
    found = [score_workers(terms, renormalise=renormalise) for terms in conditioned]
    scored = found or [plain]
    n = np.column_stack([each.n[:, 0] for each in scored])
    enough = (codes.per_worker[:, None] if count_all else n) >= min_answers
    score = np.column_stack([each.score[:, 0] for each in scored])
    used = enough & ~np.isnan(score)
    lowest = np.where(used, score, np.inf).argmin(axis=1)
    nobody = ~used.any(axis=1)

    def of_lowest(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.take_along_axis(values, lowest[:, None], axis=1)[:, 0]

    return CrowdScores(
        score=np.where(nobody, np.nan, of_lowest(score)),
        se=np.where(nobody, np.nan, of_lowest(np.column_stack([each.se[:, 0] for each in scored]))),
        n_scored=np.where(nobody, n.max(axis=1), of_lowest(n)),
        lowest=np.where(nobody | (not found), -1, lowest),
        used=used,
        ca=plain,
        conditioned=tuple(found),
        virtual=tuple(_virtual(found, used, conditions, FEWEST if count_all else min_answers)),
    )


def _virtual(
    found: Sequence[WorkerScores], used: NDArray[np.bool_], conditions: Sequence[Condition], min_answers: int
) -> list[Floats]:
    """Lowest score over models of each virtual worker, model by model; nan for those with too few pasted answers."""
    scores, first = [], 1
    for condition in conditions:
        stop = first + len(condition.others)
        each = np.stack([model.score[:, first:stop] for model in found])
        enough = np.stack([model.n[:, first:stop] for model in found]) >= min_answers
        known = used.T[:, :, None] & enough & ~np.isnan(each)
        lowest = np.where(known, each, np.inf).min(axis=0)
        scores.append(np.where(np.isinf(lowest), np.nan, lowest))
        first = stop
    return scores
