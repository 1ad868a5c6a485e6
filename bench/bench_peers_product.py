"""A real, weak LLM beside a real crowd: SmolLM2 labels the product pairs of ``crowd/product``, and the audit looks.

``python bench/bench_peers_product.py [--pairs N] [--quick] [--json PATH]`` (an hour or two; seconds once cached)

24,945 answers by 176 workers say whether two shop entries are the same product. SmolLM2-135M-Instruct reads the names
of both, through ``tamis rate`` on a scale of 0 to 1: its rating is the probability of "the same". Samples of the model
are labels drawn with that probability, as sampling at temperature 1 would. The ids of the questions end in the truth,
which is cut off before any model sees them.
"""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from crowds import CROWD
from numpy.typing import NDArray
from tables import Report, begin, parser, reported

from tamis.curate.rating import RatingSettings
from tamis.data import Answers, Signal, read_llm_labels
from tamis.engine import get_engine
from tamis.evidence import auroc
from tamis.people import PeerPrediction, Rates, simulate
from tamis.recipe import Recipe
from tamis.registry import JOBS
from tamis.runs import Run

FOLDER = CROWD / "product"
SAMPLES = 4
RUBRIC = """role: You compare entries of two shops.
scale: {min: 0, max: 1}
criteria:
  - {name: overall, text: whether A and B are the same product, anchors: {0: different products, 1: the same product}}
"""
QUESTION = "Do these two shop entries name the same product?"


def rows_of(name: str) -> list[dict[str, str]]:
    """Rows of a gzipped CSV file of the set, the truth cut from the ids of the questions."""
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{**row, "question": row["question"].rsplit("_", 1)[0]} for row in rows]


def records_of(tasks: list[str]) -> list[dict[str, str]]:
    """One record a task: the names of both entries."""
    with gzip.open(FOLDER / "product_texts.jsonl.gz", "rt", encoding="utf-8") as stream:
        names = {str(row["id"]): row["name"] for row in map(json.loads, stream)}
    records = []
    for task in tasks:
        a, b = task.split("_")
        records.append({"id": task, "prompt": QUESTION, "response": f"A: {names[a]}\nB: {names[b]}"})
    return records


def probabilities(tasks: list[str]) -> NDArray[np.float64]:
    """What SmolLM2 gives "the same product" for each task; replies come from the cache if they are there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rubric.yaml").write_text(RUBRIC, encoding="utf-8")
        (folder / "pool.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in records_of(tasks)), encoding="utf-8"
        )
        settings = RatingSettings(("hf:smollm2",), embedder=None)
        inputs = {role: str(folder / file) for role, file in (("pool", "pool.jsonl"), ("rubric", "rubric.yaml"))}
        recipe = Recipe(method="rate", inputs=inputs, params=settings.to_params())
        with Run.start(folder / "run", recipe, command="bench_peers_product") as run:
            JOBS["rate"].load_job()(run, engine=get_engine("inline"), progress=tell)
        signal = Signal.read(folder / "run" / "signal.parquet").frame.filter(pl.col("criterion") == "overall")
    found = dict(signal.select("unit_id", "value").iter_rows())
    return np.array([found[task] for task in tasks], dtype=np.float64)


def tell(step: str, done: int, total: int) -> None:
    """Print a line now and then: an hour is long."""
    if done % 800 < 32 or done == total:
        print(f"{step}: {done}/{total}", flush=True)


def samples_of(tasks: list[str], p: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Labels drawn with probability p, several times."""
    rng = np.random.default_rng(0)
    drawn = rng.random((SAMPLES, len(tasks))) < p
    return [
        {"task": task, "model": "smollm2", "sample": s, "label": int(drawn[s, i])}
        for s in range(SAMPLES)
        for i, task in enumerate(tasks)
    ]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--pairs", type=int, default=None, help="label the first pairs only, in order of their ids")
    options = made.parse_args()
    report = begin("peers product", options)
    if not FOLDER.exists():
        report.skip("no shared data: crowd/product not found under ../shared/data beside the project")
        return
    rows = rows_of("product_answer.csv.gz")
    truth = {row["question"]: int(row["truth"]) for row in rows_of("product_truth.csv.gz")}
    if options.quick:
        first = sorted(truth)[:60]
        rows = [row for row in rows if row["question"] in first]
    answers = Answers.from_frame(rows, task="question", worker="worker", label="answer")
    known = np.array([truth[task] for task in answers.tasks])
    audit(report, answers, known, pairs=options.pairs, quick=options.quick)
    report.finish()


def audit(report: Report, answers: Answers, truth: NDArray[np.int64], *, pairs: int | None, quick: bool) -> None:
    """What SmolLM2 knows, what the audit says of the crowd with it, and how well it finds workers who paste from it."""
    tasks = answers.tasks.to_list()[:pairs]
    p = probabilities(tasks)
    labels = read_llm_labels(samples_of(tasks, p))
    first = labels.aligned(answers).of("smollm2")[0]
    asked = truth[: len(tasks)]
    value, low, high = auroc(p, asked == 1)
    right = float((first[: len(tasks)] == asked).mean())
    report.say(
        f"SmolLM2 on {len(tasks)} of {len(truth)} pairs: AUROC of its probability {value:.3f} ({low:.3f} to "
        f"{high:.3f}), mean {p.mean():.3f}, s.d. {p.std():.3f}; a sample is right on {right:.3f} of the pairs, always "
        f"'different' on {(asked == 0).mean():.3f}"
    )
    method = PeerPrediction(min_answers=5 if quick else 30)
    found = method.fit(answers, llm=labels)
    gold = pl.DataFrame({"task": answers.tasks, "truth": pl.Series(truth).cast(pl.String)})
    judged = answers.to_long().join(gold, on="task").with_columns(right=pl.col("label") == pl.col("truth"))
    by_worker = judged.group_by("worker").agg(accuracy=pl.col("right").mean())
    workers = found.workers_.join(by_worker, on="worker").filter(pl.col("score").is_not_null())
    rows = [
        {"action": action, "workers": part.height, "accuracy": part["accuracy"].mean(), "score": part["score"].mean(),
         "CA": part["ca"].mean(), "similarity": part["similarity:smollm2"].mean()}
        for (action,), part in sorted(workers.group_by("action"))
    ]  # fmt: skip
    report.table("Workers by recommended action (accuracy against the gold labels)", rows)
    threshold = found.threshold_
    if threshold is not None and found.false_alarms_ is not None:
        value, low, high = threshold.threshold
        alarms = found.false_alarms_
        report.say(
            f"threshold {value:.4f} ({low:.4f} to {high:.4f}); false alarms about {alarms.share:.0%} "
            f"({alarms.low:.0%} to {alarms.high:.0%}); median virtual worker {threshold.median:.4f}, median worker "
            f"{workers['score'].median():.4f}"
        )
    before, after = (
        float((consensus.labels == truth)[consensus.n_answers > 0].mean())
        for consensus in (found.before_, found.after_)
    )
    report.bars += [
        reported("peers product: consensus right before / after flagged workers go", f"{before:.4f} / {after:.4f}"),
        reported("peers product: tasks left without an answer", str(int((found.after_.n_answers == 0).sum()))),
    ]
    planted = simulate(answers, labels, rates=Rates(), runs=3 if quick else 20, method=method)
    mean = planted.summary()
    report.table(
        "Workers planted who paste from SmolLM2, at random and biased: AUROC and flagged shares",
        [{"measure": name, **{k: mean[name][k] for k in ("mean", "low", "high", "sd")}} for name in mean],
    )


if __name__ == "__main__":
    main()
