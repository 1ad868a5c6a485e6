"""``tamis why``: why a record was kept, dropped or left undecided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.cli.console import JsonOption, guarded, print_json


@guarded
def why(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    unit_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the record, or its beginning.")],
    json_: JsonOption = False,
) -> None:
    """Explain one decision: the reason, each rater's rating and correction, and the nearest neighbours."""
    from tamis.curate.explain import explain

    found = explain(run, unit_id)
    if json_:
        print_json(found)
    else:
        typer.echo(_as_text(found))


def _as_text(found: dict[str, Any]) -> str:
    decision = found["decision"] or "undecided"
    rank = "" if found["rank"] is None else f", rank {found['rank'] + 1}"
    lines = [f"{found['unit_id']}: {decision}{rank}", f"  {found['reason']}  [{found['step']}]"]
    for rating in found["ratings"]:
        if rating["rating"] is None:
            lines.append(f"  {rating['rater']}: no rating ({rating['status']})")
            continue
        line = f"  {rating['rater']}: rated {rating['rating']:g} (class {rating['observed_name']})"
        line += f", agreement with neighbours {rating['agreement']:.2f}"
        line += f", flagged in {rating['misrated_prob']:.0%} of rounds"
        if rating["corrected"]:
            line += f"; corrected to {rating['curated_name']} (confidence {rating['confidence']:.2f})"
        elif rating["suggested_name"] is not None:
            line += f"; not corrected, suggestion {rating['suggested_name']} (confidence {rating['confidence']:.2f})"
        if not rating["corrected"] and rating["curated"] != rating["observed"]:
            line += f"; exact copies were rated apart and share {rating['curated_name']}"
        lines.append(line)
    if found["neighbors"]:
        lines.append("  nearest neighbours:")
    for near in found["neighbors"]:
        rated = ", ".join(f"{r} {v:g}" if v is not None else f"{r} -" for r, v in near["ratings"].items())
        lines.append(f"    {near['similarity']:.3f}  {near['unit_id']}  {rated}")
    return "\n".join(lines)
