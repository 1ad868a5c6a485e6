"""What a fine-tuning will compute and hold in memory, before it begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from tamis.curate.tuning.arms import arm_mask
from tamis.curate.tuning.masks import read_masks, split_records
from tamis.curate.tuning.settings import tune_recipe
from tamis.models.causal_lm import find_model, weights_bytes
from tamis.recipe import Recipe
from tamis.runs.digests import derive_seed

BASE_BYTES = 700_000_000
COPIES = {"lora": 1, "full": 4}
"""Copies of the weights that training holds: with all of them learning, a gradient and two moments of AdamW each."""


def plan_training(recipe: Recipe) -> dict[str, Any]:
    """Plan a fine-tuning: records, steps, tokens, memory. No model is loaded.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    dict
        JSON values.

    Raises
    ------
    RecipeError, DataError, MissingExtraError, BackendError
        If the recipe cannot run.
    """
    settings, training = tune_recipe(recipe)
    base = find_model(settings.base)
    rows, keep, score = read_masks(recipe)
    trained, held = split_records(rows, settings.hold_out, recipe.seed)
    places = rows.places(trained)
    arms: list[dict[str, Any]] = []
    for arm in settings.arms:
        mask = arm_mask(arm, rows, keep, score, seed=derive_seed(recipe.seed, "training", 0))[places]
        usable = int(np.count_nonzero(np.bincount(rows.take(trained).row_of[mask], minlength=len(trained))))
        steps = training.n_steps(usable)
        arms.append({"arm": arm, "records": usable, "tokens": int(mask.sum()), "steps": steps})
    mean = float(rows.lengths[trained].mean())
    steps = sum(each["steps"] for each in arms) * settings.seeds
    copies = COPIES.get(training.tune, 2)
    return {
        "rows": len(rows),
        "held_out": len(held),
        "base": base.title,
        "tune": training.tune,
        "arms": arms,
        "seeds": settings.seeds,
        "steps": steps,
        "forward_tokens": round(3 * steps * training.batch_rows * mean),
        "memory_bytes": BASE_BYTES + copies * weights_bytes(base),
    }


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_training` returns it.
    """
    lines = [f"{plan['rows']:,} records, {plan['held_out']:,} of them held out; base {plan['base']}, {plan['tune']}"]
    lines += [
        f"{each['arm']:8} {each['tokens']:,} tokens of {each['records']:,} records, {each['steps']:,} steps"
        + (f", {plan['seeds']} seeds" if plan["seeds"] > 1 else "")
        for each in plan["arms"]
    ]
    lines.append(f"compute  {plan['forward_tokens']:,} tokens forward through the model (a training step counts three)")
    lines.append(f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB and what the batches need")
    return "\n".join(lines)
