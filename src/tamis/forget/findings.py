"""What a forget run found out, as JSON values, for the report, the certificate and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tamis.forget.comparison import Comparison
from tamis.forget.forget_recipe import ForgetRecipe
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.named_examples import NamedExamples
from tamis.forget.smoothing import label_privacy
from tamis.forget.ugradsl import UGradSL
from tamis.forget.ways import make_way
from tamis.models.classifier import LocalClassifier, kind_of_inputs

BINS = 20
FROM_RANDOM = (
    "the model trained anew began with random weights: if the original was fine-tuned from a checkpoint, it says "
    "little about this one (add --retrain-from)"
)
COLLAPSE = 5.0
"""Points of accuracy on what stays whose loss counts as a collapse."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run was told: recipe, model and its description, examples by role, and what is to be forgotten."""

    recipe: ForgetRecipe
    model: LocalClassifier
    described: Mapping[str, Any]
    data: NamedExamples
    test: NamedExamples | None
    held_out: NamedExamples | None
    sets: ForgetSets


def findings(
    setting: Setting,
    compared: Comparison,
    said: Mapping[str, Sequence[Mapping[str, Any]]],
    relearned: Mapping[str, Sequence[float]],
    swept: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return everything that the report draws from, but for the evidence."""
    recipe, model, described, sets = setting.recipe, setting.model, setting.described, setting.sets
    data, test, held_out = setting.data, setting.test, setting.held_out
    taken = {name: row[name] for row in swept if row["chosen"] for name in ("alpha", "p", "learning_rate")}
    way = make_way(recipe.method, {**recipe.way, **taken}, seed=0)
    edited = said["edited"]
    params = {name: value for name, value in way.get_params().items() if name not in ("seed", "force")}
    params |= {"epochs": round(way.epochs_for(*sets.sizes), 2)}
    if isinstance(way, UGradSL):
        params |= {"p": way.descent(sets.kind), "repair": way.repair_epochs(sets.kind)}
    found = {
        "model": {"name": model.title, "fingerprint": model.fingerprint, "classes": _classes(described, sets)},
        "data": {
            "examples": len(data.ids), "forget": len(sets.forget), "retain": len(sets.retain),
            "test": None if test is None else len(test.ids),
            "held_out": None if held_out is None else len(held_out.ids),
            "features": len(data.features),
        },
        "request": {"by": recipe.request[0], "value": _plain(recipe.request[1]), "kind": sets.kind,
                    "gone": compared.gone},
        "method": {
            "name": recipe.method, "summary": recipe.title,
            "params": params | {"learning_rate": edited[0]["settings"]["learning_rate"]},
            "seeds": recipe.seeds, "reasons": [each["reason"] for each in edited],
            "diverged": [each["diverged"] for each in edited], "kept": [each["kept"] for each in edited],
            "steps": [len(each["steps"]) for each in edited], "label_privacy": _privacy(way, sets),
        },
        "beside": {name: {"reasons": [each["reason"] for each in said[name]],
                          "diverged": [each["diverged"] for each in said[name]]} for name in compared.others},
        "seconds": {kind: list(values) for kind, values in compared.seconds.items()},
        "metrics": compared.metrics,
        "gap": compared.gap(),
        "curve": [{key: step[key] for key in ("step", "loss", "grad_norm", "held_out", "repair") if key in step}
                  for step in edited[0]["steps"]],
        "histograms": histograms(compared.frame),
        "relearning": {kind: list(values) for kind, values in relearned.items()},
        "sweep": [dict(row) for row in swept],
        "proof": proof(compared),
    }  # fmt: skip
    warnings = [*_warnings(found, edited), *notes]
    if recipe.retrain and recipe.retrain_from is None and kind_of_inputs(model) is not None:
        warnings.append(FROM_RANDOM)
    return {**found, "warnings": warnings}


def histograms(frame: pl.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Examples by confidence in the true label, in bins from 0 to 1, by model and split; of the first seed."""
    edges = np.linspace(0, 1, BINS + 1)
    first = frame.filter(pl.col("seed") == 0)
    return {
        str(model): {
            str(split): np.histogram(part["confidence"].to_numpy(), edges)[0].tolist()
            for (split,), part in own.group_by("split", maintain_order=True)
        }
        for (model,), own in first.group_by("model", maintain_order=True)
    }


def proof(compared: Comparison) -> dict[str, list[str]]:
    """What this run can say, and what it cannot: sentences."""
    can, cannot = [], ["that no trace is left: closeness on averages is no certificate"]
    if compared.gap() is not None:
        can.append("how close the edited model comes to a model trained anew, on UA, RA, TA and MIA")
        cannot.append("that models trained anew with other settings or data order would look the same")
    elif "retrained" in compared.metrics:
        can.append("how close the edited model comes to a model trained anew, on UA and RA")
        cannot.append("how close it comes on TA and MIA: there are no test examples (--test)")
    else:
        cannot.append("how close the edited model is to a model trained anew: none was trained (--retrain)")
    if compared.tested:
        can.append("whether two membership attacks tell what was forgotten from examples that no model has seen")
    else:
        cannot.append("whether membership attacks succeed: there are no test examples (--test)")
    can.append("that accuracy on what was to be forgotten, and on what stays, changed by the amounts shown")
    cannot.append("that stronger attacks, or training on a few of the examples again, would not bring them back")
    return {"can": can, "cannot": cannot}


def summary(folder: Path, found: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "run": str(folder), "rows": found["data"]["examples"], "undecided": 0, "model_name": found["model"]["name"],
        "method": found["method"]["name"], "forget": found["data"]["forget"], "retain": found["data"]["retain"],
        "kind": found["request"]["kind"], "reasons": found["method"]["reasons"], "metrics": found["metrics"],
        "gap": found["gap"], "seconds": found["seconds"], "proof": found["proof"], "warnings": found["warnings"],
        "evidence": list(evidence), "exit_code": 0, "model": str(folder / "model"),
        "certificate": str(folder / "certificate"), "report": str(folder / "report.html"),
    }  # fmt: skip


def _warnings(found: Mapping[str, Any], edited: Sequence[Mapping[str, Any]]) -> list[str]:
    warnings = list(dict.fromkeys(each for seed in edited for each in seed["warnings"]))
    metrics = found["metrics"]
    lost = metrics["original"]["RA"][0] - float(np.mean(metrics["edited"]["RA"]))
    if lost > COLLAPSE:
        warnings.append(f"accuracy on what stays fell by {lost:.1f} points: the model collapsed, MIA says nothing here")
    if any(found["method"]["diverged"]):
        warnings.append("a loss was not finite; the weights are those of the last evaluation before")
    if found["data"]["held_out"] is None:
        warnings.append("no held-out examples: nothing told the method when to stop (add --held-out)")
    gap = found["gap"]
    if gap is not None and gap["average"] > gap["original"]:
        warnings.append(
            f"the edited model is further from a model trained anew ({gap['average']:.1f} points) than the original "
            f"({gap['original']:.1f})"
        )
    if found["request"]["kind"] == "sample" and gap is not None:
        over = float(np.mean(metrics["edited"]["UA"])) - float(np.mean(metrics["retrained"]["UA"]))
        if over > COLLAPSE:
            warnings.append(
                f"UA is {over:.1f} points above that of a model trained anew: such over-forgetting can itself show "
                "what was forgotten"
            )
    return warnings


def _privacy(way: Any, sets: ForgetSets) -> float | None:
    """Epsilon of the paper's Theorem 3, where it says something."""
    if not isinstance(way, UGradSL) or isinstance(way.alpha, str):
        return None
    p = way.descent(sets.kind)
    ratio = p / (1 - p) if p < 1 else 0.0
    holds = ratio > 1 and 1 - ratio <= float(way.alpha) < 0
    return label_privacy(float(way.alpha), sets.n_classes, ratio) if holds else None


def _classes(described: Mapping[str, Any], sets: ForgetSets) -> list[str]:
    return [str(each) for each in described.get("classes") or range(sets.n_classes)]


def _plain(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and "/" in value else value
