"""Conditioned peer prediction on public crowds with planted workers: the acceptance table, thresholds, false alarms.

``python bench/bench_peers.py [--draws 50] [--quick] [--json PATH]``

Five public sets (two classes each). Per draw an LLM is simulated from the truth (right on 75 % of the tasks, one wrong
label else, each sample flips 10 %), workers are planted, and AUROC of untouched against planted workers is computed
over those with 30 answers. Tolerances are those of the specification: .03 for our score on the first three sets, .06 on
SP and d_jn-product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from crowds import CROWD, SETS, CrowdSet, Draw, draw, load
from numpy.typing import NDArray
from tables import Bar, Report, at_least, at_most, begin, parser, reported

from tamis.data import AnswerCodes
from tamis.evidence import auroc, krippendorff_alpha
from tamis.noise import dawid_skene
from tamis.people import PeerPrediction
from tamis.people.baselines import crowdkit_baselines
from tamis.people.crowd_scores import CrowdScores, crowd_scores, score_condition
from tamis.people.diagnostics import output_agreement, similarity
from tamis.people.false_alarms import answer_model, estimate_false_alarms, independent_copies
from tamis.people.scoring import Estimator
from tamis.people.virtual import threshold_of
from tamis.people.worker_table import paired_scores

MIN_ANSWERS = 30
EXPECTED = {
    "rte": (0.950, 0.885, 0.830, 0.696), "bluebird": (0.88, 0.83, 0.67, 0.47), "d_sentiment": (0.88, 0.82, 0.69, 0.58),
    "SP": (0.94, 0.93, 0.90), "d_jn-product": (0.65, 0.61, 0.55),
}  # fmt: skip
"""AUROC of our score in the specification, by share of LLM users 0, .1, .2 (, .3)."""
WIDE = ("SP", "d_jn-product")
OTHERS = {
    "rte": {"oa": (0.782, 0.726, 0.594, 0.453), "ca": (0.958, 0.846, 0.710, 0.536),
            "oa_z": (0.294, 0.506, 0.621, 0.664), "unlike": (0.096, 0.375, 0.555, 0.631),
            "skill": (0.966, 0.870, 0.723, 0.480), "faithful": (0.925, 0.855, 0.790, 0.687)},
    "bluebird": {"oa": (0.66, 0.69, 0.65, 0.39), "ca": (0.87, 0.74, 0.50, 0.32), "oa_z": (0.40, 0.61, 0.71, 0.76),
                 "unlike": (0.32, 0.54, 0.65, 0.72), "skill": (0.79, 0.71, 0.62, 0.27),
                 "faithful": (0.85, 0.80, 0.64, 0.46)},
    "d_sentiment": {"oa": (0.81, 0.71, 0.51, 0.37), "ca": (0.88, 0.77, 0.56, 0.41), "oa_z": (0.28, 0.52, 0.63, 0.67),
                    "unlike": (0.13, 0.44, 0.59, 0.65), "skill": (0.89, 0.82, 0.58, 0.34),
                    "faithful": (0.87, 0.79, 0.67, 0.57)},
    "SP": {"oa": (0.90, 0.89, 0.75), "ca": (0.95, 0.91, 0.78), "oa_z": (0.54, 0.66, 0.72), "skill": (0.95, 0.92, 0.87)},
    "d_jn-product": {"oa": (0.57, 0.61, 0.61), "ca": (0.65, 0.59, 0.50), "oa_z": (0.52, 0.66, 0.68),
                     "skill": (0.75, 0.76)},
}  # fmt: skip
"""The other columns of that table, tolerance .10."""
MEASURES = ("ca_z", "faithful", "ca", "skill", "oa", "oa_z", "unlike")


def scored(found: Draw, estimator: Estimator, *, seed: int = 0) -> tuple[CrowdScores, list[Any]]:
    """Score a draw: workers' scores, and the terms of CA and of the condition."""
    conditions = [found.condition]
    terms = [score_condition(found.planted.codes, conditions, i, estimator=estimator, seed=seed) for i in (-1, 0)]
    return crowd_scores(terms[0], terms[1:], conditions, min_answers=MIN_ANSWERS, count_all=True), terms


def measures(found: Draw, seed: int) -> dict[str, float]:
    """AUROC by each measure."""
    codes, z, kind = found.planted.codes, found.condition.z, found.planted.kind
    ours, _ = scored(found, Estimator())
    paper, _ = scored(found, PeerPrediction(fidelity="paper").estimator, seed=seed)
    by = {
        "ca_z": ours.score, "faithful": paper.score, "ca": ours.ca.score[:, 0], "skill": dawid_skene(codes).skill,
        "oa": output_agreement(codes), "oa_z": output_agreement(codes, z), "unlike": -similarity(codes, z),
    }  # fmt: skip
    enough = codes.per_worker >= MIN_ANSWERS
    return {name: auroc(np.where(enough, values, np.nan), kind == 0)[0] for name, values in by.items()}


