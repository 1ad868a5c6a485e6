"""The ``peers`` job: an audit of a crowd executed in a run directory, step by step, resumable at every point."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.data import AnswerCodes, Answers, LLMLabels, read_answers, read_llm_labels, write_answers
from tamis.engine import Engine
from tamis.errors import RecipeError, did_you_mean
from tamis.people.checks import require_crowd
from tamis.people.crowd_scores import Condition, score_condition
from tamis.people.findings import findings
from tamis.people.peer import VERSION, PeerPrediction
from tamis.people.removal import audit_evidence
from tamis.people.scoring import Terms
from tamis.people.strata import Strata
from tamis.recipe import Recipe
from tamis.runs import Run, Step, atomic_path, atomic_write_text
from tamis.runs.step_files import write_frame
from tamis.runs.steps import Progress
from tamis.select import Selection

READ_OPTIONS = ("format", "layout", "task", "worker", "label", "duplicates", "classes")
"""Recipe parameters that say how the answers are read."""
N_SHOWN = 12


def audit(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a peers recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; ``recipe.inputs`` names ``answers`` and perhaps ``llm``, ``llm2``, ...; ``recipe.params`` holds the
        parameters of :class:`PeerPrediction` and of :func:`tamis.data.read_answers`.
    engine : Engine
        Who scores the conditionings.
    progress : callable, optional
        Called with (step name, units done, units in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; the manifest keeps it.
    """
    recipe = run.recipe
    method = method_of(recipe)
    answers = answers_of(recipe)
    if len(answers.table.rejects):
        write_frame(run.folder / "rejects.parquet", answers.table.rejects)
    require_crowd(answers, min_answers=method.min_answers)
    labels = labels_of(recipe)
    aligned = None if labels is None else labels.aligned(answers)
    crowd = Crowd(answers.codes, tuple([] if aligned is None else Condition.of(aligned)))
    key = {"version": VERSION, "params": method.get_params(), "inputs": run.manifest["identity"]["inputs"],
           "read": {k: recipe.params.get(k) for k in READ_OPTIONS}}  # fmt: skip
    terms = _score(run.step("score", **key), crowd, method, engine, progress)
    step = run.step("decide", **key)
    if not step.complete:
        started = time.monotonic()
        method.settle(answers, aligned, list(crowd.conditions), terms)
        _write_outcome(step, method, answers)
        step.finish(seconds=time.monotonic() - started)
    return _publish(run, step, answers)


def method_of(recipe: Recipe) -> PeerPrediction:
    """Return the method with a recipe's parameters.

    Raises
    ------
    RecipeError
        If a parameter is unknown or wrong.
    """
    for role in recipe.inputs:
        if role != "answers" and not re.fullmatch(r"llm\d*", role):
            raise RecipeError(
                f"The inputs of a peers recipe have no {role!r}.{did_you_mean(role, ['answers', 'llm', 'llm2'])}"
            )
    params = {k: v for k, v in recipe.params.items() if k not in READ_OPTIONS}
    known = [name for name in PeerPrediction.parameter_names() if name != "seed"]
    for name in params:
        if name not in known:
            raise RecipeError(f"The params of a peers recipe have no {name!r}.{did_you_mean(name, known)}")
    method = PeerPrediction(**params, seed=recipe.seed)  # type: ignore[arg-type]
    method.validate()
    return method


def answers_of(recipe: Recipe) -> Answers:
    """Read the answers that a recipe names."""
    options = {k: recipe.params[k] for k in READ_OPTIONS if recipe.params.get(k) is not None}
    return read_answers(recipe.input_path("answers"), **options)  # type: ignore[arg-type]


def labels_of(recipe: Recipe) -> LLMLabels | None:
    """Read the LLM labels that a recipe names, None if it names none."""
    paths = [path for role, path in sorted(recipe.inputs.items()) if role.startswith("llm")]
    return LLMLabels.concat([read_llm_labels(path) for path in paths]) if paths else None


@dataclass(frozen=True, eq=False)
class Crowd:
    """What shards work on; it travels between processes as one file."""

    codes: AnswerCodes
    conditions: tuple[Condition, ...]

    def save(self, path: Path) -> None:
        """Write all arrays to an ``.npz`` file."""
        codes = self.codes
        arrays = {"task": codes.task, "worker": codes.worker, "label": codes.label,
                  "sizes": np.array([codes.n_tasks, codes.n_workers, codes.n_classes]),
                  "models": np.array([each.model for each in self.conditions], dtype=np.str_)}  # fmt: skip
        for index, each in enumerate(self.conditions):
            arrays |= {f"z{index}": each.z, f"others{index}": each.others}
        with atomic_path(path) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str) -> Crowd:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as given:
            codes = AnswerCodes(given["task"], given["worker"], given["label"], *map(int, given["sizes"]))
            models = given["models"].tolist()
            conditions = [Condition(name, given[f"z{i}"], given[f"others{i}"]) for i, name in enumerate(models)]
        return cls(codes, tuple(conditions))


@dataclass(frozen=True)
class _ScoreCondition:
    """Score all answers under one conditioning."""

    path: str
    params: tuple[tuple[str, Any], ...]

    def __call__(self, index: int) -> pl.DataFrame:
        crowd, method = Crowd.load(self.path), PeerPrediction(**dict(self.params))
        terms = score_condition(crowd.codes, crowd.conditions, index, estimator=method.estimator, seed=method.seed)
        return pl.DataFrame(terms.values, schema=[f"v{i}" for i in range(terms.values.shape[1])], orient="row")


