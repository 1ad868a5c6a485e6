"""Options that the subcommands of ``tamis peers`` share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

HELP_READ = "Reading"
HELP_SCORE = "Score and decision"

AnswersArgument = Annotated[
    Path,
    typer.Argument(
        metavar="ANSWERS",
        help="task, worker, label as CSV, JSONL, JSON or Parquet; a tasks x workers matrix; answers.json.",
    ),
]
LLMOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="LLM labels of the tasks: task, model, sample, label. Repeatable; two samples or more of each model."
    ),
]
MinAnswersOption = Annotated[int, typer.Option(help="Scored answers that a worker needs.", rich_help_panel=HELP_SCORE)]
LayoutOption = Annotated[str | None, typer.Option(help="long, wide or peerannot.", rich_help_panel=HELP_READ)]
TaskOption = Annotated[str | None, typer.Option(help="Column of the task.", rich_help_panel=HELP_READ)]
WorkerOption = Annotated[str | None, typer.Option(help="Column of the worker.", rich_help_panel=HELP_READ)]
LabelOption = Annotated[str | None, typer.Option(help="Column of the label.", rich_help_panel=HELP_READ)]
ClassesOption = Annotated[
    str | None, typer.Option(help="Names of the classes in order, with commas.", rich_help_panel=HELP_READ)
]
DuplicatesOption = Annotated[
    str, typer.Option(help="A worker's second answer to a task: first, last or error.", rich_help_panel=HELP_READ)
]
ReadFormatOption = Annotated[
    str | None, typer.Option("--format", help="Format, if the name does not tell.", rich_help_panel=HELP_READ)
]
QuantileOption = Annotated[
    float, typer.Option(help="Share of virtual LLM workers below the threshold.", rich_help_panel=HELP_SCORE)
]
OrdinalOption = Annotated[bool, typer.Option("--ordinal", help="Classes are ordered.", rich_help_panel=HELP_SCORE)]
LeaveOneOutOption = Annotated[
    bool, typer.Option("--leave-one-out", help="Sign matrices without the worker.", rich_help_panel=HELP_SCORE)
]
GuardOption = Annotated[
    float, typer.Option(help="Ignore cells that are closer to 0 than this / sqrt(tasks).", rich_help_panel=HELP_SCORE)
]
RenormaliseOption = Annotated[
    bool, typer.Option("--renormalise", help="Weight the strata a worker saw.", rich_help_panel=HELP_SCORE)
]
FidelityOption = Annotated[str, typer.Option(help="product or paper.", rich_help_panel=HELP_SCORE)]


def reading_options(**given: str | None) -> dict[str, Any]:
    """Return the options of :func:`tamis.data.read_answers` that were given."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if "classes" in found:
        found["classes"] = names_of(found["classes"])
    return found


def names_of(text: str | None) -> list[str]:
    """Return the names in a text with commas."""
    return [] if text is None else [name.strip() for name in text.split(",")]
