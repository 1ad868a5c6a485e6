"""Real judges with recorded repeats: what the report says about them, beside NumPy, and neighbours beside repeats.

``python bench/bench_recorded_judges.py [--quick] [--json PATH]``

1. 2,060 responses rated by GPT-4 and by GPT-3.5, each twice with the position swapped, on 0-10. The two answers to one
   instruction were rated in one call, against each other, and are often nearest neighbours.
2. The 1,030 of them by one model: no two were rated in the same call.
3. 80 answers of Vicuna-13B rated by GPT-4 four times, each time beside another model's answer, on 1-10: too few for
   neighbours.

Ratings are taken from columns (``--rater NAME=columns:A,B``) by the job that runs behind ``tamis rate``. Neighbours are
those of MiniLM.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pools import json_rows
from tables import SHARED_DATA, Bar, Report, at_most, begin, parser

from tamis.curate.rating import RatingSettings
from tamis.curate.rating.matrices import MIN_ROWS
from tamis.engine import get_engine
from tamis.recipe import Recipe
from tamis.registry import JOBS
from tamis.runs import Run

CHERRY = SHARED_DATA / "cherry_llm_ratings" / "ratings.jsonl.gz"
VICUNA = SHARED_DATA / "vicuna80_gpt4_reviews"
RIVALS = ("alpaca-13b", "bard", "gpt35", "llama-13b")
JUDGES = {"gpt4": ("gpt4_fwd", "gpt4_rev"), "gpt35": ("gpt35_fwd", "gpt35_rev")}
RUBRIC = "role: You rate answers.\nscale: {min: 0, max: 10}\ncriteria: [{name: overall, text: how good it is}]\n"


def vicuna_rows() -> list[dict[str, Any]]:
    """Vicuna's answers with the score of each review."""

    def lines(name: str) -> dict[int, dict[str, Any]]:
        text = (VICUNA / f"{name}.jsonl").read_text(encoding="utf-8")
        return {row["question_id"]: row for row in map(json.loads, text.splitlines())}

    questions, answers = lines("question"), lines("answer_vicuna-13b")
    reviews = {rival: lines(f"review_{rival}_vicuna-13b") for rival in RIVALS}
    return [
        {
            "id": f"q{i}", "instruction": questions[i]["text"], "output": answers[i]["text"],
            **{rival: found[i]["score"][1] for rival, found in reviews.items()},
        }
        for i in sorted(questions)
    ]  # fmt: skip


