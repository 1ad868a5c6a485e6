"""``tamis curate``: from a rated pool to a selection and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.options import (
    AddressOption,
    EngineOption,
    FormatOption,
    IdColumnOption,
    PoolArgument,
    QuietOption,
    SeedOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from tamis.cli.execute import Running

HELP_DS2 = "Matrix and correction"


@guarded
def curate(
    pool: PoolArgument,
    ratings: Annotated[str, typer.Option(help="Run of 'tamis rate', long file (unit_id, value ...) or pool column.")],
    budget: Annotated[int, typer.Option(help="Records to keep.")],
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/curate-POOL-HASH).")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Vectors: .npy in row order, or Parquet with ids.")] = None,
    embedder: Annotated[str, typer.Option(help="minilm, a folder, or owner/model.")] = "minilm",
    rater: Annotated[str | None, typer.Option(help="Use this rater only.")] = None,
    combine: Annotated[str, typer.Option(help="Several raters: mean, median, min or max.")] = "mean",
    criterion: Annotated[str, typer.Option(help="Criterion of the ratings to use.")] = "overall",
    scale: Annotated[str, typer.Option(help="auto, LOW-HIGH (1-10 is compressed to 6), quantile:K.")] = "auto",
    group: Annotated[str | None, typer.Option(help="Column whose composition the report shows.")] = None,
    truth: Annotated[str | None, typer.Option(help="Column of true ratings, to score both rules.")] = None,
    format: FormatOption = None,
    id_column: IdColumnOption = None,
    rule: Annotated[str, typer.Option(help="rank or vote.", rich_help_panel=HELP_DS2)] = "rank",
    threshold: Annotated[float, typer.Option(help="Confidence to correct.", rich_help_panel=HELP_DS2)] = 0.5,
    correct: Annotated[str, typer.Option(help="usable, all or none.", rich_help_panel=HELP_DS2)] = "usable",
    neighbors: Annotated[int, typer.Option(help="Neighbours to ask.", rich_help_panel=HELP_DS2)] = 10,
    graph_neighbors: Annotated[int, typer.Option(help="Neighbours to keep.", rich_help_panel=HELP_DS2)] = 40,
    index: Annotated[str, typer.Option(help="exact, ivf or hnsw.", rich_help_panel=HELP_DS2)] = "exact",
    bootstrap: Annotated[int, typer.Option(help="Replicates for intervals.", rich_help_panel=HELP_DS2)] = 100,
    fidelity: Annotated[str, typer.Option(help="product or paper.", rich_help_panel=HELP_DS2)] = "product",
    seed: SeedOption = 0,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Find untrustworthy LLM ratings, correct them where the data allows, and keep the best, most diverse records."""
    from tamis.cli.execute import Running

    params: dict[str, Any] = {
        "budget": budget, "fidelity": fidelity, "rule": rule, "scale": scale, "threshold": threshold,
        "correct": correct, "neighbors": neighbors, "graph_neighbors": graph_neighbors, "rater": rater,
        "combine": combine, "criterion": criterion, "n_bootstrap": bootstrap, "index": index, "embedder": embedder,
    }  # fmt: skip
    reading = {"format": format, "id_column": id_column, "group": group, "truth": truth}
    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    return start_curation(
        pool=pool, ratings=ratings, embeddings=embeddings, out=out, params=params, reading=reading, seed=seed,
        running=running,
    )  # fmt: skip


def start_curation(
    *,
    pool: Path,
    ratings: str,
    embeddings: Path | None,
    out: Path | None,
    params: dict[str, Any],
    reading: dict[str, Any],
    seed: int,
    running: Running,
) -> int:
    """Check the parameters, start or continue the run directory, and execute the recipe."""
    from tamis.cli.execute import start_and_execute
    from tamis.curate import DS2
    from tamis.curate.rating import ratings_of_run, scale_of_run
    from tamis.recipe import Recipe

    inputs = {"pool": str(pool.absolute())}
    if Path(ratings).is_dir():
        inputs["ratings"] = str(ratings_of_run(ratings).absolute())
        if params.get("scale") == "auto":
            scale = scale_of_run(ratings, criterion=params["criterion"], rater=params.get("rater"))
            params = {**params, "scale": scale}
    elif Path(ratings).is_file():
        inputs["ratings"] = str(Path(ratings).absolute())
    else:
        params = {**params, "ratings": ratings}
    DS2(**{k: v for k, v in params.items() if k != "ratings"}, seed=seed).validate()  # before a folder is made
    embedder = params.get("embedder")
    if embedder and Path(embedder).is_dir():
        params = {**params, "embedder": str(Path(embedder).absolute())}
    if embeddings is not None:
        inputs["embeddings"] = str(embeddings.absolute())
    given = {**params, **{k: v for k, v in reading.items() if v is not None}}
    return start_and_execute(Recipe(method="ds2", inputs=inputs, params=given, seed=seed), out=out, running=running)


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of a curation as text."""
    lines = [
        f"kept {summary['keep']} of {summary['rows']} records (budget {summary['budget']}), dropped {summary['drop']}"
    ]
    if summary["undecided"]:
        lines.append(
            f"not decided: {summary['undecided']} records without a rating; rate them and curate again "
            "into another --out"
        )
    if summary["rejected"]:
        lines.append(f"rejected on reading: {summary['rejected']} rows, see rejects.parquet")
    for name, rater in summary["raters"].items():
        lines.append(
            f"rater {name}: matrix {rater['verdict']}, {rater['corrected']} of {rater['measured']} ratings corrected"
        )
        lines += [f"  - {warning}" for warning in rater["warnings"]]
    lines += [f"selected records  {summary['selected']}", f"report            {summary['report']}"]
    return "\n".join(lines)
