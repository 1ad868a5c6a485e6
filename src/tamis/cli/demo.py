"""``tamis demo``: the main job on real data that comes with tamis."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.curate import start_curation
from tamis.cli.options import AddressOption, EngineOption, QuietOption, WorkersOption


@guarded
def demo(
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/demo"),
    budget: Annotated[int, typer.Option(help="Records to keep.")] = 300,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Curate 2,996 Databricks Dolly records that a small language model rated, and write a report.

    The judge is SmolLM2 with 135 million parameters. The report shows how little its ratings agree among similar
    records; whether they are right is not known.
    """
    from tamis.cli.execute import Running

    examples = examples_folder()
    return start_curation(
        pool=examples / "dolly.jsonl",
        ratings=str(examples / "dolly_ratings.parquet"),
        embeddings=None,
        out=out,
        params={"budget": budget},
        reading={"group": "category"},
        seed=0,
        running=Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_),
    )


def examples_folder() -> Path:
    """Folder of the shipped data: inside the installed package, or at the root of a source checkout."""
    import tamis
    from tamis.errors import DataError

    package = Path(tamis.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "dolly.jsonl").exists():
            return folder
    raise DataError("The shipped example data was not found beside the package; reinstall tamis or use a checkout.")
