"""What can be done after a forget run: commands, and the files to go on with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.recipe import Recipe
from tamis.report.tokens_strips import plain
from tamis.runs import Run

Found = Mapping[str, Any]

OPTIONS = ("where", "share", "method", "alpha", "p", "learning_rate", "epochs", "repair", "batch_rows", "clip", "aim",
           "retrain_epochs", "retrain_learning_rate", "retrain_batch_rows", "retrain_optimizer", "retrain_from",
           "seeds", "network", "label", "text", "image", "max_length", "group", "id_column")  # fmt: skip
"""Parameters that are options of the command line under their own name."""
INPUTS = {"data": "--data", "test": "--test", "held_out": "--held-out", "forget": "--ids"}
FEW = 3
"""Seeds below which more are advised."""


def command(recipe: Recipe, **changes: Any) -> list[str]:
    """Return the command line of a forget recipe.

    Parameters
    ----------
    recipe : Recipe
    **changes
        Parameters, or inputs by their role, that differ.

    Examples
    --------
    >>> params = {"model": "m", "classes": ["3"], "alpha": -1.0}
    >>> recipe = Recipe(method="forget", inputs={"data": "d.csv"}, params=params)
    >>> " ".join(command(recipe, retrain=True, test="t.csv"))
    'tamis forget m --data d.csv --test t.csv --class 3 --alpha -1.0 --retrain'
    """
    params = {**recipe.params, **{name: value for name, value in changes.items() if name not in INPUTS}}
    inputs = {**recipe.inputs, **{name: value for name, value in changes.items() if name in INPUTS}}
    parts = ["tamis", "forget", str(params["model"])]
    for role, option in INPUTS.items():
        if inputs.get(role) is not None:
            parts += [option, str(inputs[role])]
    if params.get("classes") is not None:
        classes = params["classes"]
        parts += ["--class", ",".join(map(str, classes)) if isinstance(classes, list) else str(classes)]
    if params.get("compare"):
        parts += ["--compare", ",".join(params["compare"])]
    for name in OPTIONS:
        if params.get(name) is not None:
            parts += [f"--{name.replace('_', '-')}", str(params[name])]
    parts += [f"--{name}" for name in ("sweep", "retrain") if params.get(name)]
    return [*parts, *(["--seed", str(recipe.seed)] if recipe.seed else [])]


def commands(run: Run, found: Found) -> list[tuple[str, str]]:
    """Return what can be done next: words, and a command."""
    recipe = run.recipe
    proof: dict[str, Any] = {}
    if "retrained" not in found["metrics"]:
        proof["retrain"] = True
    if found["data"]["test"] is None:
        proof["test"] = "TEST.csv"
    seeds = {"seeds": FEW} if found["method"]["seeds"] < FEW else {}
    said: list[tuple[str, Sequence[str]]] = [
        ("Check the certificate: digests and metrics computed again, models run again", _verify(run))
    ]
    if proof:
        said.append(("Measure what is missing here", command(recipe, **proof, **seeds)))
    elif seeds:
        said.append(("See how much seeds differ", command(recipe, **seeds)))
    if found["data"]["held_out"] is None:
        said.append(("Let held-out examples say when to stop", command(recipe, held_out="HELD_OUT.csv", **proof)))
    other = "fine-tune" if found["method"]["name"] != "fine-tune" else "ugradsl+"
    words = "training on what stays alone" if other == "fine-tune" else "UGradSL+"
    ways = dict.fromkeys(("alpha", "p", "learning_rate", "epochs", "repair", "batch_rows", "clip"))
    said.append((f"Compare with {words}", command(recipe, **{**ways, **proof, "method": other, "sweep": None})))
    return [(words, shlex.join(plain(part) for part in parts)) for words, parts in said]


def _verify(run: Run) -> list[str]:
    return ["tamis", "forget", "verify", str(run.folder.absolute())]


def files(found: Found) -> list[tuple[str, str]]:
    """List the files of the run that a user goes on with."""
    of = "" if found["method"]["seeds"] == 1 else ", that of the first seed"
    return [
        ("model/", f"the edited model{of}, laid out as the one that came in"),
        (
            "certificate/certificate.json",
            "digests of the model before and after, the method, the metrics, what is said",
        ),
        ("certificate/certificate.digest", "its digest: keep it elsewhere, so that a changed certificate shows"),
        ("certificate/request.json", "the request and the ids of all examples that it names"),
        ("certificate/predictions.parquet", "what each model says of each example: all metrics follow from it"),
        ("selection.parquet", "each training example: forget or keep, and why"),
        ("evidence.parquet", "the rows of the table above"),
    ]
