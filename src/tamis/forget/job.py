"""The ``forget`` job: edit the model, train one anew to compare with, measure, and certify."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.engine import Engine
from tamis.errors import DataError, RecipeError
from tamis.evidence.forgetting import Predictions
from tamis.forget.baselines import Retrain
from tamis.forget.certificate import certify
from tamis.forget.comparison import Comparison, prediction_rows
from tamis.forget.example_inputs import examples_reader
from tamis.forget.findings import Setting, findings, summary
from tamis.forget.forget_recipe import INPUTS, READING, REQUESTS, TRAINING, WAY, ForgetRecipe
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetter import Forgetter, Forgotten
from tamis.forget.named_examples import NamedExamples
from tamis.forget.overlap import overlap
from tamis.forget.relearning import relearning
from tamis.forget.request import requested
from tamis.forget.sweep import grid, swept
from tamis.forget.ways import make_way
from tamis.models.classifier import (
    describe_classifier,
    find_classifier,
    load_classifier,
    pretrained_classifier,
    save_classifier,
    untrained_classifier,
)
from tamis.runs import Run, Step, atomic_write_text
from tamis.runs.digests import derive_seed, digest_file
from tamis.runs.step_files import write_frame
from tamis.runs.steps import Progress, part_path
from tamis.runs.whole_folder import whole_folder
from tamis.select import Selection
from tamis.train.labelled import LabelledExamples, logits_of
from tamis.train.seeded import seeded

VERSION = 4
"""Of what a result depends on besides its parameters and data."""
RELEARNING_RATE = 0.01
EDITED, RETRAINED, BESIDE = "edited", "retrained", "beside"
READ = ("network", "aim", *READING, *REQUESTS)
EDITING, EVERYTHING = (
    (*READ, "method", "sweep", *WAY),
    (*READ, "method", "compare", "sweep", "group", "retrain", *TRAINING, *WAY),
)
USED = {
    "sweep": (EDITING, ("data", "held_out", "forget")),
    EDITED: (EDITING, ("data", "held_out", "forget")),
    BESIDE: (READ, ("data", "held_out", "forget")),
    RETRAINED: (("network", *READING, *REQUESTS, *TRAINING), ("data", "forget")),
}
"""Parameters and inputs that a step depends on; all others depend on everything."""


def forget(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a forget recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; see :class:`tamis.forget.forget_recipe.ForgetRecipe`.
    engine : Engine
        Not used: one process trains and measures.
    progress : callable, optional
        Called with (step name, units done, units in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; the manifest keeps it.
    """
    work = _Work(run, progress)
    work.sweep()
    results = {EDITED: work.trained(EDITED, work.way)}
    results |= work.beside()
    if work.training is not None:
        results[RETRAINED] = work.trained(RETRAINED, work.anew)
    return work.finish(results)


