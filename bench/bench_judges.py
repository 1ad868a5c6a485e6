"""Real judges: the matrix estimated from neighbours beside the judges' own repeats. Does clusterability hold?

``python bench/bench_judges.py [--quick] [--json PATH] [--figure PATH]``

1. 2,060 responses rated twice by GPT-4 and twice by GPT-3.5. Each call shows two models' answers to one instruction,
   once in either order ("fwd" and "rev" are orders of the *pair*), so each response is rated once in first and once in
   second position: a repeat in which only the position changed. "1-10" is compressed to six classes as in DS2.
2. 9,229 uniformly drawn Alpaca rows with a judge's flag (Claude's accuracy rating is 4.5 or more). There is no repeat.

Vectors: the bundled MiniLM over prompt and response, cut at 256 word pieces. Set TAMIS_CACHE to keep them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from judge_figure import Panel, draw_panels
from judged_texts import Labels, RatedTexts, estimate, matrix_row, rated_texts
from numpy.typing import NDArray
from pools import json_rows
from repeats import (
    Clusterability,
    balanced_root,
    clusterability,
    conditional,
    exact_kappa,
    implied_repeat,
    joint_of,
    kappa,
    rank_correlation,
)
from tables import RESULTS, SHARED_DATA, Report, begin, parser, reported

from tamis.curate import RatingScale
from tamis.noise import two_nn_purity

CHERRY = SHARED_DATA / "cherry_llm_ratings" / "ratings.jsonl.gz"
ALPACA = SHARED_DATA / "alpaca_judged" / "alpaca_judged.jsonl.gz"
JUDGES = {"GPT-4": "gpt4", "GPT-3.5": "gpt35"}
FIRST_IN_FWD = "cherry_alpaca_5pct"
"""The model whose answer "fwd" is taken to show first. That the orders swap positions shows in GPT-3.5's means, which
differ by position and not by model; which position is called the first changes names and no figure."""
MAX_CUT = 0.1
"""What may be cut off for a T with balanced errors; beyond it there is none: the readings exclude each other."""
HOLDS, FAILS = 0.8, 0.3
"""Share of neighbours with the record's own true class from which clusterability "holds", below which it "does not"."""
SAME_CALL, OTHERS = "any, mostly of the same call", "of another instruction"


def by_position(texts: RatedTexts, judge: str, report: Report) -> tuple[Labels, Labels]:
    """Classes of the ratings in first and in second position; a few 0 on the scale 1-10 count as 4 and below."""
    fwd, rev = (np.array([row[f"{judge}_{order}"] for row in texts.rows], dtype=np.float64) for order in ("fwd", "rev"))
    ahead = np.array([row["model"] == FIRST_IN_FWD for row in texts.rows])
    first, second = np.where(ahead, fwd, rev), np.where(ahead, rev, fwd)
    report.say(
        f"\n{judge}: mean rating {first.mean():.2f} in first position, {second.mean():.2f} in second; "
        f"{int((first == 0).sum() + (second == 0).sum())} ratings of 0 lie outside the scale 1-10 and are taken as 1."
    )
    one, two = (
        RatingScale.parse("1-10", values).classes(values) for values in (np.maximum(first, 1), np.maximum(second, 1))
    )
    return one, two


