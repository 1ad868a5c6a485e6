"""What a prune run will compute and write, before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.models.causal_lm import find_model, weights_bytes
from tamis.prune.criteria_list import CRITERIA, GIVEN
from tamis.prune.layer_ranges import write_ranges
from tamis.prune.layer_scores import LayerScores, scores_from_file
from tamis.prune.prune_recipe import PruneRecipe
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.config import pruned_config
from tamis.recipe import Recipe

BASE_BYTES = 700_000_000
COPIES = {"none": 1, "lora": 1}
"""Copies of the weights in memory beside the model itself; a partial tuning holds moments of what learns."""


def plan_pruning(recipe: Recipe) -> dict[str, Any]:
    """Plan a prune run: layers, parameters, bytes, healing. No model is loaded.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    dict
        JSON values. ``dropped`` is known before the run only where no criterion has to be measured.

    Raises
    ------
    RecipeError, DataError, MissingExtraError, BackendError
        If the recipe cannot run.
    """
    parts = PruneRecipe.of(recipe)
    settings = parts.settings
    model = find_model(settings.model)
    checkpoint = Checkpoint.open(Path(model.folder))
    n = checkpoint.n_layers
    given = settings.given(n)
    read = scores_from_file(recipe.input_path("scores"), n) if "scores" in recipe.inputs else None
    criterion = GIVEN if given is not None else settings.criterion if read is None else read.criterion
    pruner = parts.require_room(n, criterion, recipe.seed)
    for name in settings.candidates if criterion == "auto" else ():
        parts.require_room(n, name, recipe.seed)
    k = pruner.count(n)
    dropped: tuple[int, ...] | None = given
    if read is not None:
        dropped = pruner.fit(read).dropped_
    elif pruner.rank_by != "score":
        dropped = pruner.fit(LayerScores.of(pruner.baseline(n), criterion=criterion)).dropped_
    kept = tuple(i for i in range(n) if i not in (dropped if dropped is not None else range(n - k, n)))
    if dropped is not None:  # what cannot be cut is refused here
        pruned_config(checkpoint.config, kept, n, values=settings.config_values())
    after = checkpoint.n_parameters(kept)
    return {
        "model": model.title,
        "layers": n,
        "drop": k,
        "dropped": None if dropped is None else list(dropped),
        "criterion": criterion,
        "criterion_is": CRITERIA[criterion].summary if criterion in CRITERIA else "as the recipe says",
        "parameters": checkpoint.n_parameters(),
        "parameters_after": after,
        "bytes": checkpoint.n_bytes,
        "bytes_after": sum(place.n_bytes for place in checkpoint.kept_tensors(kept).values()),
        "heal": parts.heal,
        "steps": parts.training.steps if parts.heal != "none" else 0,
        "epochs": parts.training.epochs,
        "batch_rows": parts.training.batch_rows,
        "memory_bytes": BASE_BYTES + COPIES.get(parts.heal, 2) * weights_bytes(model),
    }


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_pruning` returns it.
    """
    which = "to be chosen" if plan["dropped"] is None else write_ranges(plan["dropped"])
    share = 1 - plan["parameters_after"] / plan["parameters"]
    lines = [
        f"{plan['model']}: {plan['drop']} of {plan['layers']} layers go ({which}); criterion {plan['criterion']}: "
        f"{plan['criterion_is']}",
        f"weights  {plan['parameters']:,} to {plan['parameters_after']:,} ({share:.1%} less; embeddings and head stay)",
        f"disk     about {plan['bytes_after'] / 1e9:.2f} GB",
    ]
    if plan["heal"] != "none":
        length = f"{plan['steps']} steps" if plan["steps"] else f"{plan['epochs']:g} epochs"
        lines.append(f"healing  {plan['heal']}, {length} of {plan['batch_rows']} records")
    lines.append(f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB")
    return "\n".join(lines)
