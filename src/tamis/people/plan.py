"""What an audit of a crowd will read, score and hold in memory, before it begins."""

from __future__ import annotations

from typing import Any

from tamis.people.checks import answer_warnings, label_warnings, require_crowd, stratum_warnings
from tamis.people.crowd_scores import Condition
from tamis.people.job import answers_of, labels_of, method_of
from tamis.recipe import Recipe

BASE_BYTES = 400_000_000
FLOAT_BYTES = 8


def plan_audit(recipe: Recipe) -> dict[str, Any]:
    """Plan an audit: answers, workers, LLM samples, memory, and what would be warned of. Nothing is scored.

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
    method = method_of(recipe)
    answers = answers_of(recipe)
    require_crowd(answers, min_answers=method.min_answers)
    labels = labels_of(recipe)
    aligned = None if labels is None else labels.aligned(answers)
    conditions = [] if aligned is None else Condition.of(aligned)
    codes = answers.codes
    columns = 1 + sum(len(each.others) for each in conditions)
    terms = FLOAT_BYTES * len(codes) * (1 + columns * len(conditions))
    working = FLOAT_BYTES * len(codes) * 4 * codes.n_classes
    return {
        "answers": len(codes),
        "rejected": len(answers.table.rejects),
        "workers": codes.n_workers,
        "workers_with_enough": int((codes.per_worker >= method.min_answers).sum()),
        "tasks": codes.n_tasks,
        "classes": codes.n_classes,
        "models": {each.model: 1 + len(each.others) for each in conditions},
        "memory_bytes": BASE_BYTES + terms + working,
        "warnings": [
            *answer_warnings(answers),
            *label_warnings(answers, aligned, conditions),
            *stratum_warnings(codes, conditions),
        ],
    }


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_audit` returns it.
    """
    models = ", ".join(f"{name} ({n} samples)" for name, n in plan["models"].items()) or "none"
    lines = [
        f"{plan['answers']:,} answers by {plan['workers']:,} workers about {plan['tasks']:,} tasks, "
        f"{plan['classes']} classes; {plan['workers_with_enough']:,} workers may have enough answers",
        f"LLMs     {models}",
        f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB",
    ]
    return "\n".join([*lines, *(f"  - {warning}" for warning in plan["warnings"])])
