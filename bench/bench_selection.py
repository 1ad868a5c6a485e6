"""Does curating noisy ratings select better records? Two pools with planted bad rows, rated through a known matrix.

``python bench/bench_selection.py [--seeds 5] [--quick] [--json PATH]``

* *dolly*: real records, 30 % of which carry another row's response; MiniLM vectors of prompt and response. The true
  score is that of the category, three less for an exchanged response. An embedding sees categories and hardly sees
  whether a response fits, so clusterability holds in part only: this is the honest table.
* *clustered*: vectors around 75 centres, one true score a cluster, 30 % of the clusters planted. Clusterability holds
  by construction: this is what the method can do where its assumption is true.

Ratings are the true scores sent through an ordinal matrix (diagonal 0.6, and 0.45 as real judges have it). All arms use
one graph and fill the budget alike; precision@budget is the share of kept records that were not planted. Differences
are paired by seed (a seed draws planted rows, ratings and rounds), with 95 % t-intervals.

Embedding five shuffled copies of Dolly takes minutes; set TAMIS_CACHE to keep the vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pools import K, PlantedPool, clustered_pool, shuffled_dolly
from scipy.stats import rankdata
from scipy.stats import t as student
from tables import Bar, Report, begin, not_judged, parser

from tamis.curate import DS2
from tamis.neighbors import NeighborGraph, knn_graph
from tamis.noise import inject_noise, transition_family, two_nn_purity

BUDGETS = (0.1, 0.3, 0.6)
ARMS: dict[str, dict[str, Any]] = {
    "raw": {"correct": "none"},
    "rank": {"rule": "rank"},
    "vote": {"rule": "vote"},
    "forced rank": {"rule": "rank", "correct": "all"},
    "oracle": {"correct": "none"},
}
"""Parameters of DS2 by arm: "rank" is its default, "forced" also corrects classes its matrix does not identify, and
the oracle is given the true scores as ratings."""
RIVALS = (("rank", "raw"), ("vote", "raw"), ("vote", "rank"))


def rated(pool: PlantedPool, graph: NeighborGraph, diagonal: float, seed: int) -> dict[str, DS2]:
    """Fit all arms to one noisy rating of the pool."""
    rng = np.random.default_rng([seed, round(100 * diagonal)])
    T = transition_family("ordinal", K, diagonal, rng)
    noisy = inject_noise(pool.truth, T, rng).labels.astype(np.float64)
    n = len(pool.table)
    return {
        name: DS2(n, scale="0-5", n_bootstrap=0, seed=seed, **params).fit(
            pool.table, ratings=pool.truth.astype(np.float64) if name == "oracle" else noisy, graph=graph
        )
        for name, params in ARMS.items()
    }


def kept(ds2: DS2, budget: int) -> NDArray[np.int64]:
    """Rows of the ``budget`` best records."""
    return np.argsort(ds2.selection_.frame["rank"].to_numpy(), kind="stable")[:budget]


def one_seed(pool: PlantedPool, diagonal: float, seed: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Measure every arm at every budget, and what the curation did to the ratings."""
    graph = knn_graph(pool.vectors, k=40)
    arms = rated(pool, graph, diagonal, seed)
    rows = [
        {
            "arm": name,
            "budget": share,
            "precision": float((~pool.planted[kept(ds2, round(share * len(pool.table)))]).mean()),
            "true score": float(pool.truth[kept(ds2, round(share * len(pool.table)))].mean()),
        }
        for name, ds2 in arms.items()
        for share in BUDGETS
    ]
    shares = np.bincount(pool.truth, minlength=K) / len(pool.truth)
    facts = {
        "2-NN purity": two_nn_purity(pool.truth[graph.first], graph.idx),
        "purity by chance": float((shares**3).sum()),
    }
    facts["planted 2-NN purity"] = two_nn_purity(pool.planted[graph.first].astype(np.int64), graph.idx)
    facts["rarity AUROC of planted"] = auroc(arms["raw"].longtail_, pool.planted)
    for name, ds2 in arms.items():
        found = ds2.raters_["rating"]
        if name == "raw":
            facts["accuracy raw"] = float((found.labels.observed == pool.truth).mean())
            facts["row-L1 of T"] = float(
                np.abs(found.transition.T - transition_family("ordinal", K, diagonal, np.random.default_rng(0)))
                .sum(axis=1)
                .mean()
            )
            facts["usable classes"] = float(len(found.transition.usable_classes))
        elif name != "oracle":
            facts[f"accuracy {name}"] = float((found.curated == pool.truth).mean())
            facts[f"changed {name}"] = float(found.corrected.mean())
    return rows, facts


