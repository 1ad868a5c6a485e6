"""The model card of a cut model: what it came from, which layers went, what that cost, and what to beware of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tamis.prune.layer_ranges import write_ranges

REASONING = (
    "Perplexity and multiple choice hide damage: what breaks first in a model without some of its layers is what it "
    "has to write step by step, such as arithmetic and nested brackets, and long further training does not bring all "
    "of it back (arXiv 2602.01997)."
)
"""Said wherever a cut model is described."""


def prune_card(found: Mapping[str, Any], evidence: list[dict[str, Any]]) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    found : mapping
        Findings of the run.
    evidence : list of dict
        Rows of its evidence; empty before anything was measured.
    """
    import yaml

    parent, n = found["model"]["name"], found["model"]["layers"]
    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation",
                              "tags": ["tamis", "layer-pruning"]}  # fmt: skip
    if re.fullmatch(r"[\w.-]+/[\w.-]+", parent):
        header = {"base_model": parent, **header}
    dropped = found["dropped"]
    lines = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {parent} without {len(dropped)} of its {n} layers",
        f"Layers dropped (the first is 0): **{write_ranges(dropped)}**, chosen by: {found['criterion']} (tamis prune, "
        "after Lu et al., arXiv 2411.15558).",
        f"Healed: {found['healing']['what']}." if found["healing"] else "Not healed: no weight was changed.",
        *([f"Note: {found['tied']}."] if found["tied"] else []),
        REASONING,
    ]
    if evidence:
        rows = "\n".join(
            f"| {row['metric']}{', ' + row['split'] if row['split'] else ''} | {row['group']} "
            f"| {_number(row['before'])} | {_number(row['after'])}{_interval(row)} |"
            for row in evidence
        )
        lines.append(f"## Before and after\n\n| | model | before | after |\n| --- | --- | --- | --- |\n{rows}")
    return "\n\n".join(lines) + "\n"


def _interval(row: Mapping[str, Any]) -> str:
    """The interval; none for what was counted and not estimated."""
    if row["low"] == row["after"] == row["high"]:
        return ""
    return f" ({_number(row['low'])} to {_number(row['high'])})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
