"""``tamis prune``: take whole layers out of a language model, heal it, and show what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.default_command import falling_back_to
from tamis.cli.options import (
    AddressOption,
    DeviceOption,
    EngineOption,
    FormatOption,
    IdColumnOption,
    QuietOption,
    SeedOption,
    TaskFolderOption,
    TaskLimitOption,
    TasksOption,
    WorkersOption,
    listed,
    model_name,
    task_params,
)
from tamis.cli.prune_options import (
    HELP_EVIDENCE,
    HELP_HEALING,
    AbsoluteOption,
    CalibrationOption,
    CandidatesOption,
    CriterionOption,
    CurveOption,
    DataOption,
    DropNumberOption,
    DtypeOption,
    FidelityOption,
    FirstOption,
    HeldOutOption,
    HeldRecordsOption,
    LastOption,
    LayersOption,
    ModelArgument,
    PowerOption,
    ProtectOption,
    RatioOption,
    ReductionOption,
    SeqLenOption,
    WindowsOption,
    given,
    inputs_of,
)

AUTO = "reverse,bi,angular"

app = typer.Typer(
    cls=falling_back_to("cut"),
    no_args_is_help=True,
    help="Take whole layers out of a language model: 'tamis prune MODEL --data POOL' scores, cuts, heals and measures; "
    "'tamis prune cut --help' shows its options.",
)


@guarded
def cut(
    model: ModelArgument,
    data: DataOption = None,
    ratio: RatioOption = None,
    drop_layers: DropNumberOption = None,
    layers: LayersOption = None,
    drop: Annotated[str | None, typer.Option(help="Which layers to drop, from 0: 22-28.")] = None,
    keep: Annotated[str | None, typer.Option(help="Which layers to keep, such as 0-21,29.")] = None,
    criterion: CriterionOption = None,
    heal: Annotated[
        str | None,
        typer.Option(help="none, head, lastN or lora. Default: last3 with --data, else none."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/prune-MODEL-HASH).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    steps: Annotated[
        int | None,
        typer.Option(help="Optimiser steps (default: as many as --epochs take).", rich_help_panel=HELP_HEALING),
    ] = None,
    epochs: Annotated[float, typer.Option(help="Passes over the records.", rich_help_panel=HELP_HEALING)] = 2.0,
    batch_rows: Annotated[
        int | None, typer.Option(help="Records of a step (default: 16; the paper's 64).", rich_help_panel=HELP_HEALING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: 1e-5, for LoRA 1e-4.", rich_help_panel=HELP_HEALING)
    ] = None,
    lora_rank: Annotated[int, typer.Option(help="Rank of the adapters.", rich_help_panel=HELP_HEALING)] = 8,
    max_length: Annotated[
        int, typer.Option(help="Tokens after which a record is cut.", rich_help_panel=HELP_HEALING)
    ] = 256,
    tied: Annotated[
        str,
        typer.Option(
            help="A head that is the embedding matrix: tune both, untie (a copy), or refuse.",
            rich_help_panel=HELP_HEALING,
        ),
    ] = "tune",
    distill: Annotated[
        float, typer.Option(help="Share of the loss that is the parent's predictions.", rich_help_panel=HELP_HEALING)
    ] = 0.0,
    temperature: Annotated[float, typer.Option(help="Of --distill.", rich_help_panel=HELP_HEALING)] = 1.0,
    candidates: CandidatesOption = AUTO,
    calibration: CalibrationOption = None,
    scores: Annotated[Path | None, typer.Option(help="Take scores from a file, such as scores.csv of a run.")] = None,
    windows: WindowsOption = 10,
    seq_len: SeqLenOption = 128,
    magnitude_reduction: ReductionOption = "norm_sum",
    magnitude_p: PowerOption = 1,
    taylor_absolute: AbsoluteOption = "total",
    protect_first: FirstOption = None,
    protect_last: LastOption = None,
    protect: ProtectOption = None,
    fidelity: FidelityOption = "product",
    held_out: HeldOutOption = None,
    held_records: HeldRecordsOption = 64,
    questions: Annotated[
        int,
        typer.Option(help="Sums, and bracket questions, that both models are asked.", rich_help_panel=HELP_EVIDENCE),
    ] = 20,
    tasks: TasksOption = None,
    task_folder: TaskFolderOption = None,
    task_limit: TaskLimitOption = None,
    curve: CurveOption = 3,
    no_speed: Annotated[
        bool, typer.Option("--no-speed", help="Do not time the models.", rich_help_panel=HELP_EVIDENCE)
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Take only the first N records of --data.")] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="KEY=JSON for a per-layer entry of the configuration.", show_default=False)
    ] = None,
    allow_post_norm: Annotated[
        bool, typer.Option("--allow-post-norm", help="Cut a model whose layers are normed behind.")
    ] = False,
    format: FormatOption = None,
    id_column: IdColumnOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    seed: SeedOption = 42,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Score the layers, drop the least needed, heal what is left, and measure it beside the uncut model."""
    params: dict[str, Any] = {
        "model": model_name(model), "ratio": ratio, "n_drop": drop_layers, "n_layers": layers, "drop": drop,
        "keep": keep, "criterion": criterion, "heal": heal, "steps": steps, "epochs": epochs, "batch_rows": batch_rows,
        "learning_rate": learning_rate, "lora_rank": lora_rank, "max_length": max_length, "tied": tied,
        "distill": distill, "temperature": temperature, "candidates": listed(candidates), "n_windows": windows,
        "seq_len": seq_len, "magnitude_reduction": magnitude_reduction, "magnitude_p": magnitude_p,
        "taylor_absolute": taylor_absolute, "protect_first": protect_first, "protect_last": protect_last,
        "protect": protect, "fidelity": fidelity, "held_records": held_records, "questions": questions,
        **task_params(tasks, task_folder, task_limit),
        "curve": curve, "speed": not no_speed, "limit": limit, "config": list(config or []) or None,
        "allow_post_norm": allow_post_norm, "format": format, "id_column": id_column, "dtype": dtype,
    }  # fmt: skip
    inputs = inputs_of(data=data, calibration=calibration, held_out=held_out)
    if scores is not None:
        inputs["scores"] = str(scores.absolute())
    return _start(params, inputs, out=out, dry_run=dry_run, device=device, seed=seed, engine=engine, workers=workers,
                  address=address, quiet=quiet, json_=json_)  # fmt: skip


