"""``tamis tokens``: which tokens of a fine-tuning set carry the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.options import (
    AddressOption,
    BaseOption,
    BatchRowsOption,
    DeviceOption,
    EngineOption,
    EpochsOption,
    FormatOption,
    IdColumnOption,
    LearningRateOption,
    LoraRankOption,
    PoolArgument,
    QuietOption,
    SeedOption,
    TuneOption,
    WorkersOption,
    model_name,
)

HELP_RANKING = "Ranking"
HELP_REFERENCE = "Reference"


@guarded
def tokens(
    pool: PoolArgument,
    base: BaseOption,
    warmup: Annotated[
        str | None,
        typer.Option(help="Records to make a reference of: a number (drawn from the pool), a file, or a run."),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="A model tuned from the base, instead of --warmup.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/tokens-POOL-HASH).")] = None,
    keep: Annotated[float, typer.Option(help="Share of answer tokens to keep.")] = 0.6,
    mode: Annotated[str, typer.Option(help="fixed, or self-evolving (the model learns slice by slice).")] = "fixed",
    limit: Annotated[int | None, typer.Option(help="Take only the first N records.")] = None,
    max_length: Annotated[int, typer.Option(help="Tokens after which a record is cut.")] = 2048,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    scope: Annotated[
        str, typer.Option(help="Count the share global, by sample or by batch.", rich_help_panel=HELP_RANKING)
    ] = "global",
    rank_by: Annotated[
        str,
        typer.Option(help="excess, or a baseline: reverse, base-high, base-low, random.", rich_help_panel=HELP_RANKING),
    ] = "excess",
    with_prompt_tokens: Annotated[
        bool, typer.Option("--with-prompt-tokens", help="Rank prompt tokens too.", rich_help_panel=HELP_RANKING)
    ] = False,
    slices: Annotated[int, typer.Option(help="Of the self-evolving mode.", rich_help_panel=HELP_RANKING)] = 5,
    slicing: Annotated[str, typer.Option(help="shuffled or contiguous.", rich_help_panel=HELP_RANKING)] = "shuffled",
    check_rows: Annotated[
        int, typer.Option(help="Records to score again in bfloat16.", rich_help_panel=HELP_RANKING)
    ] = 16,
    leak_warmup: Annotated[
        bool,
        typer.Option("--leak-warmup", help="Clean warm-up records too, as published.", rich_help_panel=HELP_REFERENCE),
    ] = False,
    allow_same: Annotated[
        bool, typer.Option("--allow-same", help="Let the reference be the base.", rich_help_panel=HELP_REFERENCE)
    ] = False,
    save_model: Annotated[
        bool,
        typer.Option("--save-model", help="Save the reference, or the evolved model.", rich_help_panel=HELP_REFERENCE),
    ] = False,
    epochs: EpochsOption = 1.0,
    batch_rows: BatchRowsOption = 8,
    learning_rate: LearningRateOption = 1e-4,
    tune: TuneOption = "lora",
    lora_rank: LoraRankOption = 64,
    group: Annotated[str | None, typer.Option(help="Column of sources, for the report.")] = None,
    format: FormatOption = None,
    id_column: IdColumnOption = None,
    dtype: Annotated[str, typer.Option(help="Of the models that score: auto, float32, bfloat16.")] = "auto",
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Score answer tokens by the loss gap of two models and keep the share that is worth the loss.

    The mask is for fine-tuning the base: 'tamis export' hands it to other trainers, 'tamis train' uses it here.
    """
    from tamis.cli.execute import Running, start_and_execute
    from tamis.cli.plan import show_plan
    from tamis.curate.tokens.settings import TokenRecipe
    from tamis.recipe import Recipe
    from tamis.runs.selected import records_of

    params: dict[str, Any] = {
        "base": model_name(base), "reference": None if reference is None else model_name(reference), "keep": keep,
        "scope": scope, "rank_by": rank_by, "mode": mode, "with_prompt_tokens": with_prompt_tokens, "limit": limit,
        "max_length": max_length, "dtype": dtype, "check_rows": check_rows, "hold_out": not leak_warmup,
        "allow_same": allow_same, "slices": slices, "slicing": slicing, "epochs": epochs, "batch_rows": batch_rows,
        "learning_rate": learning_rate, "tune": tune, "lora_rank": lora_rank,
    }  # fmt: skip
    inputs = {"pool": str(records_of(pool).absolute())}
    if warmup is not None and warmup.isdecimal():
        params["warmup"] = int(warmup)
    elif warmup is not None:
        inputs["warmup"] = str(records_of(Path(warmup)).absolute())
    reading = {"format": format, "id_column": id_column, "group": group}
    given = {k: v for k, v in {**params, **reading}.items() if v is not None}
    recipe = Recipe(
        method="tokens", inputs=inputs, params=given, seed=seed, limits={"device": device, "save_model": save_model}
    )
    TokenRecipe.of(recipe)  # before a folder is made
    if dry_run:
        return show_plan(recipe, json_=json_)
    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    return start_and_execute(recipe, out=out, running=running)


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of a token run as text."""
    records, flips = summary["records"], summary["flips_bf16"]
    lines = [
        f"{summary['rows']:,} records, {summary['tokens']:,} tokens, {summary['response_tokens']:,} of them answers; "
        f"base {summary['base']}, reference: {summary['reference']}",
        f"kept {summary['tokens_kept']:,} tokens ({summary['share_kept']:.1%})"
        + ("" if summary["cut"] is None else f"; the cut lies at {summary['cut']:+.4f} nats"),
        f"records: all tokens kept {records['keep']}, some masked {records['mask']}, none kept {records['drop']}, "
        f"undecided {summary['undecided']}",
    ]
    if summary["near_cut"][0] is not None:
        share, low, high = summary["near_cut"]
        lines.append(f"near ties: {_share(share, low, high)} of the scores lie within 0.01 nats of the cut")
    if flips is not None and flips[0] is not None:
        lines.append(f"rounding: {_share(*flips)} of the decisions would turn in bfloat16")
    if summary["rejected"]:
        lines.append(f"rejected on reading: {summary['rejected']} rows, see rejects.parquet")
    lines += [f"  - {warning}" for warning in summary["warnings"]]
    if summary["model"] is not None:
        lines.append(f"model    {summary['model']}")
    lines += [
        f"mask     {summary['mask']}  (tamis export {summary['run']} --format trl)",
        f"report   {summary['report']}",
    ]
    return "\n".join(lines)


def _share(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.1%}" if low is None or high is None else f"{value:.1%} ({low:.1%} to {high:.1%})"