def row_l1(a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Mean of the rows' L1 distances, weighted by how often each class was written."""
    return float(weights @ np.nan_to_num(np.abs(a - b)).sum(axis=1))


def interval(value: tuple[float, float, float]) -> str:
    return "-" if np.isnan(value[0]) else f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"


def holding(ratio: tuple[float, float, float]) -> str:
    """Words for a share of neighbours with the record's own true class, cautious where the interval is wide."""
    value, low, high = ratio
    if np.isnan(value):
        return "cannot be judged, for the repeat itself agrees no better than chance"
    if low >= HOLDS:
        return "holds"
    if high <= FAILS:
        return "does not hold"
    if low > FAILS:
        return "holds only in part" if high < HOLDS else "holds at least in part"
    return "holds in part at most" if high < HOLDS else "cannot be decided, the interval is too wide"


def judge(report: Report, who: str, texts: RatedTexts, draws: int) -> list[Panel]:
    """One judge: matrices of both positions, the repeat, and how far neighbours stand in for a repeat."""
    names = RatingScale.parse("1-10", np.array([1.0])).names
    first, second = by_position(texts, JUDGES[who], report)
    near, apart = texts.graph.idx.astype(np.int64), texts.apart()
    either = np.where(np.random.default_rng(0).random(len(first)) < 0.5, first, second)
    matrices = {
        f"{who}, first position": estimate(first, near, names, draws=draws),
        f"{who}, second position": estimate(second, near, names, draws=draws),
        f"{who}, a random position each": estimate(either, near, names, draws=draws),
        f"{who}, first, neighbours of other instructions": estimate(first, apart, names, draws=draws),
    }
    report.table(f"{who}: matrix from neighbours", [matrix_row(name, m) for name, m in matrices.items()])
    matrix = matrices[f"{who}, first position"]
    for warning in matrix.warnings():
        report.say(f"  {who}, first position: {warning}")

    joint = joint_of(first, second, len(names))
    measured, implied, frequency = conditional(joint), implied_repeat(matrix), joint.sum(axis=1)
    root, cut = balanced_root(joint)
    report.table(
        f"{who}: repeat as measured and as the matrix from neighbours implies it",
        [
            {
                "class": names[c],
                "written": float(frequency[c]),
                "repeat P(same again)": float(measured[c, c]),
                "implied by T": float(implied[c, c]),
                "T_ii from neighbours": float(matrix.T[c, c]),
                "T_ii if balanced": float(root[c, c]) if cut <= MAX_CUT else None,
            }
            for c in range(len(names))
        ],
    )
    print_matrices({"T from neighbours": matrix.T, "repeat implied by T": implied, "repeat measured": measured}, names)
    shares = clusterability_table(report, who, first, second, {SAME_CALL: near, OTHERS: apart}, draws)
    words_about(report, who, joint, implied, shares)
    report.bars.append(reported(f"{who}: verdict of T from neighbours", matrix.verdict))
    panels = [
        Panel(who, "T from neighbours (first position)", "true", "written", matrix.T, names),
        Panel(who, "repeat implied by that T (same position)", "one rating", "the other", implied, names),
        Panel(who, "repeat as measured (position swapped)", "one rating", "the other", measured, names),
    ]
    if cut <= MAX_CUT:
        panels.append(Panel(who, "T from the repeat, if errors are balanced", "true", "written", root, names))
    else:
        report.say(f"{who}: no T with balanced errors gives this repeat (an eigenvalue or entry of {-cut:.2f}).")
    return panels


def clusterability_table(
    report: Report, who: str, first: Labels, second: Labels, neighbors: dict[str, Labels], draws: int
) -> dict[str, Clusterability]:
    """Print two measures for each kind of neighbour; return the rank correlations."""
    rows, correlations = [], {}
    for kind, idx in neighbors.items():
        for name, measure in (("exact kappa", exact_kappa), ("rank correlation", rank_correlation)):
            found = clusterability(measure, first, second, idx[:, 0], seed=0, draws=max(draws, 50))
            if measure is rank_correlation:
                correlations[kind] = found
            rows.append(
                {
                    "nearest neighbour": kind,
                    "measure": name,
                    "repeat": interval(found.repeat),
                    "neighbour": interval(found.neighbor),
                    "neighbour / repeat": interval(found.ratio),
                }
            )
    report.table(f"{who}: does a neighbour stand in for a repeat?", rows)
    return correlations


def words_about(
    report: Report,
    who: str,
    joint: NDArray[np.float64],
    implied: NDArray[np.float64],
    shares: dict[str, Clusterability],
) -> None:
    """Say where clusterability holds, from the numbers, and keep them as bars."""
    frequency, exact = joint.sum(axis=1), float(np.trace(joint))
    predicted = float(frequency @ np.nan_to_num(np.diagonal(implied)))
    distance = row_l1(implied, conditional(joint), frequency)
    for kind, found in shares.items():
        report.say(
            f"{who}, nearest text ({kind}): clusterability {holding(found.ratio)}. Repeats correlate "
            f"{interval(found.repeat)}, neighbours {interval(found.neighbor)}: as if {interval(found.ratio)} of the "
            "neighbours had the record's own true class and the others any."
        )
    report.say(
        f"{who}: {exact:.0%} of the ratings are the same in both positions, kappa {kappa(joint):.2f}; the matrix from "
        f"neighbours in first position implies {predicted:.0%} for a repeat in the same position, which was not made "
        f"(row-L1 of the tables {distance:.2f})."
    )
    share = shares[OTHERS].ratio
    report.bars += [
        reported(
            f"{who}: same rating again, measured / implied by T",
            f"{exact:.3f} / {predicted:.3f}",
            "T'diag(p)T is what T predicts for a repeat in one position; the repeat measured swaps positions",
        ),
        reported(f"{who}: row-L1 of implied to measured repeat", f"{distance:.3f}"),
        reported(f"{who}: neighbours like a repeat (any)", interval(shares[SAME_CALL].ratio)),
        reported(
            f"{who}: neighbours like a repeat (another instruction)",
            interval(share),
            f"clusterability {holding(share)}; ratio of rank correlations",
        ),
    ]


def print_matrices(matrices: dict[str, NDArray[np.float64]], names: tuple[str, ...]) -> None:
    for title, matrix in matrices.items():
        print(f"\n{title}")
        print(" " * 6 + "".join(f"{name:>7}" for name in names))
        for name, row in zip(names, matrix, strict=True):
            print(f"{name:>6}" + "".join(f"{value:7.2f}" for value in row))


def flags(report: Report, draws: int, limit: int | None) -> list[Panel]:
    """Alpaca rows with a judge's yes or no, which was given once."""
    rows = [row for row in json_rows(ALPACA) if row["random_9k"]][:limit]
    texts = rated_texts(rows, ("instruction", "input", "output"))
    names = ("below 4.5", "4.5 or more")
    claude = np.array([row["claude_ge_4.5"] for row in texts.rows], dtype=np.int64)
    helpful = np.array([row["helpfulness_ge_4.5"] for row in texts.rows], dtype=np.int64)
    matrices, panels = {}, []
    for who, labels in (("Claude, accuracy", claude), ("helpfulness", helpful)):
        matrices[who] = estimate(labels, texts.graph.idx, names, draws=draws)
        panels.append(Panel(f"Alpaca: {who}", "T from neighbours", "true", "written", matrices[who].T, names))
    report.table("Alpaca flags: matrix from neighbours", [matrix_row(who, m) for who, m in matrices.items()])
    for who, matrix in matrices.items():
        low, high = matrix.low, matrix.high
        spread = "" if low is None or high is None else f", 95 % interval {low[1, 1]:.2f} to {high[1, 1]:.2f}"
        report.say(
            f"{who}: T = {np.round(matrix.T, 3).tolist()}, p = {np.round(matrix.p, 3).tolist()}{spread} for T_11"
        )
        for warning in matrix.warnings():
            report.say(f"  {who}: {warning}")
    purity = [purity_row(who, y, texts.graph.idx) for who, y in (("Claude", claude), ("helpfulness", helpful))]
    report.table("Alpaca flags: 2-NN purity of the written flags", purity)
    agreement = joint_of(claude, helpful, 2)
    both = int((claude & helpful).sum())
    expected = float(claude.mean() * helpful.sum())
    report.say(
        f"The two flags agree on {np.trace(agreement):.3f} of {len(claude)} texts; both are set on {both}, by chance "
        f"{expected:.0f}. They are two criteria and not a repeat, so they bound nothing about the noise of either."
    )
    found = matrices["Claude, accuracy"].diagnostics.agreement
    lift = purity[0]["P(nn 1 | own 1)"] / purity[0]["share of 1"]
    follow = "follows" if found.follows_features else "does not follow"
    report.say(
        f"Claude's flag {follow} the text (kappa {found.kappa:.3f}, z {float(found.z or 0):.1f}): a neighbour of a "
        f"text with the flag carries it {lift:.1f} times as often as any text, in {purity[0]['P(nn 1 | own 1)']:.0%} "
        "of the cases. Without a repeat, noise of the judge and neighbours that deserve another flag look alike."
    )
    report.bars += [
        reported(f"Alpaca, {who}: verdict, kappa", f"{m.verdict}, {m.diagnostics.agreement.kappa:.3f}")
        for who, m in matrices.items()
    ]
    return panels


def purity_row(who: str, labels: Labels, idx: NDArray[np.int32]) -> dict[str, Any]:
    """Purity beside what independent flags of the same frequency would give."""
    share = float(labels.mean())
    near = labels[idx[:, 0]]
    return {
        "flag": who,
        "share of 1": share,
        "2-NN purity": two_nn_purity(labels, idx),
        "purity by chance": share**3 + (1 - share) ** 3,
        "P(nn 1 | own 1)": float(near[labels == 1].mean()),
        "P(both nn 1 | own 1)": float((labels[idx[:, :2]] == 1).all(axis=1)[labels == 1].mean()),
    }


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--figure", type=Path, default=None, help="default: judges.svg in bench/results, if not quick")
    options = made.parse_args()
    report = begin("judges", options)
    absent = [path.parent.name for path in (CHERRY, ALPACA) if not path.exists()]
    if absent:
        report.skip(f"no shared data: {', '.join(absent)} not found under ../shared/data beside the project")
        return
    draws = 20 if options.quick else 1000
    texts = rated_texts(json_rows(CHERRY)[: 400 if options.quick else None], ("instruction", "response"))
    report.say(
        f"{len(texts.rows)} distinct texts, {len(set(texts.instruction.tolist()))} instructions; the first neighbour "
        f"answers the same instruction in {texts.sibling_share():.0%} of the cases. Both answers to an instruction are "
        "rated in one call, so a judge that weighs them against each other makes such neighbours alike or unlike by "
        "itself: neighbours of other instructions are the clean comparison."
    )
    panels = [panel for who in JUDGES for panel in judge(report, who, texts, draws)]
    panels += flags(report, draws, 400 if options.quick else None)
    figure = options.figure or (None if options.quick else RESULTS / "judges.svg")
    if figure is not None:
        draw_panels(panels, figure)
        print(f"figure: {figure.name}, {figure.stat().st_size // 1024} KB")
    report.finish()


if __name__ == "__main__":
    main()
