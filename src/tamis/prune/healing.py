"""Repairing a cut model by a short training of what is left of it."""

from __future__ import annotations

import shutil
from typing import Any

from tamis.data.token_rows import TokenRows
from tamis.errors import RecipeError
from tamis.models.causal_lm import LocalModel, find_model, load_own, load_tokenizer
from tamis.prune.distilled import DistilledTokens
from tamis.prune.settings import PruneSettings
from tamis.runs import Step
from tamis.runs.steps import Progress
from tamis.train.masked_lm import MaskedTokens
from tamis.train.saving import save_model
from tamis.train.settings import TrainSettings
from tamis.train.step import train_step
from tamis.train.tuned_model import TunedModel


def is_tied(network: Any) -> bool:
    """Whether a model's output layer is its embedding matrix."""
    head = network.get_output_embeddings()
    return head is not None and head.weight is network.get_input_embeddings().weight


def untie(network: Any) -> int:
    """Give the output layer a copy of the embedding matrix to learn on, and say so in the configuration.

    Without that a tuned head of a tied model is lost when the model is loaded again.

    Returns
    -------
    int
        Weights that this adds.
    """
    import torch

    head = network.get_output_embeddings()
    head.weight = torch.nn.Parameter(network.get_input_embeddings().weight.detach().clone())
    network.config.tie_word_embeddings = False
    network.config.get_text_config(decoder=True).tie_word_embeddings = False
    return int(head.weight.numel())


def tied_sentence(network: Any, settings: PruneSettings, heal: str) -> str | None:
    """What a user has to know about a tied head that is to learn; None where nothing is tied or no head learns.

    Raises
    ------
    RecipeError
        If the recipe refuses tied heads.
    """
    if heal in ("none", "lora") or not is_tied(network):
        return None
    n = int(network.get_output_embeddings().weight.numel())
    if settings.tied == "refuse":
        raise RecipeError(
            f"The output layer of {settings.model!r} is its embedding matrix, and --tied refuse forbids to train it; "
            f"use --tied tune (embeddings learn too), --tied untie (adds {n:,} weights), or --heal lora."
        )
    if settings.tied == "untie":
        return f"the output layer was the embedding matrix; it is a copy now, which adds {n:,} weights"
    return "the output layer is the embedding matrix, so the input embeddings learn too (--tied untie makes a copy)"


def start_of_healing(step: Step, cut: LocalModel, settings: PruneSettings, heal: str) -> LocalModel:
    """Return the model that healing begins with: the cut one, its output layer untied if that is asked for."""
    if settings.tied != "untie" or heal in ("none", "lora"):
        return cut
    folder = step.folder / "untied"
    if not step.complete:
        shutil.rmtree(folder, ignore_errors=True)
        network = load_own(cut, dtype="float32", device="cpu")
        if is_tied(network):
            untie(network)
        save_model(network, load_tokenizer(cut), folder, card="")
        step.finish()
    return find_model(str(folder))


def healed(
    step: Step,
    start: TunedModel,
    rows: TokenRows,
    training: TrainSettings,
    settings: PruneSettings,
    *,
    parent: LocalModel,
    progress: Progress | None,
) -> TunedModel:
    """Train the cut model on the answers of some records.

    Parameters
    ----------
    step : Step
    start : TunedModel
    rows : TokenRows
    training : TrainSettings
    settings : PruneSettings
    parent : LocalModel
        The uncut model; loaded only where the cut one is to follow its predictions.
    progress : callable, optional
    """
    objective = MaskedTokens(rows, rows.response, pad_id=0)
    if settings.distill and not step.complete:
        network = load_own(parent, dtype="float32", device=start.device)
        objective = DistilledTokens(
            rows, rows.response, pad_id=0, parent=network, share=settings.distill, temperature=settings.temperature
        )
    return train_step(step, start, objective, training, progress=progress)
