"""Options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

HELP_RUN = "Run"

PoolArgument = Annotated[Path, typer.Argument(help="JSONL, JSON, CSV or Parquet; Alpaca, ShareGPT, messages, columns.")]
FormatOption = Annotated[str | None, typer.Option(help="Format of the pool, if its name does not tell.")]
IdColumnOption = Annotated[str | None, typer.Option(help="Column of ids (default: id, else a hash).")]
SeedOption = Annotated[int, typer.Option(help="Seed.", rich_help_panel=HELP_RUN)]
EngineOption = Annotated[str, typer.Option(help="inline, process or ray.", rich_help_panel=HELP_RUN)]
WorkersOption = Annotated[
    int | None,
    typer.Option(help="Processes or actors; default: one per core.", show_default=False, rich_help_panel=HELP_RUN),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to join: auto or HOST:PORT; default: a local one.",
        show_default=False,
        rich_help_panel=HELP_RUN,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.", rich_help_panel=HELP_RUN)]

HELP_TRAINING = "Training"

BaseOption = Annotated[
    str, typer.Option(help="Model to be fine-tuned: smollm2, a folder of safetensors, a .gguf file, or owner/model.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=HELP_RUN)]
EpochsOption = Annotated[float, typer.Option(help="Passes over the records.", rich_help_panel=HELP_TRAINING)]
BatchRowsOption = Annotated[int, typer.Option(help="Records of a step.", rich_help_panel=HELP_TRAINING)]
LearningRateOption = Annotated[float, typer.Option(help="At its highest.", rich_help_panel=HELP_TRAINING)]
TuneOption = Annotated[
    str, typer.Option(help="What learns: lora, full, head or last:N layers.", rich_help_panel=HELP_TRAINING)
]
LoraRankOption = Annotated[int, typer.Option(help="Rank of the adapters.", rich_help_panel=HELP_TRAINING)]
HELP_TASKS = "Tasks of the LM evaluation harness"

TasksOption = Annotated[
    str | None, typer.Option(help="Tasks to ask before and after, with commas.", rich_help_panel=HELP_TASKS)
]
TaskFolderOption = Annotated[
    Path | None, typer.Option(help="Folder of further task files.", rich_help_panel=HELP_TASKS)
]
TaskLimitOption = Annotated[
    int | None, typer.Option(help="Questions of each task (default: all).", rich_help_panel=HELP_TASKS)
]


def task_params(tasks: str | None, folder: Path | None, limit: int | None) -> dict[str, Any]:
    """Parameters of a recipe that name tasks of lm-eval."""
    return {
        "tasks": None if tasks is None else listed(tasks),
        "task_folder": None if folder is None else str(folder.absolute()),
        "task_limit": limit,
    }


def listed(text: str) -> list[str]:
    """Names with commas between them, as a list; no text is no name, and two commas have an empty one between them."""
    return [each.strip() for each in text.split(",")] if text.strip() else []


def model_name(name: str) -> str:
    """Name of a local model without the prefix that judges have; a folder or file by its absolute path."""
    name = name.removeprefix("hf:")
    path = Path(name).expanduser()
    return str(path.absolute()) if path.is_dir() or path.suffix == ".gguf" else name
