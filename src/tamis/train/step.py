"""Training as a step of a run: resumed from its checkpoint, kept as the weights that changed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tamis.runs import Step, atomic_write_text
from tamis.runs.steps import Progress
from tamis.train.objective import Objective
from tamis.train.settings import TrainSettings
from tamis.train.tuned_model import TunedModel

LEARNED = "learned.safetensors"
CHECKPOINT_STEPS = 10
"""Optimiser steps between two checkpoints: what a killed run may lose."""


def train_step(
    step: Step,
    start: TunedModel,
    objective: Objective,
    settings: TrainSettings,
    *,
    progress: Progress | None,
    held_out: Callable[[Any], float] | None = None,
    tensorboard: bool = False,
) -> TunedModel:
    """Train a language model and return it with what it learned.

    Parameters
    ----------
    step : Step
        Its folder gets ``learned.safetensors``, ``training.json``, ``metrics.jsonl`` and the log of TensorBoard.
    start : TunedModel
        The model that training begins with.
    objective : Objective
        Of tokens, such as :class:`tamis.train.masked_lm.MaskedTokens`.
    settings : TrainSettings
    progress : callable, optional
        Called with (step name, optimiser steps done, in all).
    held_out, tensorboard
        As for :func:`tamis.train.loop.train`.
    """
    path = step.folder / LEARNED
    if not step.complete:
        from tamis.train.learned import save_learned
        from tamis.train.loop import train
        from tamis.train.tuning import prepare

        started = time.monotonic()
        network, learns = prepare(start.own(), settings)
        folder = step.folder / "training"
        trained = train(
            network,
            objective,
            replace(settings, checkpoint_every=CHECKPOINT_STEPS),
            folder=folder,
            held_out=held_out,
            progress=progress,
            name=step.name,
            tensorboard=tensorboard,
        )
        save_learned(network, path)
        tokens = int(objective.weights.sum())
        said = {"records": len(objective), "tokens": tokens, "learns": learns, **trained.to_json()}
        atomic_write_text(step.folder / "training.json", json.dumps(said) + "\n")
        shutil.copyfile(folder / "metrics.jsonl", step.folder / "metrics.jsonl")
        if tensorboard:
            shutil.copytree(folder / "tensorboard", step.folder / "tensorboard", dirs_exist_ok=True)
        step.finish(seconds=time.monotonic() - started)
    shutil.rmtree(step.folder / "training", ignore_errors=True)  # after the step: half a checkpoint would be in the way
    return replace(start, learned=(*start.learned, str(path)), settings=settings)


def training_of(folder: Path) -> dict[str, Any]:
    """What :func:`train_step` says of its training."""
    found: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return found


def save_tuned(
    tuned: TunedModel, training: dict[str, Any], folder: Path, *, data: str, notes: Sequence[str], dtype: str = "auto"
) -> None:
    """Save a model with what it learned as a folder that transformers loads, unless the folder is there.

    Parameters
    ----------
    tuned : TunedModel
    training : dict
        As :func:`training_of` returns it, of the last training.
    folder : Path
    data : str
        What it was trained on, for the model card.
    notes : sequence of str
        Of the model card.
    dtype : str, default "auto"
        Of the weights; see :func:`tamis.models.causal_lm.load`.
    """
    from tamis.models.causal_lm import load_tokenizer
    from tamis.train.saving import model_card, save_model
    from tamis.train.trained import Trained

    if folder.exists():
        return
    trained = Trained.from_json({k: v for k, v in training.items() if k not in ("records", "tokens", "learns")})
    card = model_card(base=tuned.model.title, data=data, settings=tuned.settings, trained=trained,
                      notes=[*notes, f"{training['learns']}."])  # fmt: skip
    save_model(replace(tuned, dtype=dtype).network(), load_tokenizer(tuned.model), folder, card=card)
