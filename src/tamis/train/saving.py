"""A trained model as a plain folder that transformers loads, with a model card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tamis.errors import RecipeError, RunStateError
from tamis.runs.whole_folder import whole_folder
from tamis.train.settings import TrainSettings
from tamis.train.trained import Trained


def save_model(network: Any, tokenizer: Any, folder: Path, *, card: str) -> None:
    """Write safetensors, configuration, generation settings, tokenizer, chat template and ``README.md``.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Without adapters: see :func:`~tamis.train.tuning.merge`.
    tokenizer : transformers.PreTrainedTokenizerBase
    folder : Path
        Must not exist yet, or be empty. It appears when it is whole.
    card : str
        Text of ``README.md``, see :func:`model_card`.

    Raises
    ------
    RecipeError
        If the model carries adapters.
    RunStateError
        If the folder holds something, or cannot be written.
    """
    from safetensors import SafetensorError

    from tamis.models._transformers import quiet

    if hasattr(network, "get_base_model"):
        raise RecipeError("This model carries adapters; merge(network) them into its weights before it is saved.")
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise RunStateError(f"{folder} exists already; save the model to another folder, or remove this one.")
        folder.rmdir()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as temporary, quiet():
            network.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            (temporary / "README.md").write_text(card, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise RunStateError(f"The model cannot be saved in {folder} ({error}); free some space.") from error


def model_card(*, base: str, data: str, settings: TrainSettings, trained: Trained, notes: Sequence[str]) -> str:
    """Return a model card: what the model was made from, how, and how it went.

    Parameters
    ----------
    base : str
        Model that training began with; ``"owner/model"`` is linked to the hub.
    data : str
        What it was trained on, in a sentence.
    settings : TrainSettings
    trained : Trained
    notes : sequence of str
        What a user of the model has to know, a sentence each.

    Examples
    --------
    >>> trained = Trained(steps=2, weight=120.0, losses=[3.0, 2.5], held_out=[(0, 3.1), (2, 2.75)], kept_step=2)
    >>> card = model_card(
    ...     base="HuggingFaceTB/SmolLM2-135M", data="Dolly, the 60 % of tokens that were kept.",
    ...     settings=TrainSettings(steps=2), trained=trained, notes=["Made for a test."],
    ... )
    >>> print(card)
    ---
    base_model: HuggingFaceTB/SmolLM2-135M
    library_name: transformers
    ...
    | held-out loss after step 0 | 3.1000 |
    | held-out loss after step 2 | 2.7500 |
    ...
    """
    import yaml

    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["tamis"]}
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        header = {"base_model": base, **header}
    result = {"optimiser steps": f"{trained.steps:,}", "tokens trained on": f"{trained.weight:,.0f}"}
    if trained.losses:
        result |= {
            "loss of the first step": f"{trained.losses[0]:.4f}",
            "loss of the last": f"{trained.losses[-1]:.4f}",
        }
    if trained.held_out:
        step, value = trained.held_out[0]
        result[f"held-out loss after step {step}"] = f"{value:.4f}"
        step, value = max(pair for pair in trained.held_out if pair[0] <= trained.kept_step)
        result[f"held-out loss after step {step}"] = f"{value:.4f}"
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {base}, trained further with tamis",
        f"Trained on: {data}",
        *(["\n".join(f"- {note}" for note in notes)] if notes else []),
        f"## Result\n\n{_table(result)}",
        f"## Settings\n\n{_table(settings.to_json())}",
    ]
    return "\n\n".join(parts) + "\n"


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])
