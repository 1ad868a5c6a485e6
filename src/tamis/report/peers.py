"""The report of an audited crowd: what came in, what each worker adds, what follows, what it cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.report.findings import read_evidence, read_findings
from tamis.report.peers_charts import coverage_lines
from tamis.report.peers_sentences import (
    ETHICS,
    SCORE_DIGITS,
    coverage_sentence,
    doubts,
    ethics,
    false_alarm_sentence,
    flagged_count,
    measured_count,
    measured_elsewhere,
    models_of,
    rule_sentence,
    summary,
    warning_sentence,
)
from tamis.report.peers_workers import distrusted
from tamis.report.provenance import wall_seconds
from tamis.report.rendering import count, decimal, plural, render, seconds, share, share_with_interval, with_interval
from tamis.report.section import Section
from tamis.runs import Run

Found = Mapping[str, Any]

MAX_CLASSES = 20
CHANGED = "share of tasks whose consensus label changed"
LEAST_VALUE = 0.0005
"""Gain in the probability of a right consensus that is written as 0.001."""
IN_PERCENT = "share of "
"""Beginning of the names of metrics that are shares."""


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of an audited crowd, the lead first.

    Parameters
    ----------
    run_folder : str or Path
        Directory of a finished run.

    Raises
    ------
    RunStateError
        If the run holds no findings or no evidence yet.
    """
    run = Run.open(run_folder)
    found = read_findings(run, "decide")
    evidence = read_evidence(run)
    return [
        _lead(run, found, evidence),
        _came_in(run, found),
        distrusted(found),
        _done(run, found),
        _next(found),
        _helped(found, evidence),
        _limits(found),
    ]


def _lead(run: Run, found: Found, evidence: list[dict[str, Any]]) -> Section:
    name = Path(run.recipe.inputs.get("answers", "the answers")).name
    [changed] = [[row["after"], row["low"], row["high"]] for row in evidence if row["metric"] == CHANGED]
    html = render(
        "peers/lead.html.j2",
        summary=summary(found, changed),
        ethics_heading=ETHICS,
        ethics=ethics(found),
        doubts=doubts(found),
        figures=_figures(run, found, changed),
    )
    return Section(f"Audit of {name}", "", html, nav="")


