"""The table with one row a worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from tamis.data import Answers
from tamis.people.crowd_scores import Condition, CrowdScores
from tamis.people.diagnostics import output_agreement, similarity
from tamis.people.scoring import Terms
from tamis.people.strata import Floats
from tamis.people.virtual import Reference, paired_z, virtual_quantile
from tamis.people.worker_scores import score_workers


def worker_table(
    answers: Answers,
    conditions: Sequence[Condition],
    scores: CrowdScores,
    intervals: Floats,
    skill: Floats,
    strictest: Reference | None,
    z: Floats,
) -> pl.DataFrame:
    """Everything that is known about each worker, in order of their names; null where it is not known.

    Parameters
    ----------
    answers : Answers
    conditions : sequence of Condition
    scores : CrowdScores
    intervals : ndarray of shape (2, n_workers)
    skill : ndarray of shape (n_workers,)
        Dawid-Skene's.
    strictest : Reference or None
        The virtual workers that set the threshold.
    z : ndarray of shape (n_workers,)
        :func:`paired_scores`.

    Returns
    -------
    polars.DataFrame
        ``worker, n_answers, n_scored, score, se, low, high, model`` (the one that explains most), ``ca, ca_se, oa,
        skill, virtual_quantile, paired_z``, and for each model M ``score:M, similarity:M, oa_z:M``.
    """
    codes = answers.codes
    names = pl.Series([each.model for each in conditions], dtype=pl.String)
    lowest = pl.Series(scores.lowest).replace(-1, None).cast(pl.UInt32)
    quantile = np.full(codes.n_workers, np.nan) if strictest is None else virtual_quantile(scores.score, strictest)
    columns: dict[str, object] = {
        "worker": answers.workers,
        "n_answers": codes.per_worker,
        "n_scored": scores.n_scored,
        "score": scores.score,
        "se": scores.se,
        "low": intervals[0],
        "high": intervals[1],
        "model": names.gather(lowest) if len(names) else pl.Series([None] * codes.n_workers, dtype=pl.String),
        "ca": scores.ca.score[:, 0],
        "ca_se": scores.ca.se[:, 0],
        "oa": output_agreement(codes),
        "skill": skill,
        "virtual_quantile": quantile,
        "paired_z": z,
    }
    for each, found in zip(conditions, scores.conditioned, strict=True):
        columns[f"score:{each.model}"] = found.score[:, 0]
        columns[f"similarity:{each.model}"] = similarity(codes, each.z)
        columns[f"oa_z:{each.model}"] = output_agreement(codes, each.z)
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))


def paired_scores(
    terms: Sequence[Terms],
    conditions: Sequence[Condition],
    scores: CrowdScores,
    *,
    min_answers: int,
    renormalise: bool = False,
) -> Floats:
    """Lowest paired z over models: each worker against a virtual worker in the same place, answer by answer.

    Parameters
    ----------
    terms : sequence of Terms
        In the order of ``conditions``.
    conditions : sequence of Condition
    scores : CrowdScores
    min_answers : int
        Answers with a pasted one beside them that a worker needs.
    renormalise : bool, default False

    Returns
    -------
    ndarray of shape (n_workers,)
        nan without a virtual worker.
    """
    lowest, first = np.full(len(scores.score), np.inf), 1
    for index, (model, condition) in enumerate(zip(terms, conditions, strict=True)):
        stop = first + len(condition.others)
        if stop > first:
            pasted = model.values[:, first:stop]
            known = ~np.isnan(pasted)
            total = np.where(known, pasted, 0.0).sum(axis=1)
            mean = np.divide(total, known.sum(axis=1), out=np.full(len(total), np.nan), where=known.any(axis=1))
            found = score_workers(Terms(model.strata, (model.values[:, 0] - mean)[:, None]), renormalise=renormalise)
            z = np.where(found.n[:, 0] >= min_answers, paired_z(found.score[:, 0], found.se[:, 0]), np.nan)
            lowest = np.where(scores.used[:, index] & ~np.isnan(z), np.minimum(lowest, z), lowest)
        first = stop
    return np.where(np.isinf(lowest), np.nan, lowest)