class _Work:
    """A run under way: the model, the examples, and what is to be forgotten."""

    def __init__(self, run: Run, progress: Progress | None) -> None:
        self.run, self.progress = run, progress
        self.recipe = ForgetRecipe.of(run.recipe)
        self.model = find_classifier(self.recipe.model, factory=self.recipe.network)
        self.described = describe_classifier(self.model)
        self.training = self.recipe.original_training(self.described) if self.recipe.retrain else None
        self.original = load_classifier(self.model)
        self.start = None if self.recipe.retrain_from is None else digest_file(self.recipe.retrain_from)
        self.read = examples_reader(self.model, self.described, self.recipe)
        self.data = self._read("data")
        self.test, self.held_out = (
            self._read(role) if role in run.recipe.inputs else None for role in ("test", "held_out")
        )
        forget = requested(self.data, self.recipe.request, self.described, seed=run.recipe.seed)
        self.sets = ForgetSets.of(self.original, self.data.examples, forget)
        self.swept: list[dict[str, Any]] = []
        self.swept_to: dict[str, float] = {}
        self.notes = [
            note
            for role, named in (("held-out", self.held_out), ("test", self.test))
            if named is not None and (note := overlap(self.data.examples, named.examples, role))
        ]

    def _read(self, role: str) -> NamedExamples:
        return self.read(self.run.recipe.input_path(role))

    def way(self, seed: int) -> Forgetter:
        """The way to forget, with a seed of its own."""
        return make_way(self.recipe.method, {**self.recipe.way, **self.swept_to}, seed=seed)

    def beside(self) -> dict[str, list[tuple[Path, dict[str, Any]]]]:
        """Results of the other ways to forget, with their own defaults; one that cannot run here is noted."""
        found = {}
        for name in self.recipe.compare:
            try:
                found[name] = self.trained(f"{BESIDE}-{name}", partial(make_way, name, {}))
            except (RecipeError, DataError) as error:
                self.notes.append(f"{name} was not run beside it: {str(error).rstrip('.')}")
        return found

    def sweep(self) -> None:
        """Choose the parameters that were not given, if the recipe says so."""
        if not self.recipe.sweep:
            return

        def forget(point: dict[str, float]) -> Forgotten:
            way = make_way(self.recipe.method, {**self.recipe.way, **point}, seed=self.run.recipe.seed)
            return way.apply(
                self.original, self.data.examples, self.sets.forget, held_out=self._held_out(), aim=self.recipe.aim
            )

        rate = make_way(self.recipe.method, {}, seed=0).rate(self.sets.kind)
        points = grid(self.recipe.way, rate=rate)
        step = self.step("sweep", seed=self.run.recipe.seed, points=points)
        self.swept = swept(step, points, forget, progress=self.progress)
        self.swept_to = {name: row[name] for row in self.swept if row["chosen"] for name in points[0]}

    def _held_out(self) -> LabelledExamples | None:
        return None if self.held_out is None else self.held_out.examples

    def anew(self, seed: int) -> Forgetter:
        """Training anew, with a seed of its own."""
        if self.training is None:
            raise RecipeError("This recipe trains no model anew; add retrain: true.")
        return Retrain(training=self.training, fresh=self._fresh, seed=seed)

    def _fresh(self, seed: int) -> Any:
        import torch

        with seeded(derive_seed(seed, "untrained"), torch.device("cpu")):
            if self.recipe.retrain_from is not None:
                return pretrained_classifier(self.model, self.recipe.retrain_from)
            return untrained_classifier(self.model)

    def step(self, name: str, **depends: Any) -> Step:
        """Open the next step; what an edit, or training anew, does not depend on is no part of its key."""
        kind = name.partition("-")[0]
        params, roles = USED.get(kind, (EVERYTHING, INPUTS))
        inputs = self.run.manifest["identity"]["inputs"]
        images = {role: named.files for role in ("data", "test", "held_out")
                  if role in roles and (named := getattr(self, role)) is not None}  # fmt: skip
        return self.run.step(
            name,
            version=VERSION,
            model=self.model.fingerprint,
            inputs={role: each for role, each in inputs.items() if role in roles},
            images=images,
            start=None if kind in ("sweep", EDITED, BESIDE) else self.start,
            params={key: each for key, each in self.run.recipe.params.items() if key in params},
            **depends,
        )

    def trained(self, kind: str, make: Callable[..., Forgetter]) -> list[tuple[Path, dict[str, Any]]]:
        """Folder with the weights, and what is to be said, of each seed."""
        found = []
        for number in range(self.recipe.seeds):
            seed = self.run.recipe.seed + number
            step = self.step(f"{kind}-{number}", seed=seed)
            if not step.complete:
                shutil.rmtree(step.folder / "model", ignore_errors=True)
                done = make(seed=seed).apply(
                    self.original, self.data.examples, self.sets.forget,
                    held_out=self._held_out(), aim=self.recipe.aim, folder=step.folder / "training",
                    progress=self._told(step),
                )  # fmt: skip
                save_classifier(done.network, step.folder / "model", self.described, like=Path(self.model.folder))
                atomic_write_text(step.folder / "said.json", json.dumps(_said(done)) + "\n")
                step.finish(seconds=done.seconds)
            shutil.rmtree(step.folder / "training", ignore_errors=True)
            found.append((step.folder / "model", json.loads((step.folder / "said.json").read_text(encoding="utf-8"))))
        return found

    def _told(self, step: Step) -> Callable[[str, int, int], None] | None:
        if self.progress is None:
            return None
        tell = self.progress
        return lambda name, done, total: tell(step.name, done, total)

    def measured(self, results: dict[str, list[tuple[Path, dict[str, Any]]]]) -> pl.DataFrame:
        """Predictions of all models on all splits; see :class:`~tamis.forget.comparison.Comparison`."""
        step = self.step("measure", seed=self.run.recipe.seed, seeds=self.recipe.seeds, models=list(results))
        path = part_path(step.folder, 0)
        if not step.complete:
            began = time.monotonic()
            frames = self._predicted(self.original, "original", 0)
            for kind, seeds in results.items():
                for number, (folder, _) in enumerate(seeds):
                    network = load_classifier(find_classifier(str(folder), factory=self.model.factory))
                    frames += self._predicted(network, kind, number)
            write_frame(path, pl.concat(frames))
            step.finish(seconds=time.monotonic() - began)
        return pl.read_parquet(path)

    def relearned(self, results: dict[str, list[tuple[Path, dict[str, Any]]]]) -> dict[str, list[float]]:
        """Accuracy on the forgotten examples while the first seed's models learn them again."""
        step = self.step("relearn", seed=self.run.recipe.seed)
        path = step.folder / "relearned.json"
        if not step.complete:
            found = {}
            for kind in (each for each in results if each not in self.recipe.compare):
                network = load_classifier(find_classifier(str(results[kind][0][0]), factory=self.model.factory))
                found[kind] = relearning(network, self.sets, learning_rate=RELEARNING_RATE, seed=self.run.recipe.seed)
            atomic_write_text(path, json.dumps(found) + "\n")
            step.finish()
        said: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
        return said

    def _predicted(self, network: Any, kind: str, number: int) -> list[pl.DataFrame]:
        parts = {"forget": self.data.take(self.sets.forget), "retain": self.data.take(self.sets.retain)}
        if self.test is not None:
            parts["test"] = self.test
        found = []
        for split, named in parts.items():
            said = Predictions.of(logits_of(network, named.examples), named.examples.labels.numpy())
            groups = named.columns[self.recipe.group].to_list() if self.recipe.group in named.columns.columns else None
            found.append(prediction_rows(said, named.ids, groups, model=kind, seed=number, split=split))
        return found

    def finish(self, results: dict[str, list[tuple[Path, dict[str, Any]]]]) -> dict[str, Any]:
        """Measure, describe, put the results at the top of the run directory."""
        folder = self.run.folder
        frame = self.measured(results)
        gone = (
            np.unique(self.data.examples.labels.numpy()[self.sets.forget]).tolist() if self.sets.kind == "class" else []
        )
        seconds = {kind: [said["seconds"] for _, said in seeds] for kind, seeds in results.items()}
        compared = Comparison(frame, forgotten_classes=gone, seconds=seconds, seed=self.run.recipe.seed)
        evidence = compared.evidence()
        said = {kind: [each for _, each in seeds] for kind, seeds in results.items()}
        setting = Setting(self.recipe, self.model, self.described, self.data, self.test, self.held_out, self.sets)
        found = findings(setting, compared, said, self.relearned(results), self.swept, self.notes)
        step = self.step("decide", seed=self.run.recipe.seed, seeds=self.recipe.seeds, models=list(results))
        selection = self._selection()
        write_frame(part_path(step.folder, 0), selection.frame)
        atomic_write_text(step.folder / "findings.json", json.dumps(found, allow_nan=False) + "\n")
        step.finish()
        edited = find_classifier(str(results[EDITED][0][0]), factory=self.model.factory).fingerprint
        if _fingerprint(folder / "model", self.model.factory) != edited:
            shutil.rmtree(folder / "model", ignore_errors=True)
            with whole_folder(folder / "model") as temporary:
                shutil.copytree(results[EDITED][0][0], temporary, dirs_exist_ok=True)
        write_frame(folder / "evidence.parquet", evidence.frame)
        selection.write(folder / "selection.parquet")
        folders = {kind: [path for path, _ in seeds] for kind, seeds in results.items()}
        certify(folder, self.run, setting, found, frame, evidence, folders)
        done = summary(folder, found, evidence.frame.to_dicts())
        self.run.finish("complete", done)
        return done

    def _selection(self) -> Selection:
        forgotten = set(self.sets.forget.tolist())
        rows = [("forget", f"named by the request ({self.recipe.request[0]})") if i in forgotten else
                ("keep", "not named by the request") for i in range(len(self.data.ids))]  # fmt: skip
        return Selection(
            pl.DataFrame(
                {
                    "unit_id": self.data.ids,
                    "decision": [each[0] for each in rows],
                    "reason": [each[1] for each in rows],
                    "step": ["decide"] * len(rows),
                }
            )
        )


def _fingerprint(folder: Path, factory: str | None) -> str | None:
    try:
        return find_classifier(str(folder), factory=factory).fingerprint
    except (RecipeError, DataError):
        return None


def _said(done: Forgotten) -> dict[str, Any]:
    return {
        "reason": done.reason,
        "diverged": done.diverged,
        "kept": done.kept_step,
        "seconds": done.seconds,
        "warnings": list(done.warnings),
        "settings": done.settings.to_json(),
        "steps": [each for each in done.steps if each["step"]],
    }
