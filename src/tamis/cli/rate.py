"""``tamis rate``: from a pool to ratings with a ledger, and a report about the judges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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

HELP_JUDGE = "Judge"
HELP_SPEND = "Spending and pace"


@guarded
def rate(
    pool: PoolArgument,
    rater: Annotated[
        list[str],
        typer.Option(
            help="openai:MODEL@URL, hf:smollm2, scripted:... or columns:A,B, perhaps after NAME=; repeatable."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/rate-POOL-HASH).")] = None,
    rubric: Annotated[Path | None, typer.Option(help="YAML of criteria and scale (default: DS2's, 1-10).")] = None,
    samples: Annotated[int, typer.Option(help="Ratings of each row by each judge.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Rate the first rows only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    format: FormatOption = None,
    id_column: IdColumnOption = None,
    scoring: Annotated[
        str, typer.Option(help="hf: expected (score from probabilities) or generate.", rich_help_panel=HELP_JUDGE)
    ] = "expected",
    temperature: Annotated[
        float | None, typer.Option(help="Default: 0, or 1 with several samples.", rich_help_panel=HELP_JUDGE)
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest reply.", rich_help_panel=HELP_JUDGE)] = 128,
    max_chars: Annotated[
        int, typer.Option(help="Longest sample; longer ones are cut in the middle.", rich_help_panel=HELP_JUDGE)
    ] = 8000,
    structured: Annotated[
        str, typer.Option(help="Form of replies: auto, schema, json or off.", rich_help_panel=HELP_JUDGE)
    ] = "auto",
    truth: Annotated[
        str | None, typer.Option(help="Column of true ratings, for scripted judges.", rich_help_panel=HELP_JUDGE)
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="For each judge's transition matrix; none skips it.", rich_help_panel=HELP_JUDGE)
    ] = "minilm",
    embeddings: Annotated[
        Path | None, typer.Option(help="Vectors instead of the embedder.", rich_help_panel=HELP_JUDGE)
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Stop before spending more.", rich_help_panel=HELP_SPEND)
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Stop before using more.", rich_help_panel=HELP_SPEND)
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="TOML of prices over the shipped one.", rich_help_panel=HELP_SPEND)
    ] = None,
    max_missing: Annotated[
        str, typer.Option(help="Unmeasured share that is accepted; above it exit code 3.", rich_help_panel=HELP_SPEND)
    ] = "1%",
    concurrency: Annotated[int, typer.Option(help="Most calls at once.", rich_help_panel=HELP_SPEND)] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a reply.", rich_help_panel=HELP_SPEND)] = 60.0,
    attempts: Annotated[
        int, typer.Option(help="Calls for a rating whose replies cannot be used.", rich_help_panel=HELP_SPEND)
    ] = 3,
    patience: Annotated[
        int, typer.Option(help="Calls for a rating that fail for the moment.", rich_help_panel=HELP_SPEND)
    ] = 8,
    batch: Annotated[
        bool, typer.Option("--batch", help="Use the batch interface: cheaper, hours.", rich_help_panel=HELP_SPEND)
    ] = False,
    seed: SeedOption = 0,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Let LLM judges rate a pool: a plan before the spending, a ledger of every reply, and how far to trust each judge.

    A rating that is missing, refused or unparsed stays one. Keys are read from OPENAI_API_KEY and never written.
    """
    from tamis.cli.execute import Running, start_and_execute
    from tamis.cli.plan import show_plan
    from tamis.curate.rating import RatingLimits, RatingSettings
    from tamis.curate.rating.raters import absolute_spec
    from tamis.curate.rating.settings import parse_share
    from tamis.recipe import Recipe

    if Path(embedder).is_dir():
        embedder = str(Path(embedder).absolute())
    settings = RatingSettings(
        raters=tuple(map(absolute_spec, rater)), samples=samples, limit=limit, scoring=scoring, temperature=temperature,
        max_tokens=max_tokens, max_chars=max_chars, structured=structured, truth=truth,
        embedder=None if embedder == "none" else embedder,
    )  # fmt: skip
    limits = RatingLimits(
        budget_usd=budget_usd, budget_tokens=budget_tokens, max_missing=parse_share(max_missing),
        concurrency=concurrency, timeout=timeout, attempts=attempts, patience=patience, batch=batch,
    )  # fmt: skip
    files = {"pool": pool, "rubric": rubric, "prices": prices, "embeddings": embeddings}
    reading = {"format": format, "id_column": id_column}
    recipe = Recipe(
        method="rate",
        inputs={role: str(path.absolute()) for role, path in files.items() if path is not None},
        params={**settings.to_params(), **{k: v for k, v in reading.items() if v is not None}},
        seed=seed,
        limits=limits.to_limits(),
    )
    if dry_run:
        return show_plan(recipe, json_=json_)
    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    return start_and_execute(recipe, out=out, running=running)


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of a rating as text."""
    lines = []
    for name, row in summary["raters"].items():
        status = ", ".join(f"{n} {state}" for state, n in sorted(row["status"].items(), key=lambda item: -item[1]))
        lines.append(f"{name}: {summary['asked']} rows, {status}; {_spent(row)}")
        if row["conceded"]:
            lines.append(f"  the endpoint does not take {', '.join(row['conceded'])}: asked without")
    if summary["rejected"]:
        lines.append(f"rejected on reading: {summary['rejected']} rows, see rejects.parquet")
    again = f"tamis resume {summary['run']}"
    if summary["budget_reached"]:
        lines.append("the budget was reached: give the same command a higher one to go on")
    elif summary["samples_without_rating"]:
        asks = any(row["kind"] != "recorded" for row in summary["raters"].values())
        lines.append(
            f"{summary['samples_without_rating']} ratings are not measured; {summary['unmeasured_share']:.1%} of the "
            f"records have none by a rater{f'; {again!r} asks again' if asks else ''}"
        )
    lines += [f"ratings  {summary['signal']}", f"report   {summary['report']}"]
    return "\n".join(lines)


def _spent(row: dict[str, Any]) -> str:
    if row["kind"] == "recorded":
        return "recorded in the pool"
    tokens = [f"{row[k]:,} tokens {w}" for k, w in (("input_tokens", "in"), ("output_tokens", "out")) if row[k]]
    why = "the endpoint does not tell its tokens" if row["price_known"] else "no price"
    money = f"money unknown ({why})" if row["cost"] is None else f"${row['cost']:.4f}" if row["cost"] else "no money"
    cached = f", {row['from_cache']} replies from the cache" if row["from_cache"] else ""
    return ", ".join([*tokens, money]) + cached