def acceptance(report: Report, sets: dict[str, CrowdSet], draws: int) -> None:
    """Print the table of the specification beside what is measured."""
    rows = []
    for name, data in sets.items():
        for column, share in enumerate((0.0, 0.1, 0.2, 0.3)[: len(EXPECTED[name])]):
            each = [measures(draw(data, share, seed), seed) for seed in range(draws)]
            mean = {m: float(np.nanmean([row[m] for row in each])) for m in MEASURES}
            half = 1.96 * np.nanstd([row["ca_z"] for row in each], ddof=1) / np.sqrt(draws)
            rows.append({"set": name, "p_llm": share, **mean, "ca_z +-": float(half)})
            report.bars += _bars(name, column, share, mean, float(half), rows)
    report.table(f"AUROC of untouched against planted workers, mean of {draws} draws", rows)


def _bars(
    name: str, column: int, share: float, mean: dict[str, float], half: float, rows: list[dict[str, Any]]
) -> list[Bar]:
    expected, tolerance = EXPECTED[name][column], 0.06 if name in WIDE else 0.03
    off = mean["ca_z"] - expected
    found = [
        Bar(
            f"peers: {name}, p_llm {share:g}, CA_Z", f"{expected:.3f} +- {tolerance:g}",
            f"{mean['ca_z']:.3f} +- {half:.3f}", abs(off) <= tolerance, f"off by {off:+.3f}",
        )
    ]  # fmt: skip
    far = {
        m: mean[m] - table[column]
        for m, table in OTHERS[name].items()
        if column < len(table) and abs(mean[m] - table[column]) > 0.1
    }
    words = ", ".join(f"{m} {off:+.3f}" for m, off in far.items()) or "all within"
    found.append(Bar(f"peers: {name}, p_llm {share:g}, other columns", "+- 0.10", words, not far))
    if share == 0.2 and name in ("rte", "SP"):
        best = max(mean[m] for m in ("ca", "oa", "skill"))
        found.append(at_least(f"peers: {name}, p_llm 0.2, CA_Z less the best of CA, OA, DS", mean["ca_z"] - best, 0.0))
    return found


def thresholds(report: Report, sets: dict[str, CrowdSet], draws: int) -> None:
    """Flagged shares by both rules, mean scores, and false alarms as estimated beside the truth."""
    rows, inside, off, under = [], [], [], []
    for name, data in sets.items():
        for p_llm, others in ((0.15, 0.1), (0.0, 0.1), (0.0, 0.0)):
            each = [_flags(draw(data, p_llm, 1000 + seed, others)) for seed in range(draws)]
            mean = {key: float(np.nanmean([row[key] for row in each])) for key in each[0]}
            rows.append({"set": name, "p_llm": p_llm, "random, biased": others, **mean})
            inside += [row["low"] <= row["untouched q90"] <= row["high"] for row in each]
            under += [row["estimate"] < row["untouched q90"] for row in each]
            off += [abs(row["estimate"] - row["untouched q90"]) for row in each]
            if name == "rte" and p_llm:
                report.say(
                    f"rte, p_llm .15: mean score of untouched workers {mean['S untouched']:.3f}, LLM users "
                    f"{mean['S llm']:.3f}, random {mean['S random']:.3f} (specification: about .10, .05, 0)"
                )
    report.table(f"Share flagged by rule and kind, mean of {draws} draws; false alarms as estimated", rows)
    report.bars += [
        reported("peers: false-alarm bounds hold the true share", f"{np.mean(inside):.0%} of {len(inside)} draws"),
        reported("peers: false-alarm estimate below the true share", f"{np.mean(under):.0%} of draws"),
        reported("peers: false-alarm estimate, mean distance to the true share", f"{np.mean(off):.3f}"),
    ]


def _flags(found: Draw) -> dict[str, float]:
    codes, kind = found.planted.codes, found.planted.kind
    scores, terms = scored(found, Estimator())
    measured = scores.measured
    threshold = threshold_of(scores.virtual)
    q90 = scores.score <= threshold
    z = paired_scores(terms[1:], [found.condition], scores, min_answers=MIN_ANSWERS)
    copies = [independent_copies(terms[1].strata, _model(codes), estimator=Estimator())]
    alarms = estimate_false_alarms(copies, scores.used, q90 & measured, measured, threshold)

    def share(flag: NDArray[np.bool_], which: Callable[[NDArray[np.intp]], NDArray[np.bool_]]) -> float:
        at = measured & which(kind)
        return float(flag[at].mean()) if at.any() else float("nan")

    clear = scores.score + 1.96 * scores.se <= threshold
    kinds = {"untouched": lambda k: k == 0, "llm": lambda k: k == 1, "other": lambda k: k > 1}
    row = {f"{name} q90": share(q90, which) for name, which in kinds.items()}
    row |= {f"{name} paired": share(z < 1.645, which) for name, which in kinds.items()}
    row |= {"untouched re-collect": share(clear, kinds["untouched"])}
    row |= {
        "untouched of re-collect": float((kind[clear & measured] == 0).mean()) if (clear & measured).any() else np.nan
    }
    row |= {"estimate": alarms.share, "low": alarms.low, "high": alarms.high}
    means = {"untouched": 0, "llm": 1, "random": 2}
    return row | {
        f"S {name}": float(scores.score[measured & (kind == k)].mean()) if (measured & (kind == k)).any() else np.nan
        for name, k in means.items()
    }


