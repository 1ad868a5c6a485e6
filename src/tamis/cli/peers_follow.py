"""``tamis peers follow``: scores while answers arrive."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded
from tamis.cli.options import QuietOption
from tamis.cli.peers_options import (
    ClassesOption,
    DuplicatesOption,
    LabelOption,
    LLMOption,
    MinAnswersOption,
    TaskOption,
    WorkerOption,
    reading_options,
)

if TYPE_CHECKING:
    from tamis.people.sequential import SequentialPeers

WORDS = {
    "few": "too few answers",
    "open": "not settled",
    "within": "within reach of pasted answers",
    "above": "above it",
}


@guarded
def follow(
    answers: Annotated[
        Path, typer.Argument(metavar="ANSWERS", help="A .jsonl, .csv or .tsv file that grows at its end.")
    ],
    llm: LLMOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of running.csv and changes.jsonl (default: runs/follow-ANSWERS).")
    ] = None,
    every: Annotated[float, typer.Option(help="Seconds between looks.")] = 5.0,
    idle: Annotated[float | None, typer.Option(help="Stop after so many seconds without new answers.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and stop.")] = False,
    min_answers: MinAnswersOption = 30,
    task: TaskOption = None,
    worker: WorkerOption = None,
    label: LabelOption = None,
    classes: ClassesOption = None,
    duplicates: DuplicatesOption = "first",
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Score workers as answers arrive, and tell whose state changes. Intervals hold however often they are looked at.

    The file is read again from its beginning after a stop, so nothing is lost; changes that were told are not repeated.
    'tamis peers' on the finished file makes the report.
    """
    from tamis.data import LLMLabels, read_llm_labels
    from tamis.data.readers.growing import GrowingFile
    from tamis.errors import parameter_error
    from tamis.people import PeerPrediction
    from tamis.people.sequential import SequentialPeers

    if every <= 0:
        raise parameter_error("follow", "every", "a number above 0", every)
    method = PeerPrediction(min_answers=min_answers)
    method.validate()
    labels = LLMLabels.concat([read_llm_labels(path) for path in llm]) if llm else None
    source = GrowingFile(answers)
    out = Path("runs") / f"follow-{answers.name.split('.')[0]}" if out is None else out
    told = _told_before(out / "running.csv")
    reading = reading_options(task=task, worker=worker, label=label, classes=classes)
    follower = SequentialPeers(labels, method=method, duplicates=duplicates, states=told, **reading)
    out.mkdir(parents=True, exist_ok=True)
    if not answers.exists() and not quiet:
        typer.echo(f"waiting for {answers}", err=True)
    last = time.monotonic()
    try:
        while True:
            over = once or (idle is not None and time.monotonic() - last >= idle)
            if follower.update(source.read(final=over)) or once:
                last = time.monotonic()
                _tell(follower, out, quiet=quiet, json_=json_)
            if over:
                return
            time.sleep(every)
    except KeyboardInterrupt:  # the usual way to end it: everything that was told is on disk
        return


def _told_before(path: Path) -> Any:
    """States of the workers as an earlier session left them; None without one."""
    import polars as pl

    return pl.read_csv(path, schema_overrides={"worker": pl.String}) if path.exists() else None


def _tell(follower: SequentialPeers, out: Path, *, quiet: bool, json_: bool) -> None:
    """Write the table, append and print what changed."""
    from tamis.runs import atomic_path

    look = follower.look()
    if follower.n_rejected and not quiet:
        typer.echo(f"{follower.n_rejected} rows could not be read, the first: {follower.first_reject}", err=True)
    if look.waiting is not None:
        if not quiet:
            typer.echo(json.dumps({"answers": look.n_answers, "waiting": look.waiting}) if json_ else look.waiting)
        return
    changes = [{"answers": look.n_answers, "threshold": look.threshold, **row} for row in look.changes.to_dicts()]
    with (out / "changes.jsonl").open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in changes)
    with atomic_path(out / "running.csv") as temporary:
        look.workers.write_csv(temporary)
    if quiet:
        return
    if json_:
        typer.echo("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changes), nl=False)
        return
    counts = look.workers["state"].value_counts(sort=True).rows()
    states = ", ".join(f"{n} {WORDS[state]}" for state, n in counts)
    reach = "no second sample of an LLM: no threshold" if look.threshold is None else f"reach {look.threshold:.3f}"
    typer.echo(f"{look.n_answers:,} answers, {reach}: {states}")
    for row in changes:
        if row["state"] in ("within", "above"):
            interval = f"{row['score']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            typer.echo(f"  {row['worker']}: {WORDS[row['state']]}, {interval} from {row['n_scored']} answers")
