"""The ``tokens`` job: which tokens of a fine-tuning set carry the loss, step by step, resumable at every point."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.curate.tokens.cleaner import VERSION
from tamis.curate.tokens.evidence import token_evidence
from tamis.curate.tokens.findings import findings
from tamis.curate.tokens.outcome import Outcome
from tamis.curate.tokens.pool import PART_ROWS, encode, part_numbers, pool_and_warmup, rows_of, warmup_rows
from tamis.curate.tokens.rounding import flipped_share
from tamis.curate.tokens.scoring import ScorePart, flat_losses
from tamis.curate.tokens.settings import TokenRecipe
from tamis.curate.tokens.stages import require_slices, self_evolving
from tamis.curate.tokens.summary import Setting, said, summary
from tamis.curate.tokens.token_classes import Vocabulary
from tamis.curate.tokens.tokenizers import require_same_tokens
from tamis.data import write
from tamis.data.token_rows import TokenRows
from tamis.engine import Engine
from tamis.errors import RecipeError
from tamis.models.causal_lm import find_model, load_tokenizer
from tamis.recipe.pool import READ_OPTIONS
from tamis.runs import Run, Step, atomic_write_text
from tamis.runs.digests import derive_seed
from tamis.runs.step_files import write_frame
from tamis.runs.steps import Progress, part_path
from tamis.train.masked_lm import MaskedTokens
from tamis.train.step import save_tuned, train_step, training_of
from tamis.train.tuned_model import TunedModel

Floats = NDArray[np.float32]


def clean(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a tokens recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; ``recipe.inputs`` names ``pool`` and perhaps ``warmup``, ``recipe.params`` holds the parameters of
        :class:`TokenCleaner`, of :class:`TokenSettings` and of the training.
    engine : Engine
        Who scores the parts. Training runs in this process.
    progress : callable, optional
        Called with (step name, units done, units in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; the manifest keeps it.
    """
    work = _Work(run, engine, progress)
    outcome = work.self_evolving() if work.settings.mode == "self-evolving" else work.fixed()
    return work.finish(outcome)


