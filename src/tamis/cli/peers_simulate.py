"""``tamis peers simulate``: how good would the audit be on these answers?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, Progress, guarded, print_json
from tamis.cli.options import QuietOption, SeedOption
from tamis.cli.peers_options import (
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
    reading_options,
)

HELP_PLANT = "What is planted"
HELP_LLM = "Simulated LLM (without --llm)"


@guarded
def simulate(
    answers: AnswersArgument,
    llm: LLMOption = None,
    p_llm: Annotated[float, typer.Option(help="Share of workers who paste.", rich_help_panel=HELP_PLANT)] = 0.15,
    p_random: Annotated[float, typer.Option(help="Share who answer at random.", rich_help_panel=HELP_PLANT)] = 0.1,
    p_biased: Annotated[float, typer.Option(help="Share who mostly give one label.", rich_help_panel=HELP_PLANT)] = 0.1,
    runs: Annotated[int, typer.Option(help="Times to plant.")] = 30,
    accuracy: Annotated[float, typer.Option(help="Share of right labels.", rich_help_panel=HELP_LLM)] = 0.75,
    flip: Annotated[float, typer.Option(help="Share that differs by sample.", rich_help_panel=HELP_LLM)] = 0.1,
    min_answers: MinAnswersOption = 30,
    quantile: QuantileOption = 0.9,
    ordinal: OrdinalOption = False,
    guard: GuardOption = 0.0,
    leave_one_out: LeaveOneOutOption = False,
    renormalise: RenormaliseOption = False,
    fidelity: FidelityOption = "product",
    out: Annotated[Path | None, typer.Option(help="CSV with one row a run.")] = None,
    layout: LayoutOption = None,
    format_: ReadFormatOption = None,
    task: TaskOption = None,
    worker: WorkerOption = None,
    label: LabelOption = None,
    classes: ClassesOption = None,
    duplicates: DuplicatesOption = "first",
    seed: SeedOption = 0,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Plant LLM users, random and biased workers in your own data at known rates, and see how well they are found.

    Your workers count as untouched, whatever they did.
    """
    from tamis.data import LLMLabels, read_answers, read_llm_labels
    from tamis.people import PeerPrediction, Rates
    from tamis.people import simulate as run_simulation
    from tamis.people.simulation import check_output

    check_output(out)
    settings: dict[str, Any] = {
        "fidelity": fidelity, "min_answers": min_answers, "quantile": quantile, "ordinal": ordinal,
        "guard": guard, "leave_one_out": leave_one_out, "renormalise": renormalise,
    }  # fmt: skip
    method = PeerPrediction(**settings)
    method.validate()
    reading = reading_options(
        format=format_, layout=layout, task=task, worker=worker, label=label, classes=classes, duplicates=duplicates
    )
    crowd = read_answers(answers, **reading)
    labels = LLMLabels.concat([read_llm_labels(path) for path in llm]) if llm else None
    with Progress(quiet=quiet or json_) as progress:
        found = run_simulation(
            crowd, labels, rates=Rates(p_llm, p_random, p_biased), runs=runs, accuracy=accuracy, flip=flip,
            method=method, seed=seed, progress=progress,
        )  # fmt: skip
    if out is not None:
        found.write(out)
    summary = {
        "llm": found.llm, "rates": {"llm": p_llm, "random": p_random, "biased": p_biased}, "runs": runs,
        "notes": list(found.notes), **found.summary(),
    }  # fmt: skip
    if json_:
        print_json(summary)
    elif not quiet:
        typer.echo(simulation_text(summary))


def simulation_text(found: dict[str, Any]) -> str:
    """Write the summary of a simulation as text."""
    from tamis.people.planting import KINDS
    from tamis.people.simulation import MEASURES

    rates = found["rates"]
    lines = [
        f"planted {found['runs']} times: {rates['llm']:.0%} LLM users, {rates['random']:.0%} random, "
        f"{rates['biased']:.0%} biased; LLM {found['llm']}",
        "AUROC, untouched against planted workers (mean, 95 % interval of the mean, s.d. of a run)",
    ]
    for name, words in MEASURES.items():
        lines.append(f"  {words:34} {_mean(found[name])}")
    lines.append("share flagged")
    for kind in KINDS:
        lines.append(f"  {kind:34} {_mean(found[f'flagged:{kind}'])}")
    return "\n".join([*lines, *(f"  - {note}" for note in found["notes"])])


def _mean(value: dict[str, Any]) -> str:
    if value["mean"] is None:
        return "not measured"
    if value["sd"] is None:
        return f"{value['mean']:.3f} (one run: no interval)"
    return f"{value['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f}, s.d. {value['sd']:.3f})"
