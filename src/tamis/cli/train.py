"""``tamis train``: fine-tune a model on the tokens that a run kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.options import (
    HELP_RUN,
    HELP_TRAINING,
    BatchRowsOption,
    DeviceOption,
    EpochsOption,
    LearningRateOption,
    LoraRankOption,
    QuietOption,
    SeedOption,
    TaskFolderOption,
    TaskLimitOption,
    TasksOption,
    TuneOption,
    listed,
    model_name,
    task_params,
)

HELP_COMPARE = "Comparison"


@guarded
def train(
    run: Annotated[Path, typer.Argument(help="A finished run of 'tamis tokens', or its tokens.parquet.")],
    base: Annotated[str | None, typer.Option(help="Model to train (default: the base of the run).")] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/train-TOKENS-HASH).")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps (default: as many as --epochs take).")] = None,
    epochs: EpochsOption = 1.0,
    batch_rows: BatchRowsOption = 8,
    learning_rate: LearningRateOption = 1e-4,
    schedule: Annotated[
        str, typer.Option(help="linear, cosine or constant.", rich_help_panel=HELP_TRAINING)
    ] = "linear",
    warmup: Annotated[
        float, typer.Option(help="Share of steps in which the rate rises.", rich_help_panel=HELP_TRAINING)
    ] = 0.03,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.", rich_help_panel=HELP_TRAINING)] = 0.0,
    clip: Annotated[
        float | None, typer.Option(help="Largest norm of a gradient.", rich_help_panel=HELP_TRAINING)
    ] = None,
    tune: TuneOption = "lora",
    lora_rank: LoraRankOption = 64,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.", rich_help_panel=HELP_TRAINING)] = "auto",
    eval_every: Annotated[
        int, typer.Option(help="Steps between held-out losses, for --patience.", rich_help_panel=HELP_TRAINING)
    ] = 0,
    patience: Annotated[
        int, typer.Option(help="Held-out losses without a gain before it stops.", rich_help_panel=HELP_TRAINING)
    ] = 0,
    arms: Annotated[
        str,
        typer.Option(
            help="What to train on, with commas: kept, all, random, sample, reverse.", rich_help_panel=HELP_COMPARE
        ),
    ] = "kept",
    seeds: Annotated[int, typer.Option(help="Trainings of each arm.", rich_help_panel=HELP_COMPARE)] = 1,
    hold_out: Annotated[
        float, typer.Option(help="Share of records to measure with.", rich_help_panel=HELP_COMPARE)
    ] = 0.1,
    questions: Annotated[
        int, typer.Option(help="Sums that the model is asked before and after.", rich_help_panel=HELP_COMPARE)
    ] = 20,
    tasks: TasksOption = None,
    task_folder: TaskFolderOption = None,
    task_limit: TaskLimitOption = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write a TensorBoard log too.", rich_help_panel=HELP_RUN)
    ] = False,
    dtype: Annotated[str, typer.Option(help="Of the saved model: auto, float32, bfloat16, float16.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Fine-tune the base on the tokens that a run kept; save a model that transformers loads, with a model card.

    Several arms and seeds are compared on held-out records; the model of the first arm is saved.
    """
    from tamis.cli.execute import Running, start_and_execute
    from tamis.cli.plan import show_plan
    from tamis.curate.tuning.settings import tune_recipe
    from tamis.recipe import Recipe

    tokens, own = _mask_file(run)
    params: dict[str, Any] = {
        "base": own if base is None else model_name(base), "tokens_of": own,
        "arms": listed(arms),
        "seeds": seeds, "hold_out": hold_out, "questions": questions, "dtype": dtype, "steps": steps, "epochs": epochs,
        "batch_rows": batch_rows, "learning_rate": learning_rate, "schedule": schedule, "warmup": warmup,
        "weight_decay": weight_decay, "clip": clip, "tune": tune, "lora_rank": lora_rank, "precision": precision,
        "eval_every": eval_every, "patience": patience,
        **task_params(tasks, task_folder, task_limit),
    }  # fmt: skip
    given = {k: v for k, v in params.items() if v is not None}
    inputs = {"tokens": str(tokens.absolute())}
    limits: dict[str, Any] = {"device": device, "tensorboard": tensorboard}
    recipe = Recipe(method="train", inputs=inputs, params=given, seed=seed, limits=limits)
    tune_recipe(recipe)  # before a folder is made
    if dry_run:
        return show_plan(recipe, json_=json_)
    running = Running(engine="inline", workers=None, address=None, quiet=quiet, json_=json_)
    return start_and_execute(recipe, out=out, running=running)


def _mask_file(run: Path) -> tuple[Path, str | None]:
    """The mask file of a token run, and the model that it was made for."""
    from tamis.errors import DataError, RunStateError
    from tamis.runs import Run

    if not run.exists():
        raise DataError(f"There is no run or mask file {run}; give a run of 'tamis tokens'.")
    if not run.is_dir():
        return run, None
    found = Run.open(run)
    if found.recipe.method != "tokens":
        raise RunStateError(f"{run} is a run of {found.recipe.method!r}; 'tamis train' needs one of 'tokens'.")
    if not (run / "tokens.parquet").exists():
        raise RunStateError(f"{run} has not decided yet; go on with: tamis resume {run}")
    return run / "tokens.parquet", str(found.recipe.params["base"])


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of a fine-tuning as text."""
    first, last = summary["loss"]
    lines = [
        f"trained {summary['base']} for {summary['steps']:,} steps on {summary['tokens']:,.0f} tokens of "
        f"{summary['trained_records']:,} records; {summary['learns']}",
        f"loss {first:.3f} at the first step, {last:.3f} at the last",
    ]
    for row in summary["evidence"]:
        before = "" if row["before"] is None else f"{row['before']:.3f} before, "
        lines.append(
            f"  {row['metric']}, {row['split']}, {row['group']}: {before}{row['after']:.3f} "
            f"({row['low']:.3f} to {row['high']:.3f})"
        )
    return "\n".join([*lines, f"model    {summary['model']}", f"report   {summary['report']}"])
