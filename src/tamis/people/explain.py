"""Why an audit decided as it did about one worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.select.decided import decided


def explain(folder: str | Path, unit_id: str) -> dict[str, Any]:
    """Decision, reason, scores and where they come from, of one worker.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    unit_id : str
        Id of the worker, or a beginning of it that no other id shares.

    Raises
    ------
    DataError, RunStateError
        See :func:`tamis.select.decided.decided`.
    """
    row, workers = decided(folder, unit_id, step="decide")
    own = workers.filter(pl.col("worker") == row["unit_id"]).row(0, named=True)
    models = [name.removeprefix("score:") for name in own if name.startswith("score:")]
    return {
        **row,
        "action": own["action"],
        **{name: own[name] for name in ("n_answers", "n_scored", "low", "high", "ca", "ca_se", "oa", "skill",
                                        "virtual_quantile", "paired_z", "model")},
        "models": [
            {"model": name, "score": own[f"score:{name}"], "similarity": own[f"similarity:{name}"]} for name in models
        ],
        "of": workers.filter(pl.col("score").is_not_null()).height,
    }  # fmt: skip


def explain_text(found: dict[str, Any]) -> str:
    """Write an explanation as text.

    Parameters
    ----------
    found : dict
        As :func:`explain` returns it.
    """
    rank = "" if found["rank"] is None else f", rank {found['rank'] + 1} of {found['of']}"
    lines = [f"{found['unit_id']}: {found['action'] or 'undecided'}{rank}", f"  {found['reason']}  [{found['step']}]"]
    skill = "unknown" if found["skill"] is None else f"{found['skill']:.2f}"
    if found["ca"] is not None:
        lines.append(
            f"  nothing conditioned on (CA): {found['ca']:.3f} +- {found['ca_se']:.3f}; Dawid-Skene skill {skill}"
        )
    for each in found["models"]:
        score = "not scored" if each["score"] is None else f"{each['score']:.3f}"
        like = "none of its labels" if each["similarity"] is None else f"{each['similarity']:.0%} equal answers"
        lowest = "  <- explains most" if each["model"] == found["model"] else ""
        lines.append(f"  beyond {each['model']}: {score} ({like}){lowest}")
    if found["virtual_quantile"] is not None:
        lines.append(f"  scores at least as high as {found['virtual_quantile']:.0%} of virtual workers who paste")
    lines.append("  a score is evidence about answers, never proof about a person")
    return "\n".join(lines)
