"""The ``prune`` job: score layers, cut the model, heal it, and measure what that did."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from tamis.engine import Engine
from tamis.errors import DataError
from tamis.evidence.lm_tasks import require_tasks
from tamis.models.causal_lm import find_model, load_own
from tamis.prune.card import prune_card
from tamis.prune.choosing import Chosen, choose
from tamis.prune.criteria_list import GIVEN
from tamis.prune.evidence import prune_evidence
from tamis.prune.healing import healed, start_of_healing, tied_sentence
from tamis.prune.layer_scores import LayerScores, scores_from_file
from tamis.prune.measures import measured
from tamis.prune.prune_recipe import PruneRecipe
from tamis.prune.pruner import VERSION
from tamis.prune.scoring import LossWithout, ScoreLayers, losses_of_cuts, score_layers
from tamis.prune.sizes import sizes
from tamis.prune.speed import time_models
from tamis.prune.summary import Setting, findings, summary
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.config import pruned_config, require_same_layers
from tamis.prune.surgery.layer_keys import INDEX_LISTS, PER_LAYER, text_section
from tamis.prune.surgery.mergekit import mergekit_yaml
from tamis.prune.surgery.side_files import side_files
from tamis.prune.surgery.streaming import write_cut
from tamis.prune.texts import Texts, encode_texts
from tamis.runs import Run, Step, atomic_write_text
from tamis.runs.atomic import atomic_path
from tamis.runs.step_files import write_frame
from tamis.runs.steps import Progress, link_or_copy, part_path
from tamis.runs.whole_folder import clear_temporary_folders, whole_folder
from tamis.train.step import save_tuned, training_of
from tamis.train.tuned_model import TunedModel

READING = ("limit", "max_length", "held_records", "format", "id_column")
"""Parameters that the encoded texts depend on."""
SCORING = ("n_windows", "seq_len", "magnitude_reduction", "magnitude_p", "taylor_absolute", "dtype")
CHOOSING = ("ratio", "n_drop", "n_layers", "protect_first", "protect_last", "protect", "fidelity", "candidates",
            "criterion", "drop", "keep", "curve")  # fmt: skip
HEALING = ("heal", "tied", "distill", "temperature", "config")
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
MEASURING = ("questions", "tasks", "task_folder", "task_limit", "dtype")


def prune(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a prune recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; ``recipe.inputs`` may name ``data``, ``calibration``, ``held_out`` and ``scores``,
        ``recipe.params`` holds :class:`tamis.prune.settings.PruneSettings` and the settings of the healing.
    engine : Engine
        Who scores layers and cuts. Healing and measuring are one process.
    progress : callable, optional
        Called with (step name, units done, units in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; the manifest keeps it.
    """
    work = _Work(run, engine, progress)
    chosen = work.choose()
    # no model either where a layer was not measured: whether it should go is not known
    if not work.settings.cut or chosen.pruner.undecided_:
        return work.finish(chosen, {})
    work.refuse_what_cannot_be_cut(chosen)
    return work.finish(chosen, work.models(chosen))


