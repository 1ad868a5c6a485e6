"""What a curation found, as tables and JSON that the report, ``why`` and other tools read."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tamis.curate.correction import changes_by_threshold
from tamis.curate.ds2 import DS2
from tamis.curate.rater_curation import RaterCuration, correctable_classes
from tamis.data import Signal, Table
from tamis.runs.digests import derive_seed

N_DOUBTFUL = 20
N_NEIGHBORS_SHOWN = 5
N_SCATTER = 2000
EXCERPT = 600
THRESHOLDS = np.round(np.arange(0.3, 0.95, 0.1), 1)


def curation_frame(ds2: DS2, table: Table) -> pl.DataFrame:
    """One row a record and rater: rating, class, suggestion, confidence, curated class, agreement, rarity, decision.

    ``near`` holds the row numbers (in the pool) of the five nearest distinct records, ``similarity`` their cosines.

    Parameters
    ----------
    ds2 : DS2
        Fitted.
    table : Table
        The pool it was fitted on.
    """
    graph = ds2.graph_
    near = graph.idx[:, :N_NEIGHBORS_SHOWN]
    nearest = np.where(near >= 0, graph.first[near], -1).astype(np.int32)[graph.group]
    similarity = (1 - graph.dist[:, :N_NEIGHBORS_SHOWN])[graph.group]
    blocks = []
    for name, found in ds2.raters_.items():
        names = pl.Series([*found.labels.scale.names, None], dtype=pl.String)
        blocks.append(
            pl.DataFrame(
                {
                    "unit_id": table.ids,
                    "rater": [name] * len(table),
                    "status": found.labels.status,
                    "rating": found.labels.values,
                    "observed": found.labels.observed,
                    "observed_name": names.gather(found.labels.observed % len(names)),
                    "agreement": found.agreement,
                    "misrated_prob": found.correction.misrated_prob,
                    "suggested": found.correction.suggested,
                    "suggested_name": names.gather(found.correction.suggested % len(names)),
                    "confidence": found.correction.confidence,
                    "curated": found.curated,
                    "curated_name": names.gather(found.curated % len(names)),
                    "corrected": found.corrected,
                    "longtail": ds2.longtail_,
                    "near": nearest,
                    "similarity": similarity,
                }
            ).with_columns(pl.col("rating", "agreement", "misrated_prob").fill_nan(None))
        )
    decided = ds2.selection_.frame.select("unit_id", "decision", "score", "rank", "reason")
    return pl.concat(blocks).join(decided, on="unit_id", how="left", maintain_order="left")


def findings(ds2: DS2, table: Table, signal: Signal, *, source: dict[str, str]) -> dict[str, Any]:
    """Everything the report shows, as JSON values.

    Parameters
    ----------
    ds2 : DS2
        Fitted.
    table : Table
        The pool it was fitted on.
    signal : Signal
        The ratings it was fitted on.
    source : dict
        Where the vectors came from: digests by name.
    """
    decision = ds2.selection_.frame["decision"].to_list()
    kept = np.array([d == "keep" for d in decision])
    measured = ~np.isnan(ds2.score_)
    return {
        "pool": _pool(ds2, table, signal),
        "selection": {**ds2.selection_.counts(), "budget": ds2.budget, "cut": _cut(ds2, kept)},
        "unmeasured": int((~measured).sum()),
        "ratings_missing": sum(int((r.labels.status != "ok").sum()) for r in ds2.raters_.values()),
        "raters": [_rater(ds2, name, found, kept) for name, found in ds2.raters_.items()],
        "agreement": _between_raters(ds2),
        "doubtful": _doubtful(ds2, table),
        "scatter": _scatter(ds2, kept),
        "composition": _composition(table, kept),
        "graph": {
            "k": ds2.graph_.k, "method": ds2.graph_.method, "recall": ds2.graph_.recall, "source": source,
        },
        "settings": {k: v for k, v in ds2.get_params().items() if k != "seed"},
    }  # fmt: skip


def _pool(ds2: DS2, table: Table, signal: Signal) -> dict[str, Any]:
    rejects = table.rejects
    reasons = rejects.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return {
        "rows": len(table),
        "rejected": len(rejects),
        "reject_reasons": reasons.head(8).rows(),
        "rejects": rejects.head(8).select("file", "line", "reason").rows(),
        "distinct": ds2.graph_.n_unique,
        "duplicate_share": ds2.graph_.duplicate_share,
        "ratings_without_row": signal.unmatched(table),
        "roles": table.roles,
    }


def _cut(ds2: DS2, kept: np.ndarray) -> float | None:
    return float(np.nanmin(ds2.score_[kept])) if kept.any() else None


def _rater(ds2: DS2, name: str, found: RaterCuration, kept: np.ndarray) -> dict[str, Any]:
    labels, scale = found.labels, found.labels.scale
    values = labels.values[~np.isnan(labels.values)]
    whole = np.array_equal(values, np.round(values))
    edges = np.arange(values.min() - 0.5, values.max() + 1.5) if whole else np.linspace(values.min(), values.max(), 31)
    rated = labels.observed >= 0
    several, differ = labels.copies_rated_apart(ds2.graph_)
    changed = found.corrected
    settled = (labels.observed >= 0) & ~changed & (found.curated != labels.observed)
    flows = pl.DataFrame({"old": labels.observed[changed], "new": found.curated[changed]}).group_by("old", "new").len()

    def classes(of: np.ndarray) -> list[int]:
        counts: list[int] = np.bincount(of[of >= 0], minlength=scale.n_classes).tolist()
        return counts

    return {
        "rater": name,
        "scale": {"kind": scale.kind, "low": scale.low, "high": scale.high, "names": list(scale.names)},
        "status": dict(zip(*(x.tolist() for x in np.unique(labels.status, return_counts=True)), strict=True)),
        "values": {
            "edges": edges.tolist(),
            "counts": np.histogram(values, edges)[0].tolist(),
            "kept": np.histogram(labels.values[kept & rated], edges)[0].tolist(),
            "mean": float(values.mean()),
            "sd": float(values.std()),
        },
        "before": classes(labels.observed),
        "after": classes(found.curated),
        "kept": classes(found.curated[kept]),
        "transition": found.transition.to_dict(),
        "verdict": found.transition.verdict,
        "warnings": found.transition.warnings(),
        "correctable": correctable_classes(ds2, found.transition),
        "rules": found.rules.to_dict(),
        "changed": int(changed.sum()),
        "settled": int(settled.sum()),
        "flows": flows.sort("len", "old", "new", descending=[True, False, False]).rows(),
        "thresholds": changes_by_threshold(
            found.correction, labels.observed, THRESHOLDS, classes=correctable_classes(ds2, found.transition)
        ),
        "copies": {"several": several, "differ": differ},
    }


def _between_raters(ds2: DS2) -> list[dict[str, Any]]:
    """Exact agreement, quadratic kappa and rank correlation of every pair of raters, on rows both rated."""
    out = []
    items = list(ds2.raters_.items())
    for i, (a, one) in enumerate(items):
        for b, two in items[i + 1 :]:
            x, y = one.labels.observed, two.labels.observed
            both = (x >= 0) & (y >= 0)
            x, y = x[both], y[both]
            if len(x) < 2:
                continue
            expected = np.mean((x[:, None] - np.unique(y)[None, :]) ** 2 @ (np.bincount(y)[np.unique(y)] / len(y)))
            kappa = float(1 - np.mean((x - y) ** 2) / expected) if expected > 0 else None
            vary = np.ptp(x) > 0 and np.ptp(y) > 0  # a constant has no rank correlation
            ranks = [pl.Series(values).rank().to_numpy() for values in (x, y)]
            rho = float(np.corrcoef(ranks[0], ranks[1])[0, 1]) if vary else None
            out.append({"a": a, "b": b, "n": len(x), "exact": float((x == y).mean()), "kappa": kappa, "rho": rho})
    return out


def _doubtful(ds2: DS2, table: Table) -> list[dict[str, Any]]:
    """Ratings most likely wrong, each with its nearest neighbours and their ratings."""
    graph = ds2.graph_
    has_text = bool(table.roles.keys() & {"prompt", "response", "messages"})
    texts_p, texts_r = (table.prompts(), table.responses()) if has_text else ([""] * len(table),) * 2
    found: list[tuple[float, float, int, str, int]] = []
    for name, rater in ds2.raters_.items():
        doubt = np.nan_to_num(rater.correction.misrated_prob)
        first = graph.first[np.isin(graph.first, np.flatnonzero(doubt > 0))]  # one of each set of copies
        best = first[np.lexsort((first, -doubt[first], -rater.correction.confidence[first]))][:N_DOUBTFUL]
        found += [
            (-rater.correction.confidence[i], -doubt[i], turn, name, int(i)) for turn, i in enumerate(best)
        ]  # raters take turns where doubt is equal
    ids = table.ids

    def entry(row: int, rater: RaterCuration) -> dict[str, Any]:
        value = rater.labels.values[row]
        return {
            "id": ids[row],
            "rating": None if np.isnan(value) else float(value),
            "prompt": _excerpt(texts_p[row]),
            "response": _excerpt(texts_r[row]),
        }

    out = []
    for _, _, _, name, row in sorted(found)[:N_DOUBTFUL]:
        rater = ds2.raters_[name]
        names = rater.labels.scale.names
        node = graph.group[row]
        near = [
            {**entry(int(graph.first[j]), rater), "similarity": 1 - float(d)}
            for j, d in zip(graph.idx[node, :N_NEIGHBORS_SHOWN], graph.dist[node, :N_NEIGHBORS_SHOWN], strict=True)
            if j >= 0
        ]
        suggested = int(rater.correction.suggested[row])
        out.append(
            {
                **entry(row, rater),
                "rater": name,
                "observed": names[rater.labels.observed[row]],
                "suggested": names[suggested] if suggested >= 0 else None,
                "changed": bool(rater.corrected[row]),
                "misrated_prob": float(rater.correction.misrated_prob[row]),
                "confidence": float(rater.correction.confidence[row]),
                "neighbors": near,
            }
        )
    return out


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"


def _scatter(ds2: DS2, kept: np.ndarray) -> list[list[float]]:
    """[curated score, rarity, kept] of at most N_SCATTER measured records, kept and dropped in equal shares."""
    rng = np.random.default_rng(derive_seed(ds2.seed, "scatter"))
    measured = ~np.isnan(ds2.score_)
    rows = []
    for side in (measured & kept, measured & ~kept):
        pool = np.flatnonzero(side)
        rows.append(np.sort(rng.choice(pool, min(len(pool), N_SCATTER // 2), replace=False)) if len(pool) else pool)
    return [[float(ds2.score_[i]), float(ds2.longtail_[i]), float(kept[i])] for i in np.concatenate(rows)]


def _composition(table: Table, kept: np.ndarray) -> list[dict[str, Any]]:
    """Rows in the pool and kept, by value of the group column, largest first."""
    column = table.roles.get("group")
    if column is None:
        return []
    frame = pl.DataFrame({"value": table.frame[column].cast(pl.String).fill_null("(none)"), "kept": kept})
    counted = frame.group_by("value").agg(pool=pl.len(), kept=pl.col("kept").sum())
    return counted.sort("pool", "value", descending=[True, False]).to_dicts()