def findings(rows: list[dict[str, Any]], judges: Mapping[str, tuple[str, ...]], folder: Path) -> dict[str, Any]:
    """Rate by recorded columns as ``tamis rate`` does; return what its report shows."""
    folder.mkdir()
    (folder / "rubric.yaml").write_text(RUBRIC, encoding="utf-8")
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = RatingSettings(tuple(f"{name}=columns:{','.join(columns)}" for name, columns in judges.items()))
    inputs = {role: str(folder / name) for role, name in (("pool", "pool.jsonl"), ("rubric", "rubric.yaml"))}
    recipe = Recipe(method="rate", inputs=inputs, params=settings.to_params())
    with Run.start(folder / "run", recipe, command="bench_recorded_judges") as run:
        summary = JOBS["rate"].load_job()(run, engine=get_engine("inline"))
    if summary["unmeasured"]:
        raise SystemExit(f"{summary['unmeasured']} recorded ratings are unmeasured")
    (path,) = (folder / "run" / "steps").glob("*-judges/findings.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def by_numpy(values: NDArray[np.float64]) -> dict[str, float]:
    """Retest figures of (n, k) ratings without gaps: share of equal pairs, sd within, ICC(1,1), first minus second."""
    n, k = values.shape
    within = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum() / (n * (k - 1))
    between = k * values.mean(axis=1).var(ddof=1)
    return {
        "exact": float(np.mean([values[:, i] == values[:, j] for i, j in combinations(range(k), 2)])),
        "sd": float(np.sqrt(within)),
        "reliability": float((between - within) / (between + (k - 1) * within)),
        "difference": float((values[:, 0] - values[:, 1]).mean()),
    }


def classes_of(names: list[str], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class of each rating by the names of the classes: whole numbers, or "a-b" with b inside."""
    if "-" not in names[0]:
        return np.floor(values + 0.5)
    return np.searchsorted([float(name.split("-")[1]) for name in names[:-1]], values, side="left").astype(float)


def compare(report: Report, title: str, rows: list[dict[str, Any]], judges: Mapping[str, tuple[str, ...]]) -> None:
    """Print what is found about each judge, and hold it against NumPy."""
    with tempfile.TemporaryDirectory() as name:
        found = findings(rows, judges, Path(name) / "pool")
    matrices = {matrix["rater"]: matrix for matrix in found["judges"]["matrices"]}
    table, apart = [], []
    values = {judge: np.array([[row[c] for c in cols] for row in rows], float) for judge, cols in judges.items()}
    for one in found["judges"]["raters"]:
        judge = one["rater"]
        ours = {**{k: one["retest"][k] for k in ("exact", "sd", "reliability")}, **one["shift"]}
        apart += [abs(ours[name][0] - value) for name, value in by_numpy(values[judge]).items()]
        line = {
            "judge": judge, "rows": len(rows), "exact repeat": interval(ours["exact"]),
            "sd within": interval(ours["sd"]), "ICC": interval(ours["reliability"]),
            "A - B": interval(ours["difference"]), "classes": "", "equal classes": "", "T implies": "",
            "verdict": found["no_matrix"].get(judge, "") if len(rows) >= MIN_ROWS else f"fewer than {MIN_ROWS} rows",
        }  # fmt: skip
        if judge in matrices:
            apart += beside(report, line, matrices[judge], values[judge], title)
        table.append(line)
    for pair in found["judges"]["pairs"]:
        a, b = (values[pair[side]].mean(axis=1) for side in "ab")
        apart.append(abs(pair["difference"][0] - (a - b).mean()))
        spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
        apart.append(abs(pair["kappa"][0] - 2 * np.cov(a, b, ddof=0)[0, 1] / spread))
        report.say(f"{title}: {pair['a']} and {pair['b']} on means: quadratic kappa {interval(pair['kappa'])}")
    report.table(title, table)
    report.bars.append(at_most(f"recorded judges: {title}, distance to NumPy", float(max(apart)), 1e-9, digits=12))


def beside(
    report: Report, line: dict[str, Any], matrix: dict[str, Any], values: NDArray[np.float64], title: str
) -> list[float]:
    """Add the repeat by class, counted here, beside what T implies; return how far tamis is from the count."""
    classes = classes_of(matrix["transition"]["class_names"], values)
    equal = float((classes[:, 0] == classes[:, 1]).mean())
    line |= {
        "classes": len(matrix["transition"]["class_names"]), "equal classes": equal,
        "T implies": interval(matrix["implied"]), "verdict": matrix["verdict"],
    }  # fmt: skip
    report.say(f"{title}: {line['judge']}: {len(matrix['warnings'])} warnings, first: {matrix['warnings'][:1]}")
    held = matrix["repeat"] is not None
    agree = {True: "they agree", False: "they do not agree", None: "open"}[matrix["agree"]]
    report.bars.append(
        Bar(
            f"recorded judges: {title}, {line['judge']}, repeat held against T", "given",
            f"{equal:.2f} measured, {matrix['implied'][0]:.2f} implied: {agree}" if held else "not given", held,
            matrix["reason"],
        )
    )  # fmt: skip
    return [abs(matrix["repeat"]["exact"][0] - equal)] if held else []


def interval(estimate: list[float] | None) -> str:
    if estimate is None or estimate[0] is None:
        return "-"
    value, low, high = estimate
    return f"{value:.2f}" if low is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    options = parser(__doc__).parse_args()
    report = begin("recorded judges", options)
    if not CHERRY.exists() or not VICUNA.exists():
        report.skip("no shared data: cherry_llm_ratings not found under ../shared/data beside the project")
        return
    rows = [{"id": f"r{i}", **row} for i, row in enumerate(json_rows(CHERRY))]
    columns = ("id", "instruction", "response", "model", *(c for pair in JUDGES.values() for c in pair))
    kept = [{name: row[name] for name in columns} for row in (rows[:440] if options.quick else rows)]
    compare(report, "cherry, both models", kept, JUDGES)
    compare(report, "cherry, one model", [row for row in kept if row["model"] == "cherry_alpaca_5pct"], JUDGES)
    compare(report, "vicuna80", vicuna_rows(), {"gpt4": RIVALS})
    report.finish()


if __name__ == "__main__":
    main()
