"""``tamis diff``: how two raters, ratings or runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded, print_json

if TYPE_CHECKING:
    from tamis.data import Signal
    from tamis.runs import Run

N_SHOWN = 5
_MEASURES = {
    "exact": "same rating",
    "within_one": "at most one apart",
    "kappa": "kappa, quadratic weights",
    "spearman": "rank correlation",
    "difference": "mean difference, A minus B",
}


@guarded
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Run directory or file of ratings; add :RATER for one rater.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Compare two raters, two rating runs or two curations of the same records, with intervals."""
    from tamis.curate.comparison import compare_ratings, compare_selections
    from tamis.select import Selection

    runs = [_run(path) for path in (a, b)]
    if all(run is not None and run.recipe.method != "rate" for run in runs):
        found = compare_selections(*(Selection.read(run.folder) for run in runs if run is not None))
        text = selections_text
    else:
        found = compare_ratings(_signal(a), _signal(b), seed=seed)
        text = ratings_text
    if json_:
        print_json(found)
    else:
        typer.echo(text(found))


def _run(path: str) -> Run | None:
    from tamis.runs import Run

    return Run.open(path) if Path(path).is_dir() else None


def _signal(text: str) -> Signal:
    """Read the ratings that ``PATH`` or ``PATH:RATER`` names."""
    import polars as pl

    from tamis.curate.rating import ratings_of_run
    from tamis.data import Signal
    from tamis.errors import RecipeError, did_you_mean

    path, rater = text, None
    if not Path(path).exists() and ":" in path:
        path, rater = path.rsplit(":", 1)
    signal = Signal.read(ratings_of_run(path) if Path(path).is_dir() else path)
    if rater is None:
        return signal
    if rater not in signal.raters:
        raise RecipeError(f"There is no rater {rater!r} in {path}.{did_you_mean(rater, signal.raters)}")
    return Signal(signal.frame.filter(pl.col("rater") == rater))


def ratings_text(found: dict[str, Any]) -> str:
    """Write a comparison of ratings as text."""
    units = found["units"]
    lines = [f"{units['shared']} units in both, {units['only_a']} only in A, {units['only_b']} only in B"]
    for pair in found["pairs"]:
        lines.append(
            f"{pair['criterion']}: {pair['a']} against {pair['b']}, {pair['agreement']['n']} units rated by both"
        )
        for name, label in _MEASURES.items():
            lines.append(f"  {label:32} {_interval(pair['agreement'][name])}")
        if pair["status_changed"]:
            states = ", ".join(f"{n} {x} -> {y}" for x, y, n in pair["statuses"] if x != y)
            lines.append(f"  {'state changed':32} {states}")
        for row in pair["most_changed"][:N_SHOWN]:
            lines.append(f"  {row['unit_id'][:32]:32} {row['a']:g} -> {row['b']:g}")
    return "\n".join(lines)


def selections_text(found: dict[str, Any]) -> str:
    """Write a comparison of selections as text."""
    units, chosen = found["units"], found["chosen"]
    overlap = "" if chosen["jaccard"] is None else f" (Jaccard {chosen['jaccard']:.3f})"
    lines = [
        f"{units['shared']} units in both, {units['only_a']} only in A, {units['only_b']} only in B",
        f"kept by both {chosen['both']}, only by A {chosen['only_a']}, only by B {chosen['only_b']}{overlap}",
        f"rank correlation of the scores  {_interval(found['scores']['spearman'])}",
    ]
    for row in found["first_changed"][:N_SHOWN]:
        lines.append(f"  {row['unit_id'][:32]:32} {row['a']} ({row['reason_a']}) -> {row['b']} ({row['reason_b']})")
    return "\n".join(lines)


def _interval(estimate: Sequence[float | None]) -> str:
    value, low, high = estimate
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f}  [{low:.3f}, {high:.3f}]"
