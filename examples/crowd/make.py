"""Make the simulated crowd of this folder: ``python examples/crowd/make.py``. Seeded; the same files every time.

600 tasks of three classes, 63 workers. Tasks differ in difficulty: easy ones are right for nearly everybody, hard ones
mislead people and models, each in their own way. Two simulated LLMs label every task, three times and twice. Among the
workers are seven who paste from one of the LLMs (two of them change every tenth answer), four who answer at random and
three who nearly always give one label; three others answered too little to be judged.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CLASSES = ("negative", "neutral", "positive")
N_TASKS, N_WORKERS = 600, 63
KINDS = {"pasted a": 4, "pasted a and changed": 2, "pasted b": 1, "random": 4, "one label": 3, "few answers": 3}


def other(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one of the two other classes."""
    return (labels + rng.integers(1, 3, len(labels))) % 3


def wrong_where(truth: np.ndarray, chance: np.ndarray | float, rng: np.random.Generator) -> np.ndarray:
    """Labels that are wrong with this chance."""
    return np.where(rng.random(len(truth)) < chance, other(truth, rng), truth)


def write(name: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a CSV file beside this one."""
    with (HERE / name).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    """Write answers.csv, llm.csv and planted.csv."""
    rng = np.random.default_rng(20261124)
    truth = rng.choice(3, N_TASKS, p=(0.3, 0.25, 0.45))
    hardness = rng.beta(1.2, 3.0, N_TASKS)
    base, samples = {}, {}
    for model, error, n in (("assistant-a", 0.26, 3), ("assistant-b", 0.36, 2)):
        base[model] = wrong_where(truth, np.clip(error * hardness / hardness.mean(), 0, 0.9), rng)
        samples[model] = [wrong_where(base[model], 0.08, rng) for _ in range(n)]
    pasted = {"pasted a": "assistant-a", "pasted a and changed": "assistant-a", "pasted b": "assistant-b"}
    kinds = [kind for kind, n in KINDS.items() for _ in range(n)]
    kinds += ["independent"] * (N_WORKERS - len(kinds))
    names = [f"w{i:02d}" for i in rng.permutation(N_WORKERS) + 1]
    answers: list[tuple[object, ...]] = []
    for worker, kind in zip(names, kinds, strict=True):
        n = rng.integers(8, 25) if kind == "few answers" else rng.integers(60, 130)
        at = rng.choice(N_TASKS, int(n), replace=False)
        error = np.clip(rng.uniform(0.08, 0.3) * hardness[at] / hardness.mean(), 0, 0.8)
        if kind in pasted:
            said = wrong_where(base[pasted[kind]][at], 0.08, rng)  # a sample that the requester does not have
            label = wrong_where(said, 0.1, rng) if "changed" in kind else said
        elif kind == "random":
            label = rng.choice(3, len(at), p=(0.3, 0.25, 0.45))
        elif kind == "one label":
            label = np.where(rng.random(len(at)) < 0.92, 2, rng.integers(0, 3, len(at)))
        else:
            label = wrong_where(truth[at], error, rng)
        answers += [(f"t{t:03d}", worker, CLASSES[k]) for t, k in zip(at, label, strict=True)]
    answers = [answers[i] for i in rng.permutation(len(answers))]
    write("answers.csv", ("task", "worker", "label"), answers)
    write("llm.csv", ("task", "model", "sample", "label"),
          [(f"t{t:03d}", model, s, CLASSES[labels[t]]) for model, each in samples.items()
           for s, labels in enumerate(each) for t in range(N_TASKS)])  # fmt: skip
    write("planted.csv", ("worker", "kind"), sorted(zip(names, kinds, strict=True)))


if __name__ == "__main__":
    main()
