"""The report of a fine-tuning: what was trained on, how the loss went, and what held-out records say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.report.findings import read_evidence, read_findings
from tamis.report.provenance import wall_seconds
from tamis.report.rendering import count, decimal, plural, render, seconds, share, share_with_interval, with_interval
from tamis.report.section import Section
from tamis.report.tokens_charts import warmup_curve
from tamis.runs import Run

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

DIGITS = 4
SHARES = "share "
"""Beginning of the names of metrics that are shares."""
PAIRED = "change of "
"""Beginning of the names of metrics that are paired differences to the base."""
ALL = "all answer tokens"
SHOWN = ("steps", "epochs", "batch_rows", "learning_rate", "schedule", "warmup", "weight_decay", "clip", "precision",
         "tune", "lora_rank", "lora_alpha", "lora_dropout", "normalise", "patience")  # fmt: skip


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of a fine-tuning, the lead first.

    Parameters
    ----------
    run_folder : str or Path
        Directory of a finished run.

    Raises
    ------
    RunStateError
        If the run holds no findings yet.
    """
    run = Run.open(run_folder)
    found = read_findings(run, "decide")
    evidence = read_evidence(run)
    limits = render("training/limits.html.j2", several=found["seeds"] > 1, alone=len(found["arms"]) == 1)
    return [
        _lead(run, found, evidence),
        _done(found, evidence),
        _helped(found, evidence),
        Section("What this cannot show", "Where do the assumptions end?", limits, nav="Limits"),
    ]


def _lead(run: Run, found: Found, evidence: Rows) -> Section:
    first = found["results"][0]["training"]
    figures = [
        (count(first["steps"]), "optimiser steps", "of the model that is saved"),
        (count(first["weight"]), "tokens trained on", "one seen twice counts twice"),
        (count(found["records"]["trained"]), "records", f"{count(found['records']['held_out'])} more held out"),
        (
            count(len(found["results"])),
            "trainings",
            f"{plural(len(found['arms']), 'arm')}, {plural(found['seeds'], 'seed')}",
        ),
        (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger"),
    ]
    html = render(
        "training/lead.html.j2",
        base=found["base"]["name"],
        learns=first["learns"],
        steps=plural(first["steps"], "step"),
        arm=found["arms"][0],
        change=_change(found, evidence),
        figures=figures,
    )
    return Section(f"Fine-tuning of {found['base']['name']}", "", html, nav="")


def _change(found: Found, evidence: Rows) -> dict[str, str | None] | None:
    """Loss of held-out answers before and after, of the model that is saved."""
    own = [row for row in evidence if row["group"] == found["arms"][0]["name"] and row["split"] == ALL]
    row = next((row for row in own if row["before"] is not None), None)
    if row is None:
        return None
    paired = next((row for row in own if row["metric"].startswith(PAIRED)), None)
    by = None if paired is None else with_interval([paired["after"], paired["low"], paired["high"]], DIGITS)
    return {"before": decimal(row["before"], DIGITS), "after": decimal(row["after"], DIGITS), "by": by}


def _done(found: Found, evidence: Rows) -> Section:
    first = found["results"][0]
    training = first["training"]
    own = next((r for r in evidence if r["group"] == first["arm"] and r["split"] == ALL and r["before"]), None)
    label = (
        f"Loss of {plural(len(training['losses']), 'step')} of the first training, from "
        f"{decimal(training['losses'][0], 3)} to {decimal(training['losses'][-1], 3)} nats a token."
    )
    curve = warmup_curve(
        [[i + 1, loss] for i, loss in enumerate(training["losses"])],
        None if own is None else own["before"],
        None if own is None else own["after"],
        label=label,
    )
    settings = [(name, found["settings"][name]) for name in SHOWN if found["settings"].get(name) is not None]
    html = render(
        "training/done.html.j2", arms=found["arms"], curve=curve, label=label, held=own is not None, settings=settings,
        results=found["results"],
    )  # fmt: skip
    return Section("What was done", "Which tokens taught it, and how did the loss go?", html, nav="What was done")


def _helped(found: Found, evidence: Rows) -> Section:
    html = render(
        "training/helped.html.j2",
        evidence=[_view(row) for row in evidence],
        several=found["seeds"] > 1,
        held_out=found["records"]["held_out"],
        compared=len(found["arms"]) > 1,
        arms=found["arms"],
    )
    return Section("Did it help?", "What do records say that it was not trained on?", html, nav="Did it help")


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    percent = row["metric"].startswith(SHARES)
    after = [row["after"], row["low"], row["high"]]
    return {
        **row,
        "before": share(row["before"]) if percent else decimal(row["before"], DIGITS),
        "after": share_with_interval(after, 1) if percent else with_interval(after, DIGITS),
    }
