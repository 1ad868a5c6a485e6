"""``tamis peers``: which workers of a crowd add information beyond an LLM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.default_command import falling_back_to
from tamis.cli.options import AddressOption, EngineOption, QuietOption, SeedOption, WorkersOption
from tamis.cli.peers_options import (
    HELP_SCORE,
    AnswersArgument,
    ClassesOption,
    DuplicatesOption,
    FidelityOption,
    GuardOption,
    LabelOption,
    LayoutOption,
    LeaveOneOutOption,
    LLMOption,
    MinAnswersOption,
    OrdinalOption,
    QuantileOption,
    ReadFormatOption,
    RenormaliseOption,
    TaskOption,
    WorkerOption,
    names_of,
    reading_options,
)

WIDTH = 34
"""Characters of the picture of one worker."""


app = typer.Typer(
    cls=falling_back_to("audit"),
    no_args_is_help=True,
    help="Which crowd workers add information beyond an LLM? 'tamis peers ANSWERS --llm LABELS' scores and flags them; "
    "'tamis peers audit --help' shows its options.",
)


@guarded
def audit(
    answers: AnswersArgument,
    llm: LLMOption = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: runs/peers-ANSWERS-HASH).")] = None,
    min_answers: MinAnswersOption = 30,
    rule: Annotated[str, typer.Option(help="quantile or paired.", rich_help_panel=HELP_SCORE)] = "quantile",
    quantile: QuantileOption = 0.9,
    ordinal: OrdinalOption = False,
    leave_one_out: LeaveOneOutOption = False,
    guard: GuardOption = 0.0,
    renormalise: RenormaliseOption = False,
    fidelity: FidelityOption = "product",
    bootstrap: Annotated[
        int, typer.Option(help="Replicates for the threshold's interval.", rich_help_panel=HELP_SCORE)
    ] = 400,
    baselines: Annotated[
        str | None, typer.Option(help="Methods of crowd-kit to show beside, with commas.", rich_help_panel=HELP_SCORE)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    layout: LayoutOption = None,
    format_: ReadFormatOption = None,
    task: TaskOption = None,
    worker: WorkerOption = None,
    label: LabelOption = None,
    classes: ClassesOption = None,
    duplicates: DuplicatesOption = "first",
    seed: SeedOption = 0,
    engine: EngineOption = "inline",
    workers: WorkersOption = None,
    address: AddressOption = None,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> int:
    """Score every worker by what the answers share with others' beyond an LLM's labels, and recommend what to do.

    A score is evidence about answers, never proof about a person.
    """
    from tamis.cli.execute import Running, start_and_execute
    from tamis.cli.plan import show_plan
    from tamis.people import PeerPrediction
    from tamis.recipe import Recipe

    params: dict[str, Any] = {
        "fidelity": fidelity, "min_answers": min_answers, "rule": rule, "quantile": quantile,
        "leave_one_out": leave_one_out, "guard": guard, "renormalise": renormalise, "ordinal": ordinal,
        "n_bootstrap": bootstrap, "baselines": names_of(baselines),
    }  # fmt: skip
    PeerPrediction(**params, seed=seed).validate()  # before a folder is made
    reading = reading_options(
        format=format_, layout=layout, task=task, worker=worker, label=label, classes=classes, duplicates=duplicates
    )
    inputs = {"answers": str(answers.absolute())}
    inputs |= {f"llm{i}" if i > 1 else "llm": str(path.absolute()) for i, path in enumerate(llm or (), 1)}
    recipe = Recipe(method="peers", inputs=inputs, params={**params, **reading}, seed=seed)
    if dry_run:
        return show_plan(recipe, json_=json_)
    running = Running(engine=engine, workers=workers, address=address, quiet=quiet, json_=json_)
    return start_and_execute(recipe, out=out, running=running)


def outcome(summary: dict[str, Any]) -> str:
    """Return the summary of an audit as text: the ladder, what was decided, where it lies."""
    models = ", ".join(summary["models"]) or "no LLM"
    lines = [
        f"{summary['answers']:,} answers by {summary['workers']:,} workers about {summary['tasks']:,} tasks, "
        f"{summary['classes']} classes; {models}"
    ]
    lines.append(f"read as {summary['read']}")
    lines += ladder(summary)
    states = f"keep {summary['keep']}, review {summary['review']}, re-collect {summary['re-collect']}"
    few = summary["workers"] - summary["measured"]
    lines.append(f"workers: {states}, undecided {summary['undecided']} ({few} with not enough answers)")
    if summary["threshold"] is not None:
        value, low, high = summary["threshold"]["value"]
        model = summary["threshold"]["model"]
        lines.append(f"threshold {value:.3f} ({low:.3f} to {high:.3f}), from virtual workers who paste {model}")
    if summary["false_alarms"] is not None and summary["false_alarms"]["share"][0] is not None:
        share, low, high = summary["false_alarms"]["share"]
        lines.append(
            f"false alarms: between {low:.0%} and {high:.0%} of workers who owe the LLM nothing would be flagged "
            f"(bounds of a model; its estimate, {share:.0%}, was mostly too low in tests)"
        )
    if summary["review"] + summary["re-collect"]:
        lines.append(
            f"without flagged workers: {summary['tasks_changed']} tasks change their consensus label, "
            f"{summary['tasks_uncovered']} have no answer left (recollect.csv ranks tasks)"
        )
    lines += [f"  - {warning}" for warning in summary["warnings"]]
    lines += ["a score is evidence about answers, never proof about a person", f"workers  {summary['table']}"]
    if summary["selected"]:
        left = [f"{n:,} of {who} workers" for who, n in summary["answers_left_out"].items() if n]
        out = f"; left out: {', '.join(left)}" if left else ""
        lines.append(f"answers  {summary['selected']}: {summary['answers_kept']:,} of {summary['answers']:,}{out}")
    return "\n".join([*lines, f"report   {summary['report']}"])


def ladder(summary: dict[str, Any]) -> list[str]:
    """Draw the lowest workers, each with interval and action, and the threshold as a line."""
    rows = summary["ladder"]
    threshold = None if summary["threshold"] is None else summary["threshold"]["value"][0]
    marks = [v for row in rows for v in (row["low"], row["high"])] + [0.0] + ([] if threshold is None else [threshold])
    low, high = min(marks), max(marks)
    name = max([6, *(len(row["worker"]) for row in rows)])
    name = min(name, 24)
    rows = [{**row, "worker": " ".join(row["worker"].split())} for row in rows]
    lines = [f"  {'worker':{name}}  scored   score  95 % interval     {'':{WIDTH}}  action"]
    for row in rows:
        picture = _picture(row, low, high, threshold)
        action = row["action"] or "-"
        interval = f"{row['low']:6.3f} to {row['high']:6.3f}"
        worker = f"{row['worker'][:name]:{name}}"
        lines.append(f"  {worker}  {row['n_scored']:6d}  {row['score']:6.3f}  {interval}  {picture}  {action}")
    more = summary["measured"] - len(rows)
    if more > 0:
        lines.append(f"  ... {more:,} more with higher scores, see workers.csv")
    return lines


def _picture(row: dict[str, Any], low: float, high: float, threshold: float | None) -> str:
    def place(value: float) -> int:
        return round((value - low) / ((high - low) or 1.0) * (WIDTH - 1))

    cells = [" "] * WIDTH
    for at in range(place(row["low"]), place(row["high"]) + 1):
        cells[at] = "─"
    if threshold is not None:
        cells[place(threshold)] = "│"
    cells[place(row["score"])] = "●"
    return "".join(cells)
