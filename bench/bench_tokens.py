"""Token Cleaning: are task tokens found, how fast are tokens scored, how much memory does it take?

``python bench/bench_tokens.py [--quick] [--json PATH]``

Recovery: records of boilerplate, task and noise tokens; a small llama that knows the boilerplate is the base, the same
after a warm-up on clean records the reference. Speed: SmolLM2 on Dolly, beside bare forward passes on the same batches
and beside a scorer with padded batches in file order. Memory: rows of 2,048 tokens, a vocabulary of 131,072. The step
from scores to a mask: 25 million tokens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tables import Report, at_least, at_most, begin, not_judged, parser, reported
from token_worlds import BOILERPLATE, KINDS, NOISE, TASK, VOCABULARY, copy_of, known_tokens, small_llama, taught

from tamis.curate.tokens import TokenCleaner
from tamis.evidence.ranking import auroc
from tamis.train.settings import TrainSettings
from tamis.train.token_losses import token_losses

CHILD = Path(__file__).with_name("tokens_child.py")
MIN_AUROC, MIN_LOWER, MIN_OF_BARE, MIN_OF_PADDED = 0.85, 0.7, 0.85, 2.0
MAX_EXTRA_GB, MAX_MASK_SECONDS, MAX_MASK_GB = 1.5, 10.0, 1.0
SETTINGS = {"tune": "full", "learning_rate": 3e-3, "batch_rows": 32, "micro_tokens": 8192}
BASE_EPOCHS, WARMUP_EPOCHS = 3.0, 10.0
"""Until the base knows the boilerplate, and until the warm-up has taught the task."""


def recovery(seed: int, *, n: int) -> dict[str, Any]:
    """AUROC of the score for task tokens in one world, and the mean score and kept share of each kind."""
    rng = np.random.default_rng(seed)
    taught_rows = known_tokens(4 * n, rng, task="random", noise=True)
    base = taught(
        small_llama(VOCABULARY, width=64, layers=2, seed=seed), taught_rows.rows, taught_rows.rows.response,
        TrainSettings(**SETTINGS, epochs=BASE_EPOCHS, seed=seed),
    )  # fmt: skip
    warm = known_tokens(n, rng, task="right", noise=False)
    reference = taught(
        copy_of(base), warm.rows, warm.rows.response, TrainSettings(**SETTINGS, epochs=WARMUP_EPOCHS, seed=seed)
    )
    pool = known_tokens(n, rng, task="right", noise=True)
    losses = [token_losses(network, pool.rows) for network in (base, reference)]
    cleaner = TokenCleaner(keep=0.3).fit(pool.rows, base=losses[0], reference=losses[1])
    score, kind, mask = cleaner.score_, pool.kind, cleaner.mask_
    inside = kind >= 0
    found: dict[str, Any] = {"seed": seed, "AUROC": auroc(score[inside], kind[inside] == TASK)[0]}
    for code, name in ((BOILERPLATE, "boilerplate"), (NOISE, "noise")):
        some = (kind == TASK) | (kind == code)
        found[f"AUROC, {name}"] = auroc(score[some], kind[some] == TASK)[0]
    for code, name in enumerate(KINDS):
        found[f"score, {name}"] = float(score[kind == code].mean())
        found[f"kept, {name}"] = float(mask[kind == code].mean())
    return found


def child(task: str, *arguments: str) -> dict[str, Any]:
    """Run one task in a process of its own, on all cores, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-W", "ignore", str(CHILD), task, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def recovered(report: Report, *, quick: bool) -> None:
    """Measure the recovery."""
    rows = [recovery(seed, n=200 if quick else 600) for seed in range(2 if quick else 5)]
    report.table("Recovery of task tokens, by world", rows)
    values = np.array([row["AUROC"] for row in rows])
    lower = values.mean() - 2.776 * values.std(ddof=1) / np.sqrt(len(values))  # Student, 4 degrees of freedom
    bars = [
        at_least("tokens: AUROC of the score for task tokens, mean of 5 worlds", float(values.mean()), MIN_AUROC),
        at_least("tokens: its lower 95 % bound over worlds", float(lower), MIN_LOWER),
    ]
    report.bars += [not_judged(bar, "small worlds") for bar in bars] if quick else bars
    for name in ("boilerplate", "noise"):
        worst = min(row[f"AUROC, {name}"] for row in rows)
        report.bars.append(reported(f"tokens: task against {name}, worst world", f"{worst:.3f}"))


def main() -> None:
    options = parser(__doc__).parse_args()
    report = begin("tokens", options)
    recovered(report, quick=options.quick)
    speed = child("speed", "24" if options.quick else "160")
    report.table("Scoring speed, one process", speed.pop("passes"))
    report.say(f"{speed['tokens']:,} tokens of {speed['rows']} Dolly records, {speed['answers']:,} of them answers")
    bars = [
        at_least(
            "tokens: bare forward passes / scoring, same batches", speed["of bare"], MIN_OF_BARE, unit="x", digits=2
        ),
        at_least(
            "tokens: padded batches in file order / scoring", speed["of padded"], MIN_OF_PADDED, unit="x", digits=2
        ),
    ]
    report.bars += [not_judged(bar, "few records") for bar in bars] if options.quick else bars
    memory = child("memory", "2" if options.quick else "8")
    note = ", ".join(f"{name} {memory[name]:.2f}" for name in ("before GB", "weights GB", "peak GB"))
    report.bars.append(
        at_most("tokens: memory beyond weights, rows of 2,048, vocabulary 131,072", memory["extra GB"], MAX_EXTRA_GB,
                unit=" GB", note=note)
    )  # fmt: skip
    mask = child("mask", "1000000" if options.quick else "25000000")
    bars = [
        at_most(f"tokens: mask of {mask['tokens']:,} tokens", mask["seconds"], MAX_MASK_SECONDS, unit=" s", digits=2),
        at_most("tokens: its peak memory", mask["peak GB"], MAX_MASK_GB, unit=" GB"),
    ]
    report.bars += [not_judged(bar, "few tokens") for bar in bars] if options.quick else bars
    report.bars.append(reported("tokens: mask by record, same tokens", f"{mask['by record']:.2f} s"))
    report.finish()


if __name__ == "__main__":
    main()
