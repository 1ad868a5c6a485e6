"""Everything that the report shows about a crowd, as JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tamis.data import Answers
from tamis.evidence.agreement import rank_correlation
from tamis.evidence.resampling import share_interval, to_json
from tamis.people.crowd_scores import Condition
from tamis.people.peer import PeerPrediction
from tamis.people.removal import coverage_curve
from tamis.people.scoring import stratum_joint
from tamis.people.strata import Floats, Strata
from tamis.runs.digests import derive_seed

N_LADDER = 240
"""Workers drawn in the ladder: evenly spaced by rank where there are more."""
N_TABLE = 60
MANY_WORKERS = 2000
"""Workers from which intervals of rank correlations rest on fewer resamples: they are narrow then."""
N_TASKS = 25
N_NAMED_REJECTS = 8
MAX_CLASSES_DRAWN = 8
MAX_STRATA_DRAWN = 8


def findings(method: PeerPrediction, answers: Answers) -> dict[str, Any]:
    """Collect what was found.

    Parameters
    ----------
    method : PeerPrediction
        Fitted.
    answers : Answers
        What it was fitted on.
    """
    codes, workers = answers.codes, method.workers_
    actions = dict(workers.group_by("action").len().iter_rows())
    states = {name: int(actions.get(name, 0)) for name in ("keep", "review", "re-collect")}
    rank = workers["rank"].fill_null(-1).to_numpy().astype(np.int64)
    highest, alarms = method.threshold_, method.false_alarms_
    return {
        "crowd": {
            "answers": len(codes),
            "workers": codes.n_workers,
            "tasks": int((codes.per_task > 0).sum()),
            "classes": list(answers.classes),
            "class_counts": np.bincount(codes.label, minlength=codes.n_classes).tolist(),
            "per_task": float(codes.per_task[codes.per_task > 0].mean()),
            "per_worker": float(np.median(codes.per_worker)),
            "lone_tasks": int((codes.per_task == 1).sum()),
            "missing": answers.n_missing,
            "duplicates": answers.n_duplicates,
            "conflicting": answers.n_conflicting,
            "rejected": len(answers.table.rejects),
            "rejects": answers.table.rejects.head(N_NAMED_REJECTS).select("file", "line", "reason").rows(),
            "layout": answers.layout,
        },
        "llm": [_model(method, answers, each) for each in method.conditions_],
        "states": {**states, "undecided": int(actions.get(None, 0))},
        "unmeasured": int((~method.scores_.measured).sum()),
        "threshold": None if highest is None else {"model": highest.model, "value": to_json(highest.threshold)},
        "references": [
            {"model": each.model, "n": each.n, "threshold": to_json(each.threshold), "deciles": _deciles(each.scores)}
            for each in method.references_
            if each.n
        ],
        "false_alarms": None
        if alarms is None
        else {
            "share": to_json((alarms.share, alarms.low, alarms.high)),
            "expected": None if np.isnan(alarms.expected) else alarms.expected,
        },
        "ladder": _ladder(workers),
        "table": _table(workers, method),
        "strata": [_strata(method, answers, each) for each in method.conditions_],
        "curve": coverage_curve(codes, rank),
        "tasks": _tasks(method.consensus_),
        "related": _related(method),
        "warnings": method.warnings_,
        "aggregation": "Dawid-Skene" if method.before_.model is not None else "majority vote",
        "settings": {k: v for k, v in method.get_params().items() if k != "seed"},
    }  # fmt: skip


def _model(method: PeerPrediction, answers: Answers, condition: Condition) -> dict[str, Any]:
    """What one model said: how much of the crowd's tasks, and how it agrees with itself and with the consensus."""
    z, consensus = condition.z, method.before_.labels
    rated = (z >= 0) & (consensus >= 0)
    both = (condition.others >= 0) & (z >= 0)
    equal, n_both = int((both & (condition.others == z)).sum()), int(both.sum())
    repeated = int(both.any(axis=0).sum())
    return {
        "model": condition.model,
        "samples": 1 + len(condition.others),
        "labelled": int((z >= 0).sum()),
        "class_counts": np.bincount(z[z >= 0], minlength=answers.codes.n_classes).tolist(),
        "again": to_json(share_interval(equal / n_both * repeated, repeated)) if n_both else None,
        "consensus": to_json(share_interval(int((z == consensus)[rated].sum()), int(rated.sum()))),
    }


