"""What a run cost and how it is repeated: the two sections that are the same for every method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tamis.report.rendering import render
from tamis.report.section import Section
from tamis.runs import Run


@dataclass(frozen=True)
class StepCost:
    """One row of the cost table.

    Attributes
    ----------
    name : str
    how : str
        Engine and shards, or the run that the result was taken from.
    seconds : float or None
        Wall time; None where nothing was computed.
    """

    name: str
    how: str
    seconds: float | None


def step_costs(events: Iterable[dict[str, Any]]) -> list[StepCost]:
    """Read the steps of a run from its ledger, in the order in which they were first done.

    A step that did not time itself gets the time between its last two events, which is a whole number of seconds.

    Examples
    --------
    >>> step_costs([
    ...     {"time": "2026-01-01T00:00:00+00:00", "event": "started"},
    ...     {"time": "2026-01-01T00:00:00+00:00", "event": "step", "step": "01-a", "shards": 2, "engine": "inline"},
    ...     {"time": "2026-01-01T00:00:09+00:00", "event": "done", "step": "01-a", "seconds": 8.7},
    ...     {"time": "2026-01-01T00:00:12+00:00", "event": "done", "step": "02-b"},
    ... ])
    [StepCost(name='01-a', how='inline, 2 shards', seconds=8.7), StepCost(name='02-b', how='', seconds=3.0)]
    """
    found: dict[str, StepCost] = {}
    how: dict[str, str] = {}
    before: str | None = None
    for event in events:
        name = event.get("step", "")
        if event["event"] == "step":
            shards = event.get("shards", 1)
            how[name] = f"{event.get('engine', '')}, {shards} shard{'' if shards == 1 else 's'}"
        elif event["event"] == "reused":
            source = str(event.get("source", "")).rstrip("/").rsplit("/", 1)[-1]
            found[name] = StepCost(name, f"taken over from {source}", None)
        elif event["event"] == "done":
            spent = event.get("seconds", _between(before, event["time"]))
            found[name] = StepCost(name, how.get(name, ""), spent)
        before = event["time"]
    return list(found.values())


def wall_seconds(events: Iterable[dict[str, Any]]) -> float:
    """Seconds from the first to the last event of each session, summed over sessions.

    Time between the last event and a crash is not on record, so the sum is a lower bound for a run that was resumed.
    """
    total, before = 0.0, None
    for event in events:
        if event["event"] not in ("started", "resumed"):
            total += _between(before, event["time"])
        before = event["time"]
    return total


def cost(run: Run) -> Section:
    """Return the section about time and rows."""
    events = list(run.ledger.events())
    html = render(
        "cost.html.j2",
        steps=step_costs(events),
        wall=wall_seconds(events),
        sessions=sum(e["event"] in ("started", "resumed") for e in events),
        rows=run.manifest["summary"].get("rows"),
        platform=run.manifest["platform"],
    )
    return Section("What it cost", "How long did it take, and what was reused?", html, nav="Cost")


def again(run: Run) -> Section:
    """Return the section with the command, the recipe, digests, seed and versions."""
    manifest, recipe = run.manifest, run.recipe
    inputs = [(role, path, manifest["identity"]["inputs"].get(role, "")) for role, path in recipe.inputs.items()]
    versions = {"python": manifest["python"], **{k: v for k, v in manifest["packages"].items() if v is not None}}
    html = render(
        "again.html.j2",
        command=manifest["command"],
        cwd=manifest["cwd"],
        recipe=(run.folder / "recipe.yaml").read_text(encoding="utf-8").rstrip(),
        inputs=inputs,
        seed=recipe.seed,
        versions=versions,
        steps=manifest["steps"],
        created=moment(manifest["created"]),
        finished=moment(manifest["finished"]),
    )
    return Section("How to do it again", "What command and which inputs lead to the same result?", html, nav="Again")


def moment(time: str | None) -> str:
    """Write an ISO 8601 time the way people read it.

    Examples
    --------
    >>> moment("2026-11-22T17:39:05+00:00")
    '2026-11-22 17:39 UTC'
    """
    if time is None:
        return "not finished"
    at = datetime.fromisoformat(time)
    return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".rstrip()


def _between(start: str | None, end: str) -> float:
    if start is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
