"""Options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
