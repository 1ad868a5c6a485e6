"""The ``train`` job: fine-tune a model on the tokens of a mask, save it, and measure what that did."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tamis.curate.tokens.tokenizers import require_same_tokens
from tamis.curate.tuning.arms import ARMS, arm_mask
from tamis.curate.tuning.evidence import tuning_evidence
from tamis.curate.tuning.masks import Mask, read_masks, split_records
from tamis.curate.tuning.measures import held_out_sums
from tamis.curate.tuning.settings import tune_recipe
from tamis.engine import Engine
from tamis.errors import BackendError, DataError, RecipeError
from tamis.evidence.arithmetic_probe import REPLY_TOKENS, solved_share, sums
from tamis.evidence.lm_tasks import require_tasks, task_scores
from tamis.models.causal_lm import LocalModel, find_model, load_tokenizer
from tamis.models.generated_reply import greedy_replies
from tamis.runs import Run, Step, atomic_write_text, digest_json
from tamis.runs.digests import derive_seed
from tamis.runs.step_files import write_frame
from tamis.runs.steps import Progress
from tamis.train.masked_lm import MaskedTokens
from tamis.train.step import save_tuned, train_step, training_of
from tamis.train.tuned_model import TunedModel

VERSION = 1


def fine_tune(run: Run, *, engine: Engine, progress: Progress | None = None) -> dict[str, Any]:
    """Execute a train recipe and finish the run.

    Parameters
    ----------
    run : Run
        Started run; ``recipe.inputs`` names ``tokens``, the ``tokens.parquet`` of a token run, ``recipe.params`` holds
        :class:`TuneSettings` and the settings of the training.
    engine : Engine
        Not used: a training is one process, or several under ``accelerate``.
    progress : callable, optional
        Called with (step name, optimiser steps done, in all).

    Returns
    -------
    dict
        The summary that ``--json`` prints; the manifest keeps it.
    """
    work = _Work(run, progress)
    before = work.measure(work.step("before"), work.start)
    found = [
        {"arm": arm, "seed": seed, **work.trained(arm, seed)}
        for arm in work.settings.arms
        for seed in range(work.settings.seeds)
    ]
    return work.finish(before, found)


class _Work:
    """A run under way: tokens, masks, the records held out, and the model that training begins with."""

    def __init__(self, run: Run, progress: Progress | None) -> None:
        self.run, self.progress = run, progress
        self.settings, self.training = tune_recipe(run.recipe)
        require_tasks(self.settings.tasks, self.settings.task_folder)  # before a model is run
        self.base = find_model(self.settings.base)
        self.rows, self.keep, self.score = read_masks(run.recipe)
        vocabulary = len(load_tokenizer(self.base))
        if int(self.rows.ids.max()) >= vocabulary:
            raise DataError(
                f"The tokens have ids up to {int(self.rows.ids.max())}, the tokenizer of {self.base.title!r} ends at "
                f"{vocabulary - 1}; train the model that the tokens were made for."
            )
        maker = _found(self.settings.tokens_of) if self.settings.tokens_of != self.settings.base else None
        if maker is not None:
            require_same_tokens(maker, self.base, self.rows)
        self.training_rows, self.held = split_records(self.rows, self.settings.hold_out, run.recipe.seed)
        self.start = TunedModel(self.base, dtype="float32", device=str(run.recipe.limits.get("device") or "auto"))
        elsewhere = ("base", "tokens_of", "arms", "seeds")  # by content, or in the key of a step of its own
        params = {k: v for k, v in run.recipe.params.items() if k not in elsewhere}
        self.key = {"version": VERSION, "params": params,
                    "inputs": run.manifest["identity"]["inputs"], "seed": run.recipe.seed,
                    "base": self.base.fingerprint}  # fmt: skip

    def step(self, name: str, **depends: Any) -> Step:
        """Open the next step."""
        return self.run.step(name, **self.key, **depends)

    def masks_held(self) -> dict[str, Mask]:
        """Tokens of the held-out records that losses are measured on."""
        places = self.rows.places(self.held)
        return {"all answer tokens": self.rows.response[places], "tokens that the run kept": self.keep[places]}

    def measure(self, step: Step, model: TunedModel) -> dict[str, Any]:
        """Losses of held-out records and the share of sums solved, measured once."""
        path = step.folder / "measured.json"
        if not step.complete:
            started = time.monotonic()
            network = model.network()
            measured: dict[str, Any] = {"sums": {}, "solved": None}
            settings, tokenizer = self.settings, load_tokenizer(self.base)
            if len(self.held):
                measured["sums"] = held_out_sums(network, self.rows.take(self.held), self.masks_held())
            if settings.questions:
                asked = sums(settings.questions, seed=self.run.recipe.seed)
                write = partial(greedy_replies, network, tokenizer, max_tokens=REPLY_TOKENS)
                measured["solved"] = solved_share(asked, write)
            measured["tasks"] = task_scores(
                network, tokenizer, settings.tasks, folder=settings.task_folder, limit=settings.task_limit
            )
            atomic_write_text(path, json.dumps(measured) + "\n")
            step.finish(seconds=time.monotonic() - started)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def trained(self, arm: str, seed: int) -> dict[str, Any]:
        """Train one arm with one seed and measure the model."""
        seeded = derive_seed(self.run.recipe.seed, "training", seed)
        mask = arm_mask(arm, self.rows, self.keep, self.score, seed=seeded)
        places = self.rows.places(self.training_rows)
        rows, mask = self.rows.take(self.training_rows), mask[places]
        if not mask.any():
            raise DataError(f"The arm {arm!r} has no token to train on; raise the share of tokens that is kept.")
        step = self.step(f"train-{arm}-{seed}", arm=arm, number=seed)
        settings = replace(self.training, seed=seeded)
        held_out = self._held_out if settings.patience else None
        model = train_step(
            step, self.start, MaskedTokens(rows, mask, pad_id=0), settings, progress=self.progress, held_out=held_out,
            tensorboard=bool(self.run.recipe.limits.get("tensorboard")),
        )  # fmt: skip
        measured = self.measure(self.step(f"measure-{arm}-{seed}", arm=arm, number=seed), model)
        return {"measured": measured, "training": training_of(step.folder), "model": model}

    def _held_out(self, network: Any) -> float:
        rows, mask = self.rows.take(self.held), self.masks_held()["all answer tokens"]
        return sum(held_out_sums(network, rows, {"": mask})[""]) / max(1, int(mask.sum()))

    def finish(self, before: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
        """Save the model, write evidence and findings, finish the run."""
        step = self.step("decide", arms=list(self.settings.arms), seeds=self.settings.seeds)
        counts = {name: np.bincount(self.rows.take(self.held).row_of[mask], minlength=len(self.held)).tolist()
                  for name, mask in self.masks_held().items()} if len(self.held) else {}  # fmt: skip
        results = [{key: value for key, value in each.items() if key != "model"} for each in found]
        evidence = tuning_evidence(before, results, counts, questions=self.settings.questions)
        first = found[0]
        model = self.run.folder / "model"
        if not step.complete:
            said = {
                "base": {"name": self.base.title, "fingerprint": self.base.fingerprint},
                "records": {"trained": len(self.training_rows), "held_out": len(self.held)},
                "arms": [{"name": arm, "what": ARMS[arm]} for arm in self.settings.arms],
                "seeds": self.settings.seeds,
                "settings": self.training.to_json(),
                "counts": {name: sum(each) for name, each in counts.items()},
                "solved_before": before["solved"],
                "results": [
                    {**{k: each[k] for k in ("arm", "seed", "training")}, "solved": each["measured"]["solved"]}
                    for each in results
                ],
            }
            atomic_write_text(step.folder / "findings.json", json.dumps(said, allow_nan=False) + "\n")
            step.finish()
        write_frame(self.run.folder / "evidence.parquet", evidence.frame)
        self._save(model, first)
        summary = {
            "run": str(self.run.folder),
            "rows": len(self.rows),
            "base": self.base.title,
            "arms": list(self.settings.arms),
            "seeds": self.settings.seeds,
            "trained_records": len(self.training_rows),
            "held_out_records": len(self.held),
            "steps": first["training"]["steps"],
            "tokens": first["training"]["weight"],
            "learns": first["training"]["learns"],
            "loss": [first["training"]["losses"][0], first["training"]["losses"][-1]],
            "evidence": evidence.frame.to_dicts(),
            "exit_code": 0,
            "model": str(model),
            "report": str(self.run.folder / "report.html"),
        }
        self.run.finish("complete", summary)
        return summary

    def _save(self, model: Path, first: dict[str, Any]) -> None:
        """Save the first arm's first model, unless that was done."""
        training = first["training"]
        data = (
            f"{training['records']:,} records, {training['tokens']:,} tokens ({ARMS[first['arm']]}); "
            f"token file {digest_json(self.run.manifest['identity']['inputs'])}"
        )
        note = "The mask is no property of the data alone: it depends on the two models that scored the tokens."
        save_tuned(first["model"], training, model, data=data, notes=[note], dtype=self.settings.dtype)


def _found(name: str | None) -> LocalModel | None:
    """The model that the tokens were made for, None if it was moved or removed: then it cannot be compared with."""
    try:
        return None if name is None else find_model(name)
    except (RecipeError, BackendError):
        return None