class _Work:
    """A run under way: the model, its texts, and the steps that use them."""

    def __init__(self, run: Run, engine: Engine, progress: Progress | None) -> None:
        self.run, self.engine, self.progress = run, engine, progress
        self.parts = PruneRecipe.of(run.recipe)
        self.settings, self.heal, self.training = self.parts.settings, self.parts.heal, self.parts.training
        require_tasks(self.settings.tasks, self.settings.task_folder)  # before a model is run
        self.model = find_model(self.settings.model)
        self.checkpoint = Checkpoint.open(Path(self.model.folder))
        self.n_layers = self.checkpoint.n_layers
        self.parts.require_room(self.n_layers, GIVEN, run.recipe.seed)
        device = str(run.recipe.limits.get("device") or "auto")
        self.dense = TunedModel(self.model, dtype=self.settings.dtype, device=device)
        self.texts = self._texts()
        self.training_said: dict[str, Any] | None = None
        self.tied: str | None = None

    def step(self, name: str, *groups: tuple[str, ...], **depends: Any) -> Step:
        """Open the next step; its key holds the parameters of these groups."""
        given = self.run.recipe.params
        params = {key: given[key] for group in groups for key in group if key in given}
        inputs = {k: v for k, v in self.run.manifest["identity"]["inputs"].items() if k != "scores"}
        return self.run.step(name, version=VERSION, model=self.model.fingerprint, inputs=inputs, params=params,
                             seed=self.run.recipe.seed, **depends)  # fmt: skip

    def _texts(self) -> Texts | None:
        if not {"data", "calibration", "held_out"} & self.run.recipe.inputs.keys():
            return None
        return encode_texts(self.step("texts", READING), self.run.recipe, self.model, self.settings)

    def choose(self) -> Chosen:
        """Score the layers by what the recipe says and decide which go."""
        settings, recipe = self.settings, self.run.recipe
        given = settings.given(self.n_layers)
        if given is not None:
            scores = [LayerScores.of([float(i not in given) for i in range(self.n_layers)], criterion=GIVEN)]
        elif "scores" in recipe.inputs:
            scores = [scores_from_file(recipe.input_path("scores"), self.n_layers)]
        else:
            names = settings.candidates if settings.criterion == "auto" else (settings.criterion,)
            for name in names:  # before the first one is computed
                self.parts.require_room(self.n_layers, name, recipe.seed)
            scores = [self._scores(name) for name in names]
        return choose(scores, settings, recipe.seed, losses=self._losses)

    def _scores(self, criterion: str) -> LayerScores:
        pruner = self.settings.pruner(criterion, self.n_layers, self.run.recipe.seed)
        if pruner.rank_by != "score":
            return LayerScores.of(pruner.baseline(self.n_layers), criterion=criterion)
        k = pruner.count(self.n_layers)
        documents = [] if self.texts is None else self.texts.documents()
        allowed = tuple((~pruner.protection(self.n_layers)).tolist())
        task = ScoreLayers(self.dense, criterion, self.settings, documents, k, allowed, self.run.recipe.seed)
        together = {"k": k, "allowed": list(allowed)} if criterion in ("sleb", "angular") else {}
        step = self.step(f"scores-{criterion}", READING, SCORING, criterion=criterion, **together)
        return score_layers(step, task, self.n_layers, engine=self.engine, progress=self.progress)

    def _losses(self, name: str, cuts: list[tuple[int, ...]]) -> list[pl.DataFrame] | None:
        """Losses of the records to choose with, for each of these cuts; None without any."""
        rows = None if self.texts is None else self.texts.rows("choice")
        if rows is None or not len(rows):
            return None
        step = self.step(name, READING, ("dtype",), cuts=[list(cut) for cut in cuts])
        return losses_of_cuts(step, LossWithout(self.dense, rows), cuts, engine=self.engine, progress=self.progress)

    def refuse_what_cannot_be_cut(self, chosen: Chosen) -> None:
        """Raise if the configuration cannot say what would be left, before anything is written."""
        values = self.settings.config_values()
        config = self.checkpoint.config
        self.config = pruned_config(config, chosen.pruner.kept_, self.n_layers, values=values)
        require_same_layers(config, self.config, chosen.pruner.kept_, allow_post_norm=self.settings.allow_post_norm)

    def models(self, chosen: Chosen) -> dict[str, TunedModel]:
        """Cut and heal; return the models by what was done to them."""
        cut = self._cut(chosen)
        if self.heal == "none":
            _linked(Path(cut.model.folder), self.run.folder / "model")
            return {"dense": self.dense, "cut": cut}
        return {"dense": self.dense, "cut": cut, "healed": self._healed(chosen, cut)}

    def _cut(self, chosen: Chosen) -> TunedModel:
        step = self.step("cut", CHOOSING, ("config",), dropped=list(chosen.pruner.dropped_))
        folder = step.folder / "model"
        if not step.complete:
            shutil.rmtree(folder, ignore_errors=True)
            clear_temporary_folders(step.folder, folder.name)
            told = None if self.progress is None else partial(self.progress, step.name)
            card = prune_card(findings(self._setting(), chosen), [])
            write_cut(self.checkpoint, chosen.pruner.kept_, folder, config=self.config, card=card, progress=told)
            step.finish()
        return replace(self.dense, model=find_model(str(folder)))

    def _healed(self, chosen: Chosen, cut: TunedModel) -> TunedModel:
        """Train what is left, and save it with all files that the parent came with."""
        if self.texts is None:
            raise DataError("Healing needs records to learn from; add --data FILE.")
        changes = (READING, CHOOSING, HEALING)
        dropped = list(chosen.pruner.dropped_)
        untied = self.step("untie", *changes, dropped=dropped)
        step = self.step("heal", *changes, training=self.training.to_json(), dropped=dropped)
        if not step.complete:
            said = tied_sentence(cut.network(), self.settings, self.heal)
            atomic_write_text(step.folder / "tied.json", json.dumps(said))
        self.tied = json.loads((step.folder / "tied.json").read_text(encoding="utf-8"))
        start = start_of_healing(untied, cut.model, self.settings, self.heal)
        tuned = healed(step, replace(cut, model=start), self.texts.rows("train"), self.training, self.settings,
                       parent=self.model, progress=self.progress)  # fmt: skip
        self.training_said, final = training_of(step.folder), self.run.folder / "model"
        save_tuned(tuned, self.training_said, final, data=f"{self.training_said['records']} records", notes=[],
                   dtype=_dtype(self.checkpoint))  # fmt: skip
        for path in side_files(source := Path(cut.model.folder)):  # as they came, not as transformers writes them
            copy = final / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            with atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)
        return replace(self.dense, model=find_model(str(final)))

    def measured(self, models: dict[str, TunedModel]) -> dict[str, Any]:
        """Losses of held-out records, probes and tasks of each model, by its name."""
        rows = None if self.texts is None else self.texts.rows("held")
        found = {}
        for name, model in models.items():
            step = self.step(f"measure-{name}", READING, MEASURING, of=model.model.fingerprint)
            path = step.folder / "measured.json"
            if not step.complete:
                started = time.monotonic()
                said = measured(model, rows, self.settings, seed=self.run.recipe.seed)
                atomic_write_text(path, json.dumps(said) + "\n")
                step.finish(seconds=time.monotonic() - started)
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def timed(self, models: dict[str, TunedModel]) -> list[dict[str, Any]]:
        """Tokens a second of the uncut model and the last one, timed in turn."""
        if not self.settings.speed or len(models) < 2:
            return []
        last = list(models)[-1]
        step = self.step("speed", ("dtype",), of=models[last].model.fingerprint)
        path = step.folder / "speed.json"
        if not step.complete:
            networks = {name: _loaded(models[name]) for name in ("dense", last)}
            atomic_write_text(path, json.dumps(time_models(networks, seed=self.run.recipe.seed)) + "\n")
            step.finish()
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def finish(self, chosen: Chosen, models: dict[str, TunedModel]) -> dict[str, Any]:
        """Measure, describe, put the results at the top of the run directory."""
        folder = self.run.folder
        size = {name: sizes(Path(model.model.folder)) for name, model in models.items()}
        evidence = prune_evidence(self.measured(models), size, self.timed(models))
        step = self.step("decide", READING, SCORING, CHOOSING, HEALING, MEASURING)
        found = findings(self._setting(), chosen, size)
        write_frame(part_path(step.folder, 0), chosen.table())
        atomic_write_text(step.folder / "findings.json", json.dumps(found, allow_nan=False) + "\n")
        step.finish()
        write_frame(folder / "evidence.parquet", evidence.frame)
        said = {"model": self.model.title, "seed": self.run.recipe.seed, "settings": found["settings"]}
        for name in ("scores.csv", "scores.json"):
            chosen.scores.write(folder / name, kept=chosen.pruner.kept_, **said)
        if models:
            atomic_write_text(folder / "mergekit.yaml", self._mergekit(chosen))
            atomic_write_text(folder / "model" / "README.md", prune_card(found, evidence.frame.to_dicts()))
        chosen.pruner.select().write(folder / "selection.parquet")
        done = summary(folder, found, evidence.frame.to_dicts())
        self.run.finish("incomplete" if chosen.pruner.undecided_ else "complete", done)
        return done

    def _mergekit(self, chosen: Chosen) -> str:
        config, model = text_section(self.config), self.settings.model
        hub = model.count("/") == 1 and not Path(model).exists()
        return mergekit_yaml(
            model if hub else self.model.folder,  # mergekit finds folders and the hub, no GGUF file and no wheel
            chosen.pruner.kept_,
            dtype=_dtype(self.checkpoint),
            per_layer_entries=any(isinstance(config.get(key), list) for key in (*PER_LAYER, *INDEX_LISTS)),
        )

    def _setting(self) -> Setting:
        return Setting(self.settings, self.model, self.checkpoint, self.texts, self.heal, self.training,
                       self.training_said, self.tied)  # fmt: skip


def _dtype(checkpoint: Checkpoint) -> str:
    """Of the weights, as transformers names it: as the configuration says, else that of most bytes."""
    config = checkpoint.config
    stored = DTYPES.get(next(iter(checkpoint.dtype_bytes)), "float32")
    return str(config.get("dtype") or config.get("torch_dtype") or stored)


def _loaded(model: TunedModel) -> Any:
    """A network beside others, as :meth:`TunedModel.network` gives it."""
    return load_own(model.model, dtype=model.dtype, device=model.device)


def _linked(source: Path, target: Path) -> None:
    """Give a folder of a step a second name at the top of the run; bytes are shared where the file system can."""
    if not target.exists():
        clear_temporary_folders(target.parent, target.name)
        with whole_folder(target) as folder:
            shutil.copytree(source, folder, copy_function=link_or_copy, dirs_exist_ok=True)