class _Work:
    """A run under way: the pool as tokens, the base model, and the steps that use them."""

    def __init__(self, run: Run, engine: Engine, progress: Progress | None) -> None:
        parts = TokenRecipe.of(run.recipe)
        self.run, self.engine, self.progress = run, engine, progress
        self.cleaner, self.settings, self.training = parts.cleaner, parts.settings, parts.training
        self.base = find_model(self.settings.base)
        self.table, warm = pool_and_warmup(run.recipe, self.settings)
        if len(self.table.rejects):
            write_frame(run.folder / "rejects.parquet", self.table.rejects)
        self._key_steps()
        self.tokens = run.step("tokens", **self.reads)
        self.encoding = encode(self.tokens, self.table, warm, self.base, self.settings)
        self.rows = rows_of(self.tokens)
        self.cleaner.require_candidates(self.rows)  # before a model is run
        if self.settings.mode == "self-evolving":
            require_slices(len(self.rows), self.settings.slices)
        device = str(run.recipe.limits.get("device") or "auto")
        self.start = TunedModel(self.base, dtype=self.settings.dtype, device=device)
        self.warmup: dict[str, Any] | None = None
        self.reference_name, self.reference_fingerprint = "", ""
        self.trainings: dict[int, dict[str, Any]] = {}
        self.final: TunedModel | None = None
        self.last: dict[str, Any] = {}

    def _key_steps(self) -> None:
        """Say what each step depends on: a step is taken over from a run beside this one if that is the same."""
        recipe, settings = self.run.recipe, self.settings
        drawn = settings.warmup is not None
        inputs = self.run.manifest["identity"]["inputs"]
        self.reads = {"version": VERSION, "inputs": inputs, "base": self.base.fingerprint,
                      "reading": {k: recipe.params.get(k) for k in READ_OPTIONS}, "limit": settings.limit,
                      "max_length": settings.max_length, "hold_out": settings.hold_out, "warmup": settings.warmup,
                      "seed": recipe.seed if drawn else None}  # fmt: skip
        self.scores = {**self.reads, "dtype": settings.dtype, "prompts": self.cleaner.with_prompt_tokens}
        self.trains = {**self.reads, "training": self.training.to_json()}
        params = {k: v for k, v in recipe.params.items() if k not in ("base", "reference")}
        self.decides = {**self.reads, "params": params, "seed": recipe.seed}

    def fixed(self) -> Outcome:
        """Rank the whole pool by one reference."""
        model = self._given() if self.settings.reference is not None else self._warmed_up()
        base = self._losses("base", self.start)
        reference = self._losses("reference", model, reference=self.reference_fingerprint)
        outcome = Outcome.fixed(self.cleaner, self.rows, base, reference)
        self.flips = self._flips(model, outcome) if self.settings.check_rows else None
        return outcome

    def self_evolving(self) -> Outcome:
        """Rank slice by slice, each by what the slices before it have taught."""
        base = self._losses("base", self.start)
        latest = self.start
        self.flips = None

        def train(stage: int, rows: TokenRows, mask: NDArray[np.bool_]) -> None:
            nonlocal latest
            step = self.run.step(f"train-{stage}", **self.decides)
            settings = replace(self.training, seed=derive_seed(self.training.seed, "stage", stage))
            latest = train_step(step, latest, MaskedTokens(rows, mask, pad_id=0), settings, progress=self.progress)
            self.trainings[stage] = self.last = training_of(step.folder)

        def losses(stage: int, rows: TokenRows) -> Floats:
            step = self.run.step(f"score-{stage}", **self.decides)
            folder = step.folder / "rows"
            folder.mkdir(exist_ok=True)
            numbers = list(range(-(-len(rows) // PART_ROWS)))
            for number in numbers if not step.complete else ():
                part = rows.take(range(number * PART_ROWS, min((number + 1) * PART_ROWS, len(rows))))
                write_frame(part_path(folder, number), part.to_frame())
            return self._score(step, latest, folder, numbers)

        outcome = self_evolving(
            self.rows, base, self.cleaner, train=train, losses=losses, slices=self.settings.slices,
            slicing=self.settings.slicing,
        )  # fmt: skip
        for stage in outcome.stages:
            training = self.trainings.get(stage["stage"])
            stage["loss"] = None if training is None else training["losses"][-1]
        self.reference_name = "the model of the stage before"
        self.final = latest
        return outcome

    def _given(self) -> TunedModel:
        """The reference that the recipe names."""
        reference = find_model(str(self.settings.reference))
        if reference.fingerprint == self.base.fingerprint and not self.settings.allow_same:
            raise RecipeError(
                f"The reference {reference.title!r} is the base itself, so every score would be 0; give a fine-tuned "
                "model, or --allow-same to see what that does."
            )
        require_same_tokens(self.base, reference, self.rows)
        self.reference_name, self.reference_fingerprint = reference.title, reference.fingerprint
        return replace(self.start, model=reference)

    def _warmed_up(self) -> TunedModel:
        """The base, fine-tuned on the warm-up records."""
        step = self.run.step("warm-up", **self.trains)
        rows = warmup_rows(self.tokens.folder)
        model = train_step(
            step, self.start, MaskedTokens(rows, rows.response, pad_id=0), self.training, progress=self.progress
        )
        said = self.last = training_of(step.folder)
        self.final = model
        self.warmup = {"records": said["records"], "tokens": said["tokens"], "steps": said["steps"],
                       "tune": self.training.tune, "learns": said["learns"],
                       "loss": [[i + 1, loss] for i, loss in enumerate(said["losses"])]}  # fmt: skip
        self.reference_name = f"{self.base.title}, warmed up on {len(rows)} records"
        self.reference_fingerprint = step.key
        return model

    def _losses(self, name: str, model: TunedModel, **depends: Any) -> Floats:
        """Losses of the whole pool by one model."""
        step = self.run.step(name, **self.scores, **depends)
        return self._score(step, model, self.tokens.folder, part_numbers(self.tokens))

    def _score(self, step: Step, model: TunedModel, folder: Path, numbers: list[int]) -> Floats:
        if not step.complete:
            sizes = [pl.scan_parquet(part_path(folder, n)).select(pl.len()).collect().item() for n in numbers]
            task = ScorePart(model, str(folder), self.cleaner.with_prompt_tokens)
            step.map(task, numbers, engine=self.engine, sizes=sizes, progress=self.progress)
        return flat_losses(pl.concat(list(step.parts())))

    def _flips(self, model: TunedModel, outcome: Outcome) -> list[float | None]:
        """Share of decisions that bfloat16 would turn, on some records."""
        step = self.run.step("rounding", **self.decides, reference=self.reference_fingerprint)
        path = step.folder / "flips.json"
        if not step.complete:
            started = time.monotonic()
            found = flipped_share(
                outcome, self.start, model, n_rows=self.settings.check_rows, seed=self.run.recipe.seed
            )
            atomic_write_text(path, json.dumps(found) + "\n")
            step.finish(seconds=time.monotonic() - started)
        flips: list[float | None] = json.loads(path.read_text(encoding="utf-8"))
        return flips

    def finish(self, outcome: Outcome) -> dict[str, Any]:
        """Decide, describe, put the results at the top of the run directory."""
        step = self.run.step("decide", **self.decides, reference=self.reference_fingerprint)
        records, spans = outcome.selections(pl.read_parquet(self.tokens.folder / "unencoded.parquet"))
        if not step.complete:
            write_frame(part_path(step.folder, 0), self._tokens(outcome))
            vocabulary = Vocabulary(load_tokenizer(self.base), self.rows.ids)
            found = said(self._setting(), outcome, records, findings(outcome, self.table, vocabulary))
            text = json.dumps(found, ensure_ascii=False, allow_nan=False)
            atomic_write_text(step.folder / "findings.json", text + "\n")
            step.finish()
        found = json.loads((step.folder / "findings.json").read_text(encoding="utf-8"))
        folder = self.run.folder
        spans.write(folder / "spans.parquet")
        write_frame(folder / "evidence.parquet", token_evidence(outcome).frame)
        write_frame(folder / "tokens.parquet", pl.read_parquet(part_path(step.folder, 0)))
        chosen = records.frame.filter(pl.col("decision").is_in(["keep", "mask"]))["unit_id"]
        if len(chosen):
            write(self.table.take(self.table.ids.is_in(chosen.implode())), folder / "selected.jsonl")
        if self.run.recipe.limits.get("save_model") and self.final is not None:
            note = f"Trained by a run of tamis tokens in the {self.settings.mode} mode, to rank tokens with."
            save_tuned(self.final, self.last, folder / "model", data=f"{self.table!r} and its warm-up", notes=[note])
        records.write(folder / "selection.parquet")
        done = summary(folder, found, records)
        self.run.finish("incomplete" if records.undecided or found["pool"]["unmeasured_tokens"] else "complete", done)
        return done

    def _setting(self) -> Setting:
        return Setting(
            self.cleaner, self.settings, self.encoding, self.table, self.base, self.reference_name,
            self.reference_fingerprint, self.warmup, self.flips,
        )  # fmt: skip

    def _tokens(self, outcome: Outcome) -> pl.DataFrame:
        """The mask file, records in the order of the pool."""
        place = pl.DataFrame({"unit_id": self.table.ids, "at": np.arange(len(self.table))})
        frame = outcome.rows.to_frame(keep=outcome.mask, score=outcome.score)
        return frame.join(place, on="unit_id", how="left").sort("at").drop("at")