def mean_t(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean with its 95 % t-interval over seeds; with one seed, no interval."""
    centre = float(values.mean())
    if values.size < 2:
        return centre, float("nan"), float("nan")
    half = float(student.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return centre, centre - half, centre + half


def compared(rows: list[list[dict[str, Any]]], measure: str) -> list[dict[str, Any]]:
    """Mean by arm and budget, and the paired difference to raw with its interval."""

    def of(arm: str, budget: float) -> NDArray[np.float64]:
        return np.array([next(r[measure] for r in seed if (r["arm"], r["budget"]) == (arm, budget)) for seed in rows])

    table = []
    for budget in BUDGETS:
        for arm in ARMS:
            gain, low, high = mean_t(of(arm, budget) - of("raw", budget))
            versus = {} if arm == "raw" else {"minus raw": gain, "low": low, "high": high}
            table.append({"budget": budget, "arm": arm, measure: float(of(arm, budget).mean()), **versus})
    first = {"budget": 0.0, "arm": "", measure: 0.0, "minus raw": 0.0, "low": 0.0, "high": 0.0}
    return [{name: row.get(name) for name in first} for row in table]


def auroc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Share of pairs (positive, negative) in which the positive has the higher score; 0.5 by chance."""
    ranks = rankdata(score)[positive]
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def verdict(title: str, rows: list[list[dict[str, Any]]], budget: float) -> str:
    """Say who beats whom at a budget and by how much; an interval that holds 0 is no win."""

    def of(arm: str) -> NDArray[np.float64]:
        return np.array(
            [next(r["precision"] for r in seed if (r["arm"], r["budget"]) == (arm, budget)) for seed in rows]
        )

    parts = []
    for one, other in RIVALS:
        gain, low, high = mean_t(of(one) - of(other))
        if not (of(one) - of(other)).any():
            parts.append(f"{one} and {other} keep equally good records in every seed")
        elif low > 0 or high < 0:
            word = "beats" if gain > 0 else "loses to"
            parts.append(f"{one} {word} {other} by {gain:+.3f} [{low:+.3f}, {high:+.3f}]")
        else:
            parts.append(f"{one} and {other} cannot be told apart ({gain:+.3f} [{low:+.3f}, {high:+.3f}])")
    means = ", ".join(f"{arm} {of(arm).mean():.3f}" for arm in ARMS)
    return f"{title}, budget {budget:.0%}: {means}; " + "; ".join(parts) + "."


def measure_pool(
    report: Report, name: str, pools: Callable[[int], PlantedPool], diagonal: float, seeds: range
) -> list[Bar]:
    """Tables, words and figures of one pool at one noise level."""
    rows, facts = [], []
    for seed in seeds:
        found, about = one_seed(pools(seed), diagonal, seed)
        rows.append(found)
        facts.append(about)
    title = f"{name}, diagonal {diagonal}"
    report.table(f"{title}: precision@budget (share not planted; 0.7 by chance)", compared(rows, "precision"))
    report.table(f"{title}: mean true score of the kept", compared(rows, "true score"))
    about = {key: float(np.mean([fact[key] for fact in facts])) for key in facts[0]}
    report.table(f"{title}: the pool and its ratings, mean of {len(seeds)} seeds", [about])
    for budget in BUDGETS:
        report.say(verdict(title, rows, budget))
    return [gain_bar(title, rows, arm) for arm in ("rank", "vote")]


def gain_bar(title: str, rows: list[list[dict[str, Any]]], arm: str, *, budget: float = 0.3) -> Bar:
    """Hold an arm against raw ratings: it helps if the whole interval of the paired difference lies above zero."""
    table = {r["arm"]: r for r in compared(rows, "precision") if r["budget"] == budget}
    row = table[arm]
    measured = f"{row['minus raw']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    note = ", ".join(f"{name} {table[name]['precision']:.3f}" for name in ("raw", arm, "oracle"))
    return Bar(f"{title}: precision@{budget:.0%}, {arm} - raw", "> 0", measured, row["low"] > 0, note)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5)
    options = made.parse_args()
    seeds = range(2 if options.quick else options.seeds)
    report = begin("selection", options)
    pools: dict[str, Callable[[int], PlantedPool]] = {
        "dolly": lambda seed: shuffled_dolly(seed, rows=400 if options.quick else None),
        "clustered": lambda seed: clustered_pool(seed, rows=1500 if options.quick else 3000),
    }
    for name, make in pools.items():
        for diagonal in (0.6,) if options.quick else (0.6, 0.45):
            bars = measure_pool(report, name, make, diagonal, seeds)
            report.bars += [not_judged(bar, "small pool, two seeds") for bar in bars] if options.quick else bars
    report.finish()


if __name__ == "__main__":
    main()
