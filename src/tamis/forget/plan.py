"""What a forget run will compute, before it begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from tamis.forget.example_inputs import examples_reader
from tamis.forget.forget_recipe import ForgetRecipe
from tamis.forget.forget_sets import kind_of
from tamis.forget.request import requested
from tamis.forget.ways import make_way
from tamis.models.classifier import describe_classifier, find_classifier
from tamis.recipe import Recipe


def plan_forgetting(recipe: Recipe) -> dict[str, Any]:
    """Plan a forget run. The data are read; no model is loaded.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    dict
        JSON values.

    Raises
    ------
    RecipeError, DataError
        If the recipe cannot run.
    """
    parts = ForgetRecipe.of(recipe)
    model = find_classifier(parts.model, factory=parts.network)
    described = describe_classifier(model)
    data = examples_reader(model, described, parts)(recipe.input_path("data"))
    forget = requested(data, parts.request, described, seed=recipe.seed)
    anew = parts.original_training(described) if parts.retrain else None
    way = make_way(parts.method, parts.way, seed=recipe.seed)
    n = len(data.ids)
    kind = kind_of(data.examples.labels.numpy(), forget, np.setdiff1d(np.arange(n), forget))
    return {
        "model": model.title, "examples": n, "forget": len(forget), "retain": n - len(forget), "method": parts.method,
        "summary": parts.title, "compare": list(parts.compare), "sweep": parts.sweep,
        "epochs": way.epochs_for(kind, n - len(forget), len(forget)), "repair": way.repair_epochs(kind),
        "seeds": parts.seeds,
        "held_out": "held_out" in recipe.inputs, "test": "test" in recipe.inputs,
        "retrain_epochs": None if anew is None else anew.epochs,
    }  # fmt: skip


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_forgetting` returns it.
    """
    stop = "stops by held-out examples" if plan["held_out"] else "no held-out examples: all epochs are done"
    lines = [
        f"{plan['model']}: forget {plan['forget']:,} of {plan['examples']:,} examples",
        f"method   {plan['method']}: {plan['summary']}; at most {plan['epochs']:g} epochs, {stop}",
    ]
    if plan["repair"]:
        lines.append(f"repair   {plan['repair']:g} epochs of descent alone on what stays follow")
    if plan["retrain_epochs"] is None:
        lines.append("compared with nothing: no model is trained anew (--retrain)")
    else:
        lines.append(f"compared with a model trained anew, {plan['retrain_epochs']:g} epochs on what stays")
    if plan["sweep"]:
        lines.append("sweep    up to 12 edits more, to choose alpha, p and learning rate")
    if plan["compare"]:
        lines.append(f"beside   {len(plan['compare'])} other methods: {', '.join(plan['compare'])}")
    if not plan["test"]:
        lines.append("no test examples: membership attacks and TA are not measured (--test)")
    return "\n".join([*lines, f"seeds    {plan['seeds']}"])