def _model(codes: Any) -> Any:
    model = answer_model(codes, dawid_skene(codes))
    if model is None:
        raise SystemExit("the confusion matrices of a public set do not fit in memory")
    return model


def baselines(report: Report, sets: dict[str, CrowdSet], draws: int) -> None:
    """AUROC of what crowd-kit gives, of leave-one-out alpha and of kappa with the LLM, at p_llm .1 and .2."""
    names = ("one-coin", "glad", "mace", "wawa", "mmsr")
    rows = []
    for name, data in sets.items():
        for share in (0.1, 0.2):
            each = []
            for seed in range(draws):
                found = draw(data, share, seed)
                codes, untouched = found.planted.codes, found.planted.kind == 0
                skills = crowdkit_baselines(codes, names).skill
                skills |= {"alpha without": _alpha_without(codes), "-kappa(LLM)": -_kappa(codes, found.condition.z)}
                skills |= {"ours": scored(found, Estimator())[0].score}
                enough = codes.per_worker >= MIN_ANSWERS
                each.append({k: auroc(np.where(enough, v, np.nan), untouched)[0] for k, v in skills.items()})
            rows.append(
                {"set": name, "p_llm": share, **{k: float(np.nanmean([row[k] for row in each])) for k in each[0]}}
            )
    report.table(f"AUROC of other methods, mean of {draws} draws", rows)


def _alpha_without(codes: AnswerCodes) -> NDArray[np.float64]:
    """How much Krippendorff's alpha falls when a worker is left out."""
    whole = krippendorff_alpha(codes)
    return np.array([whole - krippendorff_alpha(codes.only(codes.worker != w)) for w in range(codes.n_workers)])


def _kappa(codes: AnswerCodes, z: NDArray[np.int32]) -> NDArray[np.float64]:
    """Cohen's kappa of each worker with the LLM."""
    found = np.full(codes.n_workers, np.nan)
    for worker in np.flatnonzero(codes.per_worker >= MIN_ANSWERS):
        mine = codes.worker == worker
        pairs = np.zeros((codes.n_classes, codes.n_classes))
        np.add.at(pairs, (codes.label[mine], z[codes.task[mine]]), 1 / mine.sum())
        chance = float(pairs.sum(axis=0) @ pairs.sum(axis=1))
        found[worker] = (np.trace(pairs) - chance) / (1 - chance) if chance < 1 else np.nan
    return found


def options_of_the_score(report: Report, sets: dict[str, CrowdSet], draws: int) -> None:
    """What the options do to AUROC at p_llm .1: none of them is a default."""
    estimators = {"default": Estimator(), "leave-one-out": Estimator(leave_one_out=True)}
    estimators |= {f"guard {c:g}": Estimator(guard=c) for c in (0.1, 0.2, 0.5, 1.0)}
    rows = []
    for name, data in sets.items():
        row: dict[str, Any] = {"set": name}
        for words, estimator in estimators.items():
            each = []
            for seed in range(draws):
                found = draw(data, 0.1, seed)
                scores, _ = scored(found, estimator)
                each.append(auroc(scores.score, found.planted.kind == 0)[0])
            row[words] = float(np.nanmean(each))
        rows.append(row)
    report.table(f"AUROC at p_llm .1 by option, mean of {draws} draws", rows)
    same = max(abs(row["leave-one-out"] - row["default"]) for row in rows)
    report.bars.append(at_most("peers: leave-one-out against default, largest difference of AUROC", same, 0.02))


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--draws", type=int, default=50)
    options = made.parse_args()
    report = begin("peers", options)
    if not CROWD.exists():
        report.skip("no shared data: crowd not found under ../shared/data beside the project")
        return
    draws = 3 if options.quick else options.draws
    sets = {name: load(name) for name in SETS}
    acceptance(report, sets, draws)
    thresholds(report, {k: v for k, v in sets.items() if k != "d_jn-product"}, draws)
    options_of_the_score(report, sets, max(3, draws // 5))
    baselines(report, {k: sets[k] for k in ("rte", "bluebird")}, max(1, draws // 50))
    report.finish()


if __name__ == "__main__":
    main()
