"""The report of forgetting: what was asked, how close it comes to training anew, what was done, what nobody can say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.forget.comparison import GAP, RUNTIME
from tamis.report import forget_numbers as numbers
from tamis.report import forget_sentences as sentences
from tamis.report.findings import read_evidence, read_findings
from tamis.report.forget_charts import confidence_histograms, stop_curve
from tamis.report.forget_commands import commands, files
from tamis.report.forget_dials import Dial, dials
from tamis.report.forget_doubts import doubts
from tamis.report.forget_sweep import sweep_figure, sweep_heat_maps, sweep_label, sweep_rows
from tamis.report.forget_ways import gap_against_time, way_rows
from tamis.report.provenance import wall_seconds
from tamis.report.rendering import NO_BREAK, count, decimal, listed, render, seconds
from tamis.report.section import Section
from tamis.report.tokens_strips import plain
from tamis.runs import Run

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

MANY_CLASSES = 30
"""Classes or groups from which only those that changed most are shown."""
MANY_ROWS = 45
"""Rows of evidence from which the table is folded."""
SET_UP = ("plus", "reduction")
"""Parameters that the name of the method or the command line does not have."""


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of a forget run, the lead first.

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
    found = numbers.with_unchanged(read_findings(run, "decide"), run.folder)
    evidence = read_evidence(run)
    return [
        _lead(run, found, evidence),
        _came_in(run, found),
        _distrusted(found, evidence),
        _done(found),
        _helped(run, found, evidence),
        _limits(run, found),
    ]


def _lead(run: Run, found: Found, evidence: Rows) -> Section:
    html = render(
        "forget/lead.html.j2",
        summary=sentences.summary(found, evidence),
        doubts=doubts(found, evidence),
        warnings=len(found["warnings"]),
        figures=_figures(run, found, evidence),
    )
    n, name = found["data"]["forget"], plain(found["model"]["name"])
    title = f"{name}: {count(n)} of {count(found['data']['examples'])} examples to be forgotten"
    return Section(title, "", html, nav="")


def _figures(run: Run, found: Found, evidence: Rows) -> list[tuple[str, str, str]]:
    data = found["data"]
    shown = [(f"{count(data['forget'])}", "examples to be forgotten",
              f"of {count(data['examples'])}: {sentences.request_words(found)}")]  # fmt: skip
    gap, took = numbers.average_gap(evidence), numbers.row_of(evidence, RUNTIME)
    if gap is not None:
        value, low, high = numbers.estimate_of(gap)
        aside = f"{decimal(low)} to {decimal(high)}; original {decimal(gap['before'])}"
        shown.append((decimal(value), "points, average gap to training anew", aside))
    if took is not None:
        value, low, high = numbers.estimate_of(took)
        ends = "one run of each, no interval" if low is None or high is None else \
            f"{100 * low:.0f} to {100 * high:.0f} % over {took['n']} seeds"  # fmt: skip
        shown.append((f"{100 * value:.0f} %", "of the time of training anew", ends))
    measured = [(name, row) for name in numbers.SHOWN if (row := numbers.row_of(evidence, name)) is not None]
    shown += [_metric_figure(evidence, metric, row) for metric, row in measured]
    absent = [name for name in numbers.SHOWN if name not in dict(measured)]
    if absent:
        why = sentences.why_not(found, absent[0]).partition(": ")[2]
        shown.append((numbers.NOT_MEASURED, listed(absent), why))
    return [*shown, (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger, everything included")]


def _metric_figure(evidence: Rows, metric: str, row: Mapping[str, Any]) -> tuple[str, str, str]:
    anew = numbers.row_of(evidence, metric, "retrained")
    value, low, high = numbers.estimate_of(row)
    aside = [f"{decimal(low, 1)} to {decimal(high, 1)}", f"original {numbers.written(row, before=True)}"]
    if anew is not None:
        aside.append(f"trained anew {numbers.percent(numbers.estimate_of(anew))}")
    unit = "" if metric == "AUC" else f"{NO_BREAK}%"
    return f"{decimal(value, 1)}{unit}", f"{metric}, {sentences.MEANING[metric]}", "; ".join(aside)


def _came_in(run: Run, found: Found) -> Section:
    data = found["data"]
    parts = [("what is to be forgotten", data["forget"]), ("what stays", data["retain"]),
             ("to say when to stop", data["held_out"]), ("to measure with", data["test"])]  # fmt: skip
    html = render(
        "forget/came_in.html.j2",
        model={"name": plain(found["model"]["name"]), "fingerprint": found["model"]["fingerprint"]},
        n_classes=len(found["model"]["classes"]),
        features=data["features"],
        parts=parts,
        request=sentences.request_words(found),
        whole=found["request"]["kind"] == "class",
        tested=data["test"] is not None,
        recipe_group=_plain_or_none(run.recipe.params.get("group")),
    )
    return Section("What came in", "Which model, which examples, and what was asked?", html, nav="What came in")


def _distrusted(found: Found, evidence: Rows) -> Section:
    compared, tested = "retrained" in found["metrics"], found["data"]["test"] is not None
    shown = [_dial(found, evidence, metric) for metric in numbers.SHOWN]
    splits = {split: f"{words}: {count(n)}" for split, words, n in _split_sizes(found)}
    html = render(
        "forget/distrust.html.j2",
        figure=dials(shown, label=sentences.dials_label(found, evidence)),
        compared=compared,
        tested=tested,
        whole=found["request"]["kind"] == "class",
        intervals=sentences.interval_words(found),
        several=found["method"]["seeds"] > 1,
        cut_off=numbers.is_cut_off(evidence),
        gaps=[
            {"metric": row["split"], "words": sentences.MEANING[row["split"]],
             "before": numbers.written(row, before=True), "after": numbers.written(row)}
            for row in evidence if row["metric"] == GAP
        ],
        average=numbers.average_gap(evidence),
        ways=way_rows(found, evidence),
        gap_against_time=gap_against_time(found, evidence),
        written=numbers.written,
        seeds=numbers.of_seeds(found),
        metrics=numbers.SHOWN,
        relearning=numbers.relearning(found),
        relearning_steps=numbers.RELEARNING_STEPS,
        histograms=confidence_histograms(
            found["histograms"], numbers.WORDS, splits, label=sentences.histograms_label(found)
        ),
    )  # fmt: skip
    question = "How close is the edited model to one that never saw the examples, and how sure is that?"
    return Section("What we distrust", question, html, nav="Closeness")


def _dial(found: Found, evidence: Rows, metric: str) -> Dial:
    edited, anew = (numbers.row_of(evidence, metric, model) for model in ("edited", "retrained"))
    values = sentences.dial_values(found, evidence, metric)
    if edited is None:
        return Dial(metric, sentences.MEANING[metric], values)
    return Dial(
        metric,
        sentences.MEANING[metric],
        values,
        original=edited["before"],
        edited=numbers.estimate_of(edited),
        retrained=None if anew is None else numbers.estimate_of(anew),
        middle="50" if metric == "AUC" else "",
    )


def _split_sizes(found: Found) -> list[tuple[str, str, int]]:
    data = found["data"]
    sizes = [("forget", data["forget"]), ("retain", data["retain"]), ("test", data["test"])]
    return [(split, sentences.SPLITS[split], n) for split, n in sizes if n is not None]


def _done(found: Found) -> Section:
    method, kept = found["method"], numbers.kept_step(found)
    curve = numbers.thinned(found["curve"])
    params = [
        (name, "none" if value is None else value) for name, value in method["params"].items() if name not in SET_UP
    ]
    html = render(
        "forget/done.html.j2",
        name=plain(method["name"]),
        words=sentences.method_words(found),
        params=params,
        sweep=sweep_figure(found["sweep"], _retrained_point(found), label=sweep_label(found["sweep"])),
        heat_maps=sweep_heat_maps(found["sweep"]),
        sweep_rows=sweep_rows(found["sweep"]),
        compared="retrained" in found["metrics"],
        curve=stop_curve(curve, kept, label=sentences.curve_label(found)),
        repair=numbers.repair_step(curve) is not None,
        thinned=len(curve) < len(found["curve"]),
        stop=sentences.stop_sentence(found),
        aim=sentences.aim_sentence(found),
        asked=any(point.get("held_out") is not None for point in found["curve"]),
        kept=kept,
        seeds=[
            {"seed": i, "steps": method["steps"][i], "reason": plain(method["reasons"][i]),
             "seconds": found["seconds"]["edited"][i]}
            for i in range(len(method["reasons"]))
        ],
        retrained=found["seconds"].get("retrained", []),
        warnings=[plain(each).rstrip(".") for each in found["warnings"] if each],
    )  # fmt: skip
    return Section("What was done", "How was it made to forget, and when did it stop?", html, nav="What was done")


def _retrained_point(found: Found) -> tuple[float, float] | None:
    anew = found["metrics"].get("retrained")
    return None if anew is None else (numbers.mean(anew["UA"]), numbers.mean(anew["RA"]))


def _helped(run: Run, found: Found, evidence: Rows) -> Section:
    forgotten = [str(number) for number in found["request"]["gone"]]
    tables = [_change_table(found, evidence, numbers.CLASS, forgotten, "Class")]
    column = run.recipe.params.get("group")
    if column is not None:
        marked = _marked_groups(found, str(column), label=str(run.recipe.params.get("label", "label")))
        tables.append(_change_table(found, evidence, numbers.GROUP, marked, f"Group ({plain(str(column))})"))
    table = numbers.evidence_table(found, evidence)
    html = render(
        "forget/helped.html.j2",
        tables=[table for table in tables if table["rows"]],
        tested=found["data"]["test"] is not None,
        whole=found["request"]["kind"] == "class",
        several=found["method"]["seeds"] > 1,
        evidence=table,
        folded=len(table) > MANY_ROWS,
        intervals=sentences.interval_words(found),
        cut_off=numbers.is_cut_off(evidence),
        compared=numbers.average_gap(evidence) is not None,
    )
    return Section("Did it help?", "What happened to accuracy, class by class, and what is the evidence?", html,
                   nav="Did it help")  # fmt: skip


def _marked_groups(found: Found, column: str, *, label: str) -> list[str]:
    """Groups that are to be forgotten: the request names them by this column, or it is that of the classes."""
    if column == label:
        return [found["model"]["classes"][number] for number in found["request"]["gone"]]
    name, _, value = str(found["request"]["value"]).partition("=")
    return [value] if found["request"]["by"] == "where" and name == column else []


def _change_table(found: Found, evidence: Rows, kind: str, marked: Sequence[str], head: str) -> dict[str, Any]:
    rows = numbers.changes(found, evidence, kind, marked)
    shown = rows
    if len(rows) > MANY_CLASSES:
        most = sorted(rows, key=lambda row: (not row["marked"], -abs(row["change"] or 0.0)))[:MANY_CLASSES]
        shown = [row for row in rows if row in most]
    return {"head": head, "rows": shown, "more": len(rows) - len(shown)}


def _limits(run: Run, found: Found) -> Section:
    epsilon = found["method"]["label_privacy"]
    html = render(
        "forget/limits.html.j2",
        can=[_sentence(each) for each in found["proof"]["can"]],
        cannot=[_sentence(each) for each in found["proof"]["cannot"]],
        privacy=None if epsilon is None else sentences.privacy_sentence(epsilon),
        fingerprints=_fingerprints(run.folder, found),
        files=files(found),
        commands=commands(run, found),
        several=found["method"]["seeds"] > 1,
        compared="retrained" in found["metrics"],
        name=plain(found["model"]["name"]),
    )
    return Section("What this run can and cannot say", "Where does the proof end?", html, nav="Limits")


def _fingerprints(folder: Path, found: Found) -> list[tuple[str, str]]:
    path = folder / "certificate" / "certificate.json"
    said = json.loads(path.read_text(encoding="utf-8"))["model"] if path.exists() else {}
    after = str(said.get("after") or "no certificate was written")
    return [("before", plain(str(found["model"]["fingerprint"]))), ("after", plain(after))]


def _sentence(clause: str) -> str:
    return plain(clause).rstrip(".")


def _plain_or_none(value: Any) -> str | None:
    return None if value is None else plain(str(value))