def _terms(crowd: Crowd, parts: list[pl.DataFrame]) -> list[Terms]:
    strata = [Strata.whole(crowd.codes), *(Strata.of(crowd.codes, each.z) for each in crowd.conditions)]
    return [Terms(stratum, part.to_numpy()) for stratum, part in zip(strata, parts, strict=True)]


def _params(method: PeerPrediction) -> tuple[tuple[str, Any], ...]:
    return tuple(method.get_params().items())


def _score(step: Step, crowd: Crowd, method: PeerPrediction, engine: Engine, progress: Progress | None) -> list[Terms]:
    shards = list(range(-1, len(crowd.conditions)))
    if not step.complete:
        path = step.folder / "crowd.npz"
        crowd.save(path)
        sizes = [len(crowd.codes)] * len(shards)
        step.map(_ScoreCondition(str(path), _params(method)), shards, engine=engine, sizes=sizes, progress=progress)
        path.unlink()
    return _terms(crowd, list(step.parts()))


def _write_outcome(step: Step, method: PeerPrediction, answers: Answers) -> None:
    write_frame(step.folder / "part-00000.parquet", method.workers_)
    write_frame(step.folder / "consensus.parquet", method.consensus_)
    method.selection_.write(step.folder / "selection.parquet")
    method.answer_selection_.write(step.folder / "answer_selection.parquet")
    write_frame(step.folder / "evidence.parquet", audit_evidence(method, answers.codes).frame)
    found = findings(method, answers)
    text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    atomic_write_text(step.folder / "findings.json", text + "\n")


def _publish(run: Run, step: Step, answers: Answers) -> dict[str, Any]:
    """Put the results at the top of the run directory and finish it."""
    names = ("selection", "answer_selection", "consensus", "evidence")
    for name in names:
        write_frame(run.folder / f"{name}.parquet", pl.read_parquet(step.folder / f"{name}.parquet"))
    workers = pl.read_parquet(step.folder / "part-00000.parquet")
    with atomic_path(run.folder / "workers.csv") as temporary:
        workers.sort("score", "worker", nulls_last=True).write_csv(temporary)
    consensus = pl.read_parquet(step.folder / "consensus.parquet")
    with atomic_path(run.folder / "recollect.csv") as temporary:
        consensus.filter(pl.col("rank").is_not_null()).sort("rank").drop("rank").write_csv(temporary)
    chosen = Selection.read(step.folder / "answer_selection.parquet")
    keep = chosen.frame.filter(pl.col("decision") == "keep")["unit_id"]
    mask = answers.table.ids.is_in(keep.implode())
    selected = run.folder / f"selected.{_suffix(answers)}"
    if len(keep):
        write_answers(answers.take(mask), selected)
    found = json.loads((step.folder / "findings.json").read_text(encoding="utf-8"))
    summary = {
        "run": str(run.folder),
        "answers": len(answers),
        "rows": len(answers),
        "rejected": len(answers.table.rejects),
        **{name: found["crowd"][name] for name in ("workers", "tasks")},
        "classes": len(answers.classes),
        "models": [each["model"] for each in found["llm"]],
        "measured": found["crowd"]["workers"] - found["unmeasured"],
        **found["states"],
        "threshold": found["threshold"],
        "false_alarms": found["false_alarms"],
        "read": _read_as(answers),
        "answers_kept": len(keep),
        "answers_left_out": _left_out(chosen),
        "tasks_uncovered": found["tasks"]["uncovered"],
        "tasks_changed": found["tasks"]["changed"],
        "ladder": _shown(workers),
        "warnings": found["warnings"],
        "exit_code": 0,
        "selected": str(selected) if len(keep) else None,
        "selection": str(run.folder / "selection.parquet"),
        "table": str(run.folder / "workers.csv"),
        "report": str(run.folder / "report.html"),
    }
    run.finish("incomplete" if found["states"]["undecided"] else "complete", summary)
    return summary


def _read_as(answers: Answers) -> str:
    """What the file was taken for, so that a column taken for another is noticed."""
    if answers.layout == "long":
        return "task {!r}, worker {!r}, label {!r}".format(*answers.columns)
    return f"{answers.layout}: one {'column' if answers.layout == 'wide' else 'key'} a worker"


def _left_out(chosen: Selection) -> dict[str, int]:
    """Answers that are not kept, by what was decided about their workers."""
    counts = dict(chosen.frame.group_by("decision").len().iter_rows())
    flagged = sum(n for decision, n in counts.items() if decision in ("flag", "query"))
    return {"flagged": flagged, "undecided": counts.get(None, 0)}


def _shown(workers: pl.DataFrame) -> list[dict[str, Any]]:
    """The lowest workers, for the terminal."""
    columns = ("worker", "n_scored", "score", "low", "high", "ca", "skill", "virtual_quantile", "action")
    measured = workers.filter(pl.col("score").is_not_null()).sort("score", "worker")
    return measured.head(N_SHOWN).select(columns).to_dicts()


def _suffix(answers: Answers) -> str:
    if answers.layout == "peerannot":
        return "json"
    known = answers.table.source.format
    return known if known in ("jsonl", "json", "csv", "tsv", "parquet") else "csv"
