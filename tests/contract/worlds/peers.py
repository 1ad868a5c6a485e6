"""World of peer prediction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tamis.data import Answers, Table, read_answers, read_llm_labels
from tamis.people import PeerPrediction

from .world import SelectorWorld


class PeersWorld(SelectorWorld):
    """118 workers: 25 paste from an LLM, 20 answer at random, eight gave too few answers to be scored."""

    estimator = PeerPrediction
    params: ClassVar[dict[str, Any]] = {"min_answers": 15, "n_bootstrap": 40}

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        rng = np.random.default_rng(11)
        n_tasks, n_workers = 160, 118
        truth = rng.integers(0, 3, n_tasks)
        base = np.where(rng.random(n_tasks) < 0.65, truth, (truth + 1) % 3)
        samples = [np.where(rng.random(n_tasks) < 0.1, (base + 2) % 3, base) for _ in range(3)]
        unlike = np.where(rng.random(n_tasks) < 0.5, truth, (truth + 2) % 3)
        rows = []
        for worker in range(n_workers):
            at = rng.choice(n_tasks, 5 if worker >= 110 else 40, replace=False)
            own = np.where(rng.random(len(at)) < 0.75, truth[at], rng.integers(0, 3, len(at)))
            said = samples[2][at] if worker < 25 else rng.integers(0, 3, len(at)) if worker < 45 else own
            rows += [
                {"task": f"t{t}", "worker": f"w{worker:03d}", "label": "abc"[k]} for t, k in zip(at, said, strict=True)
            ]
        answers = Answers.from_frame([rows[i] for i in rng.permutation(len(rows))])
        labels = [{"task": f"t{t}", "model": model, "sample": s, "label": "abc"[k[t]]}
                  for model, s, k in (("m", 0, samples[0]), ("m", 1, samples[1]), ("n", 0, unlike))
                  for t in range(n_tasks)]  # fmt: skip
        return {"answers": answers, "llm": read_llm_labels(labels)}

    def units(self, given: dict[str, Any]) -> list[str]:
        return given["answers"].workers.to_list()

    def size(self, given: dict[str, Any]) -> int:
        return len(given["answers"])

    def take(self, given: dict[str, Any], rows: Any) -> dict[str, Any]:
        return {**given, "answers": given["answers"].take(rows)}

    def order(self, given: dict[str, Any]) -> list[str]:
        return given["answers"].table.ids.to_list()

    def duplicated(self, given: dict[str, Any], folder: Path) -> list[Callable[[], Any]]:
        frame = given["answers"].to_long()
        twice = pl.concat([frame, frame[:1]])
        twice.write_csv(folder / "answers.csv")
        ways = (lambda: Answers.from_frame(twice, duplicates="error"),
                lambda: read_answers(folder / "answers.csv", duplicates="error"))  # fmt: skip
        return list(ways)

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        kept = fitted.workers_.filter(action="keep")["n_answers"].sum()
        return fitted.answer_selection_.apply(given["answers"].table), kept

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        frame = given["answers"].to_long()
        left = pl.int_range(pl.len()).over("worker") < 3  # a worker who gave no answer at all would not be a unit
        gone = pl.col("worker").is_in(ids) & ~left
        if status == "missing":
            frame = frame.filter(~gone)
        else:
            blank = pl.lit(None if status == "refused" else "", dtype=pl.String)
            frame = frame.with_columns(label=pl.when(gone).then(blank).otherwise("label"))
        return {**given, "answers": Answers.from_frame(frame)}

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"condition": fitted.conditions_[0].z, "virtual labels": fitted.conditions_[0].others}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        given["answers"].to_long().write_ndjson(folder / "answers.jsonl")
        given["llm"].frame.select("task", "model", "sample", "label").write_csv(folder / "llm.csv")
        inputs = {"answers": str(folder / "answers.jsonl"), "llm": str(folder / "llm.csv")}
        return inputs, dict(self.params)
