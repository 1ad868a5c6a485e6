"""``tamis curate``: from a rated pool to a selection and a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded

HELP_DS2 = "Matrix and correction"
HELP_RUN = "Run"
EngineOption = Annotated[str, typer.Option(help="inline or process.", rich_help_panel=HELP_RUN)]
WorkersOption = Annotated[
    int | None, typer.Option(help="Processes; default: one per core.", show_default=False, rich_help_panel=HELP_RUN)
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.", rich_help_panel=HELP_RUN)]


@guarded
def curate(
    pool: Annotated[Path, typer.Argument(help="JSONL, JSON, CSV or Parquet; Alpaca, ShareGPT, messages, columns.")],
    ratings: Annotated[str, typer.Option(help="File of ratings (long: unit_id, rater, value ...) or a pool column.")],
    budget: Annotated[int, typer.Option(help="Records to keep.")],
    out: Annotated[Path | None, typer.Option(help="Run directory.  [default: runs/curate-POOL-HASH]")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Vectors: .npy in row order, or Parquet with ids.")] = None,
    embedder: Annotated[str, typer.Option(help="minilm, a folder, or owner/model.")] = "minilm",
    rater: Annotated[str | None, typer.Option(help="Use this rater only.")] = None,
    combine: Annotated[str, typer.Option(help="Several raters: mean, median, min or max.")] = "mean",
    criterion: Annotated[str, typer.Option(help="Criterion of the ratings to use.")] = "overall",
    scale: Annotated[str, typer.Option(help="auto, LOW-HIGH (1-10 is compressed to 6), quantile:K.")] = "auto",
    group: Annotated[str | None, typer.Option(help="Column whose composition the report shows.")] = None,
    truth: Annotated[str | None, typer.Option(help="Column of true ratings, to score both rules.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of the pool, if its name does not tell.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of ids.  [default: id, else a hash]")] = None,
    rule: Annotated[str, typer.Option(help="rank or vote.", rich_help_panel=HELP_DS2)] = "rank",
    threshold: Annotated[float, typer.Option(help="Confidence to correct.", rich_help_panel=HELP_DS2)] = 0.5,
    correct: Annotated[str, typer.Option(help="usable, all or none.", rich_help_panel=HELP_DS2)] = "usable",
    neighbors: Annotated[int, typer.Option(help="Neighbours to ask.", rich_help_panel=HELP_DS2)] = 10,
    graph_neighbors: Annotated[int, typer.Option(help="Neighbours to keep.", rich_help_panel=HELP_DS2)] = 40,
    index: Annotated[str, typer.Option(help="exact, ivf or hnsw.", rich_help_panel=HELP_DS2)] = "exact",
    bootstrap: Annotated[int, typer.Option(help="Replicates for intervals.", rich_help_panel=HELP_DS2)] = 100,
    fidelity: Annotated[str, typer.Option(help="product or paper.", rich_help_panel=HELP_DS2)] = "product",
    seed: Annotated[int, typer.Option(help="Seed.", rich_help_panel=HELP_RUN)] = 0,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Find untrustworthy LLM ratings, correct them where the data allows, and keep the best, most diverse records."""
    params: dict[str, Any] = {
        "budget": budget, "fidelity": fidelity, "rule": rule, "scale": scale, "threshold": threshold,
        "correct": correct, "neighbors": neighbors, "graph_neighbors": graph_neighbors, "rater": rater,
        "combine": combine, "criterion": criterion, "n_bootstrap": bootstrap, "index": index, "embedder": embedder,
    }  # fmt: skip
    reading = {"format": format, "id_column": id_column, "group": group, "truth": truth}
    return start_curation(
        pool=pool, ratings=ratings, embeddings=embeddings, out=out, params=params, reading=reading, seed=seed,
        engine=engine, workers=workers, quiet=quiet, json_=json_,
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
    engine: str,
    workers: int | None,
    quiet: bool,
    json_: bool,
) -> int:
    """Check the parameters, start or continue the run directory, and execute the recipe."""
    from tamis.cli.execute import execute
    from tamis.curate import DS2
    from tamis.engine import get_engine
    from tamis.recipe import Recipe
    from tamis.runs import Run, digest_file, digest_json

    DS2(**params, seed=seed).validate()  # before a folder is made for a recipe that cannot run
    get_engine(engine, workers=workers)
    embedder = params.get("embedder")
    if embedder and Path(embedder).is_dir():
        params = {**params, "embedder": str(Path(embedder).absolute())}
    inputs = {"pool": str(pool.absolute())}
    if embeddings is not None:
        inputs["embeddings"] = str(embeddings.absolute())
    if Path(ratings).is_file():
        inputs["ratings"] = str(Path(ratings).absolute())
    else:
        params = {**params, "ratings": ratings}
    given = {**params, **{k: v for k, v in reading.items() if v is not None}}
    recipe = Recipe(method="ds2", inputs=inputs, params=given, seed=seed)
    if out is None:
        identity = recipe.identity({role: digest_file(path) for role, path in inputs.items()})
        out = Path("runs") / f"curate-{pool.name.split('.')[0]}-{digest_json(identity)[:8]}"
    run = Run.start(out, recipe, command=command_line())
    return execute(run, engine=engine, workers=workers, json_=json_, quiet=quiet)


def command_line() -> str:
    """Return the command as typed, quoted for a shell."""
    import shlex

    return shlex.join(["tamis", *sys.argv[1:]])