@guarded
def scores(
    model: ModelArgument,
    data: DataOption = None,
    criterion: CriterionOption = None,
    ratio: RatioOption = None,
    drop_layers: DropNumberOption = None,
    layers: LayersOption = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/prune-MODEL-HASH).")] = None,
    candidates: CandidatesOption = AUTO,
    calibration: CalibrationOption = None,
    windows: WindowsOption = 10,
    seq_len: SeqLenOption = 128,
    magnitude_reduction: ReductionOption = "norm_sum",
    magnitude_p: PowerOption = 1,
    taylor_absolute: AbsoluteOption = "total",
    protect_first: FirstOption = None,
    protect_last: LastOption = None,
    protect: ProtectOption = None,
    fidelity: FidelityOption = "product",
    held_out: HeldOutOption = None,
    held_records: HeldRecordsOption = 64,
    curve: CurveOption = 3,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    seed: SeedOption = 42,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Score the layers and choose, but cut nothing; scores.csv can be used again with 'tamis prune MODEL --scores'."""
    params: dict[str, Any] = {
        "model": model_name(model), "criterion": criterion, "ratio": ratio, "n_drop": drop_layers, "n_layers": layers,
        "candidates": listed(candidates), "n_windows": windows, "seq_len": seq_len,
        "magnitude_reduction": magnitude_reduction, "magnitude_p": magnitude_p, "taylor_absolute": taylor_absolute,
        "protect_first": protect_first, "protect_last": protect_last, "protect": protect, "fidelity": fidelity,
        "held_records": held_records, "curve": curve, "dtype": dtype, "heal": "none", "cut": False,
    }  # fmt: skip
    inputs = inputs_of(data=data, calibration=calibration, held_out=held_out)
    return _start(params, inputs, out=out, dry_run=False, device=device, seed=seed, engine=engine, workers=workers,
                  address=address, quiet=quiet, json_=json_)  # fmt: skip


def _start(
    params: dict[str, Any],
    inputs: dict[str, str],
    *,
    out: Path | None,
    dry_run: bool,
    device: str,
    seed: int,
    engine: str,
    workers: int | None,
    address: str | None,
    quiet: bool,
    json_: bool,
) -> int:
    from tamis.cli.execute import Running, start_and_execute
    from tamis.cli.plan import show_plan
    from tamis.prune.prune_recipe import PruneRecipe
    from tamis.recipe import Recipe

    recipe = Recipe(method="prune", inputs=inputs, params=given(params), seed=seed, limits={"device": device})
    PruneRecipe.of(recipe)  # before a folder is made
    if dry_run:
        return show_plan(recipe, json_=json_)
    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    return start_and_execute(recipe, out=out, running=running)


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of a prune run as text."""
    from tamis.prune.layer_ranges import write_ranges

    dropped, n = summary["dropped"], summary["layers"]
    lines = [f"{summary['model_name']}: {len(dropped)} of {n} layers go ({write_ranges(dropped)}), chosen by "
             f"{summary['criterion']}"]  # fmt: skip
    for each in summary["candidates"]:
        value, low, high = each["perplexity"]
        lines.append(
            f"  {each['criterion']}: perplexity {value:,.1f} ({low:,.1f} to {high:,.1f}) before healing, "
            f"without layers {write_ranges(each['dropped'])}"
        )
    if summary["healing"]:
        lines.append(f"healed   {summary['healing']}")
    for row in summary["evidence"]:
        before = "" if row["before"] is None else f"{_figure(row['before'])} before, "
        where = f", {row['split']}" if row["split"] else ""
        exact = row["low"] == row["after"] == row["high"]
        interval = "" if exact else f" ({_figure(row['low'])} to {_figure(row['high'])})"
        lines.append(f"  {row['metric']}{where}, {row['group']}: {before}{_figure(row['after'])}{interval}")
    lines += [f"  - {warning}" for warning in summary["warnings"]]
    lines.append(f"scores   {summary['scores']}")
    if summary["model"]:
        lines += [f"model    {summary['model']}", f"mergekit {summary['mergekit']}"]
    return "\n".join([*lines, f"report   {summary['report']}"])


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
