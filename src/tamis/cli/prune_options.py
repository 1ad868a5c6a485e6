"""Options of ``tamis prune``, which its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

HELP_SCORES = "Criteria"
HELP_HEALING = "Healing"
HELP_EVIDENCE = "Evidence"

ModelArgument = Annotated[
    str, typer.Argument(help="Model to cut: smollm2, a folder of safetensors, a .gguf file, or owner/model.")
]
DataOption = Annotated[
    Path | None, typer.Option(help="Records to calibrate, heal and measure with (held-out ones are set apart).")
]
RatioOption = Annotated[float | None, typer.Option(help="Share of the layers to drop (default: 0.25).")]
DropNumberOption = Annotated[int | None, typer.Option("--drop-layers", help="How many layers to drop.")]
LayersOption = Annotated[int | None, typer.Option("--layers", help="How many layers to keep.")]
CriterionOption = Annotated[
    str | None,
    typer.Option(
        help="auto (compares reverse, bi and angular), reverse, random, magnitude, taylor, ppl, bi, bi-flat, sleb, "
        "angular. Default: auto.",
    ),
]
CandidatesOption = Annotated[str, typer.Option(help="What auto compares, with commas.", rich_help_panel=HELP_SCORES)]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(help="Texts to score with (default: --data): records, or .txt.", rich_help_panel=HELP_SCORES),
]
WindowsOption = Annotated[int, typer.Option("--windows", help="Calibration windows.", rich_help_panel=HELP_SCORES)]
SeqLenOption = Annotated[int, typer.Option(help="Tokens of a window.", rich_help_panel=HELP_SCORES)]
ReductionOption = Annotated[
    str,
    typer.Option(help="Of magnitude: norm_sum, pow_sum (the official code) or concat.", rich_help_panel=HELP_SCORES),
]
PowerOption = Annotated[int, typer.Option(help="Of magnitude: 1 or 2.", rich_help_panel=HELP_SCORES)]
AbsoluteOption = Annotated[
    str, typer.Option(help="Of taylor: take absolutes of the total, or of each window.", rich_help_panel=HELP_SCORES)
]
FirstOption = Annotated[
    int | None,
    typer.Option(help="First layers that stay (default: by criterion).", rich_help_panel=HELP_SCORES),
]
LastOption = Annotated[
    int | None, typer.Option(help="Last layers that stay (default: by criterion).", rich_help_panel=HELP_SCORES)
]
ProtectOption = Annotated[
    str | None, typer.Option(help="Further layers that stay, such as 0-3,17.", rich_help_panel=HELP_SCORES)
]
FidelityOption = Annotated[
    str,
    typer.Option(help="product, or paper (reverse order, no protection, 1e-5).", rich_help_panel=HELP_SCORES),
]
HeldOutOption = Annotated[
    Path | None,
    typer.Option(help="Texts to measure with (default: part of --data).", rich_help_panel=HELP_EVIDENCE),
]
HeldRecordsOption = Annotated[int, typer.Option(help="Records to measure with.", rich_help_panel=HELP_EVIDENCE)]
CurveOption = Annotated[
    int, typer.Option(help="Layers beyond those dropped, for the curve.", rich_help_panel=HELP_EVIDENCE)
]
DtypeOption = Annotated[
    str, typer.Option(help="To score and measure in: auto, float32, bfloat16, float16.", rich_help_panel=HELP_EVIDENCE)
]


def inputs_of(**files: Path | None) -> dict[str, str]:
    """Inputs of a recipe from the files that were given; a run stands for the records that it kept."""
    from tamis.runs.selected import records_of

    return {role: str(records_of(path).absolute()) for role, path in files.items() if path is not None}


def given(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters that were given."""
    return {name: value for name, value in params.items() if value is not None}