def _deciles(scores: Floats) -> list[float]:
    return [float(v) for v in np.nanquantile(scores, np.linspace(0.1, 0.9, 9))]


def _ladder(workers: pl.DataFrame) -> list[dict[str, Any]]:
    """Measured workers by score, lowest first, at most N_LADDER of them."""
    measured = workers.filter(pl.col("score").is_not_null()).sort("score", "worker").with_row_index("place")
    at = np.unique(np.linspace(0, measured.height - 1, min(N_LADDER, measured.height)).round().astype(int))
    return measured[at].select("place", "worker", "score", "low", "high", "action", "n_scored").to_dicts()


def _table(workers: pl.DataFrame, method: PeerPrediction) -> list[dict[str, Any]]:
    """Flagged workers first, lowest score first, then the lowest others."""
    columns = ["worker", "n_answers", "n_scored", "score", "low", "high", "ca", "ca_se", "oa", "skill", "model",
               "virtual_quantile", "paired_z", "action", "reason"]  # fmt: skip
    columns += [f"similarity:{each.model}" for each in method.conditions_]
    order = pl.col("action").replace_strict({"re-collect": 0, "review": 0, "keep": 1}, default=1)
    measured = workers.filter(pl.col("score").is_not_null())
    return measured.sort(order, "score", "worker").head(N_TABLE).select(columns).to_dicts()


def _strata(method: PeerPrediction, answers: Answers, condition: Condition) -> dict[str, Any]:
    """Joint distribution of two raters less independence, stratum by stratum."""
    strata = Strata.of(answers.codes, condition.z)
    found: dict[str, Any] = {"model": condition.model, "n": strata.n_strata, "shown": []}
    if answers.codes.n_classes > MAX_CLASSES_DRAWN or strata.n_strata > MAX_STRATA_DRAWN:
        return found
    for z, stratum in enumerate(strata):
        joint = stratum_joint(strata, stratum, method.estimator)
        found["shown"].append(
            {
                "label": answers.classes[z],
                "weight": float(strata.weight[z]),
                "n_tasks": joint.n_tasks,
                "difference": joint.difference.tolist(),
                "sign": joint.signs(guard=method.guard, ordinal=method.ordinal).tolist(),
                "information": float(np.abs(joint.difference).sum() / 2),
            }
        )
    return found


def _tasks(consensus: pl.DataFrame) -> dict[str, Any]:
    """Counts of tasks that lose answers, and those worth most to collect again."""
    lost = consensus.filter(pl.col("n_after") < pl.col("n_before"))
    first = lost.filter(pl.col("rank").is_not_null()).sort("rank").head(N_TASKS)
    return {
        "lose": lost.height,
        "uncovered": lost.filter(pl.col("n_after") == 0).height,
        "changed": int(consensus["changed"].sum()),
        "recollect": first.drop("rank", "changed").to_dicts(),
    }


def _related(method: PeerPrediction) -> list[dict[str, Any]]:
    """Rank correlation of the score with what else is known about workers."""
    workers = method.workers_.filter(pl.col("score").is_not_null())
    named = [("ca", "correlated agreement (CA)"), ("oa", "output agreement (OA)"), ("skill", "Dawid-Skene skill")]
    named += [(f"skill:{name}", f"{name} skill (crowd-kit)") for name in method.baselines]
    named += [(f"similarity:{each.model}", f"similarity to {each.model}") for each in method.conditions_]
    found = []
    for column, name in named:
        rng = np.random.default_rng(derive_seed(method.seed, "related", column))
        values = workers[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        draws = 1000 if workers.height <= MANY_WORKERS else 200
        rho = rank_correlation(workers["score"].to_numpy(), values, rng=rng, n_bootstrap=draws)
        found.append({"name": name, "rho": to_json(rho)})
    return found
