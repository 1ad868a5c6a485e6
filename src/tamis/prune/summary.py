"""What a prune run found out, as JSON values, for the report, the model card and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.models.causal_lm import LocalModel
from tamis.prune.choosing import Chosen
from tamis.prune.settings import PruneSettings
from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.texts import Texts
from tamis.train.settings import TrainSettings

RUINED = 10.0
"""Times the perplexity of the uncut model from which a cut is called ruinous."""


@dataclass(frozen=True)
class Setting:
    """What a run was told, and what it came upon on the way."""

    settings: PruneSettings
    model: LocalModel
    checkpoint: Checkpoint
    texts: Texts | None
    heal: str
    training: TrainSettings
    training_said: Mapping[str, Any] | None
    tied: str | None


def findings(setting: Setting, chosen: Chosen, sizes: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return everything that the report draws from, but for the evidence.

    Parameters
    ----------
    setting : Setting
    chosen : Chosen
    sizes : mapping, optional
        Of each model, once there are any.
    """
    config, pruner = setting.checkpoint.config, chosen.pruner
    said = setting.training_said
    healing = None
    if setting.heal != "none":
        healing = {
            "what": _healing_sentence(setting),
            "how": setting.heal,
            "training": None if said is None else dict(said),
            "settings": setting.training.to_json(),
        }
    found = {
        "model": {
            "name": setting.model.title,
            "fingerprint": setting.model.fingerprint,
            "layers": setting.checkpoint.n_layers,
            "kind": config.get("model_type"),
            "dtype": config.get("dtype") or config.get("torch_dtype"),
        },
        "texts": None if setting.texts is None else dict(setting.texts.said),
        "criterion": chosen.scores.criterion,
        "auto": len(chosen.measured) > 1,
        "scores": {each.criterion: each.frame["score"].to_list() for each in chosen.measured},
        "orders": {each.criterion: list(each.order) for each in chosen.measured},
        "dense": chosen.dense,
        "candidates": chosen.candidates,
        "curve": chosen.curve,
        "broken": chosen.broken,
        "dropped": list(pruner.dropped_),
        "kept": list(pruner.kept_),
        "undecided": list(pruner.undecided_),
        "protected": [layer for layer, spared in enumerate(pruner.protected_.tolist()) if spared],
        "tied": setting.tied,
        "healing": healing,
        "sizes": None if not sizes else {name: dict(each) for name, each in sizes.items()},
        "settings": _said(setting.settings),
    }
    return {**found, "warnings": _warnings(found)}


def _healing_sentence(setting: Setting) -> str:
    said = setting.training_said
    if said is None:
        return setting.heal
    distilled = f", {setting.settings.distill:g} of the loss from the parent" if setting.settings.distill else ""
    return (
        f"{setting.heal}, {said['steps']:,} steps of {setting.training.batch_rows} records at "
        f"{setting.training.learning_rate:g}{distilled}; {said['learns']}"
    )


def _said(settings: PruneSettings) -> dict[str, Any]:
    names = ("ratio", "n_drop", "n_layers", "drop", "keep", "n_windows", "seq_len", "magnitude_reduction",
             "magnitude_p", "taylor_absolute", "protect_first", "protect_last", "protect", "fidelity",
             "dtype")  # fmt: skip
    return {name: getattr(settings, name) for name in names}


def _warnings(found: Mapping[str, Any]) -> list[str]:
    warnings = []
    cut = next((each["perplexity"] for each in found["curve"] if each["dropped"] == len(found["dropped"])), None)
    cut = cut or next(
        (each["perplexity"] for each in found["candidates"] if each["criterion"] == found["criterion"]), None
    )
    if cut and found["dense"] and cut[0] > RUINED * found["dense"][0]:
        warnings.append(
            f"before healing, the cut model's perplexity is {cut[0]:,.0f}, {cut[0] / found['dense'][0]:,.0f} times "
            f"that of the uncut one ({found['dense'][0]:,.1f}); drop fewer layers or try another criterion"
        )
    if found["undecided"]:
        warnings.append(
            f"{len(found['undecided'])} layers have no finite score, so no model was cut (the first is layer "
            f"{found['undecided'][0]}); score in float32, or look at its weights"
        )
    if found["tied"]:
        warnings.append(found["tied"])
    if found["texts"] and found["texts"]["lost"]:
        warnings.append(f"{found['texts']['lost']} records could not be encoded and were left out")
    for criterion in found["broken"]:
        warnings.append(
            f"without the layers that {criterion} drops, the model gives no finite loss; nothing is said of that cut"
        )
    if not found["texts"] or not found["texts"]["held"]["records"]:
        warnings.append("no held-out text: what the cut costs was not measured (add --data or --held-out)")
    return warnings


def summary(folder: Path, found: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    made = bool(found["sizes"])
    return {
        "run": str(folder),
        "rows": found["model"]["layers"],
        "model_name": found["model"]["name"],
        "layers": found["model"]["layers"],
        "criterion": found["criterion"],
        "auto": found["auto"],
        "candidates": found["candidates"],
        "dense": found["dense"],
        "dropped": found["dropped"],
        "kept": len(found["kept"]),
        "undecided": len(found["undecided"]),
        "healing": found["healing"] and found["healing"]["what"],
        "sizes": found["sizes"],
        "warnings": found["warnings"],
        "evidence": list(evidence),
        "exit_code": 3 if found["undecided"] else 0,
        "scores": str(folder / "scores.csv"),
        "model": str(folder / "model") if made else None,
        "mergekit": str(folder / "mergekit.yaml") if made else None,
        "report": str(folder / "report.html"),
    }