def _figures(run: Run, found: Found, changed: Sequence[float | None]) -> list[tuple[str, str, str]]:
    crowd, states, alarms, decided = found["crowd"], found["states"], found["false_alarms"], found["threshold"]
    alarm, low, high = (None, None, None) if alarms is None else alarms["share"]
    samples = sum(each["samples"] for each in found["llm"])
    waiting = f"{count(states['re-collect'])} to collect again, {count(states['review'])} to review"
    kept = run.manifest["summary"].get("answers_kept")
    return [
        (count(crowd["answers"]), "answers", f"to {plural(crowd['tasks'], 'task')}"),
        (count(measured_count(found)), "workers scored", f"of {count(crowd['workers'])}"),
        (count(len(found["llm"])), "LLM models", f"{plural(samples, 'sample')} in all"),
        (count(flagged_count(found) if decided else None), "flagged", waiting if decided else "no threshold"),
        (count(states["undecided"]), "undecided", "neither kept nor flagged"),
        (
            "–" if alarm is None else f"{share(low, 0)} to {share(high, 0)}",
            "false alarms",
            "not estimated" if alarm is None else f"bounds; estimate {share(alarm)}",
        ),
        (count(found["tasks"]["changed"]), "consensus labels changed", share_with_interval(changed, 1)),
        (count(kept), "answers kept", f"of {count(crowd['answers'])}"),
        (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger"),
    ]


def _came_in(run: Run, found: Found) -> Section:
    crowd = found["crowd"]
    models = [
        {**each, "again": share_with_interval(each["again"]), "consensus": share_with_interval(each["consensus"])}
        for each in found["llm"]
    ]
    html = render(
        "peers/came_in.html.j2",
        crowd=crowd,
        duplicates=run.recipe.params.get("duplicates") or "first",
        unmeasured=found["unmeasured"],
        settings=found["settings"],
        classes=_classes(found),
        more_classes=max(0, len(crowd["classes"]) - MAX_CLASSES),
        models=models,
        aggregation=found["aggregation"],
        warnings=[warning_sentence(each, models_of(found)) for each in found["warnings"]],
    )
    return Section("What came in", "Who answered what, and what did the LLMs say?", html, nav="What came in")


def _classes(found: Found) -> list[dict[str, Any]]:
    """Classes with their share of the answers and of each model's labels, in order; of many the most frequent."""
    crowd = found["crowd"]
    series = [crowd["class_counts"], *(each["class_counts"] for each in found["llm"])]
    shares = [[n / max(1, sum(counts)) for n in counts] for counts in series]
    frequent = sorted(range(len(crowd["classes"])), key=lambda k: (-crowd["class_counts"][k], k))[:MAX_CLASSES]
    widest = max(each[k] for each in shares for k in frequent) or 1.0
    return [
        {
            "name": crowd["classes"][k],
            "n": crowd["class_counts"][k],
            "shares": [each[k] for each in shares],
            "widths": [f"{100 * each[k] / widest:.1f}" for each in shares],
        }
        for k in sorted(frequent)
    ]


def _done(run: Run, found: Found) -> Section:
    references = [
        {**each, "median": each["deciles"][4], "spread": (each["deciles"][0], each["deciles"][-1]),
         "words": with_interval(each["threshold"], SCORE_DIGITS)}
        for each in found["references"]
    ]  # fmt: skip
    html = render(
        "peers/done.html.j2",
        states=found["states"],
        unmeasured=found["unmeasured"],
        settings=found["settings"],
        digits=SCORE_DIGITS,
        rule=rule_sentence(found),
        threshold=found["threshold"],
        references=references,
        alarms=false_alarm_sentence(found),
        elsewhere=measured_elsewhere(found),
        selected=run.manifest["summary"].get("selected"),
        selected_name=Path(run.manifest["summary"].get("selected") or "").name,
    )
    return Section("What was done", "What is recommended about each worker, and why?", html, nav="What was done")


def _next(found: Found) -> Section:
    n, curve, tasks = flagged_count(found), found["curve"], found["tasks"]
    # under the paired rule flagged workers need not be the lowest, so no place on the curve is theirs
    mark = n if n and found["settings"]["rule"] == "quantile" else None
    half = [next((r for r, left in zip(curve["removed"], curve[k], strict=True) if left < 0.5), None)
            for k in ("one", "two")]  # fmt: skip
    spoken = [
        f"with at least {words} answer{'s' if words == 'two' else ''} "
        + ("stays above one half" if at is None else f"falls below one half when {plural(at, 'worker')} are removed")
        for words, at in zip(("one", "two"), half, strict=True)
    ]
    html = render(
        "peers/next.html.j2",
        lines=coverage_lines(curve, mark, label=f"Share of tasks {'; '.join(spoken)}."),
        sentence=coverage_sentence(found),
        marked=mark is not None,
        n_flagged=n,
        tasks=tasks,
        worth=[row for row in tasks["recollect"] if not _is_idle(row)],
        valued=any(row["value"] is not None for row in tasks["recollect"]),
        aggregation=found["aggregation"],
    )
    return Section(
        "What happens next", "What would removal cost, and which tasks need new answers?", html, nav="What happens next"
    )


def _is_idle(row: Found) -> bool:
    """Whether one more answer to a task is known to change hardly anything."""
    return row["value"] is not None and row["value"] < LEAST_VALUE and row["n_after"] > 0


def _helped(found: Found, evidence: list[dict[str, Any]]) -> Section:
    html = render(
        "peers/helped.html.j2",
        evidence=[_evidence_view(row) for row in evidence],
        n_flagged=flagged_count(found),
        aggregation=found["aggregation"],
    )
    return Section("Did it help?", "What do the answers look like without flagged workers?", html, nav="Did it help")


def _evidence_view(row: Found) -> dict[str, Any]:
    percent = row["metric"].startswith(IN_PERCENT)
    after = [row["after"], row["low"], row["high"]]
    return {
        **row,
        "before": share(row["before"]) if percent else decimal(row["before"], 3),
        "after": share_with_interval(after, 1) if percent else with_interval(after, 3),
    }


def _limits(found: Found) -> Section:
    html = render(
        "peers/limits.html.j2",
        crowd=found["crowd"],
        models=models_of(found),
        elsewhere=measured_elsewhere(found),
        estimated=found["false_alarms"] is not None,
    )
    return Section("What this cannot show", "Where do the assumptions end?", html, nav="Limits")
