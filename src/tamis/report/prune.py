"""The report of layer pruning: what came in, how criteria see the layers, what was cut, what that cost, the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tamis.prune.criteria_list import GIVEN
from tamis.prune.evidence import PERPLEXITY, SPEEDS
from tamis.report import prune_numbers as numbers
from tamis.report import prune_sentences as sentences
from tamis.report.findings import read_evidence, read_findings
from tamis.report.provenance import wall_seconds
from tamis.report.prune_charts import Held, Panel, is_log, layer_panels, perplexity_curve
from tamis.report.prune_compared import MODELS, ratios, table
from tamis.report.prune_ratios import ratio_figure
from tamis.report.rendering import count, decimal, plural, render, seconds, share
from tamis.report.section import Section
from tamis.report.tokens_strips import plain
from tamis.runs import Run

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

PARTS = (("documents", "to score layers with"), ("choice", "to choose with"), ("held", "to measure with"),
         ("train", "to heal with"))  # fmt: skip


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of a prune run, the lead first.

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
        _came_in(found),
        _distrusted(found),
        _done(run, found, evidence),
        _helped(found, evidence),
        _limits(found),
    ]


def _lead(run: Run, found: Found, evidence: Rows) -> Section:
    html = render(
        "prune/lead.html.j2",
        summary=sentences.summary(found, evidence),
        doubts=sentences.doubts(found, evidence),
        figures=_figures(run, found, evidence),
    )
    name, k, n = plain(found["model"]["name"]), len(found["dropped"]), found["model"]["layers"]
    title = f"Layers of {name}" if numbers.last_model(found) is None else f"{name} without {k} of its {n} layers"
    return Section(title, "", html, nav="")


def _figures(run: Run, found: Found, evidence: Rows) -> list[tuple[str, str, str]]:
    n, sizes, last = found["model"]["layers"], found["sizes"], numbers.last_model(found)
    wall = (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger")
    if last is None:
        undecided = len(found["undecided"])
        return [
            (count(n), "layers", f"{count(undecided)} undecided"),
            (count(len(found["dropped"])), "would go", numbers.layers_text(found["dropped"])),
            wall,
        ]
    dense, final = sizes["dense"], sizes[last]
    shown = [(f"{n} → {final['layers']}", "layers", f"{share(1 - final['layers'] / n)} fewer")]
    for key, name, unit in (("parameters", "parameters", ""), ("bytes", "weights on disk", "B")):
        less = f"{numbers.short(dense[key], unit)} before, {_change(final[key] / dense[key])}"
        shown.append((numbers.short(final[key], unit), name, less))
    row = numbers.row_of(evidence, PERPLEXITY, last)
    grew = numbers.loss_of_quality(evidence, last)
    if row is not None and grew is not None:
        aside = f"{numbers.perplexity(row['before'])} before; {numbers.times_with_interval(grew)}"
        shown.append((numbers.perplexity(row["after"]), "perplexity, held-out text", aside))
    speed = numbers.row_of(evidence, SPEEDS["decode"], last)
    if speed is not None:
        aside = f"{decimal(speed['low'], 1)} to {decimal(speed['high'], 1)}; {decimal(speed['before'], 1)} before"
        shown.append((decimal(speed["after"], 1), "tokens written a second", aside))
    return [*shown, wall]


def _change(ratio: float) -> str:
    return f"{share(abs(1 - ratio))} {'less' if ratio <= 1 else 'more'}"


def _came_in(found: Found) -> Section:
    texts = found["texts"]
    parts = [] if texts is None else [
        {"words": words, "records": texts[key]["records"], "tokens": texts[key]["tokens"]} for key, words in PARTS
    ]  # fmt: skip
    model = {key: plain(str(found["model"][key])) if found["model"][key] else None
             for key in ("name", "kind", "dtype", "fingerprint")}  # fmt: skip
    html = render(
        "prune/came_in.html.j2",
        model=model,
        layers=found["model"]["layers"],
        size=(found["sizes"] or {}).get("dense"),
        short=numbers.short,
        parts=parts,
        texts=texts,
        settings=found["settings"],
        given=found["criterion"] == GIVEN,
    )
    return Section("What came in", "Which model, and which texts for what?", html, nav="What came in")


def _distrusted(found: Found) -> Section:
    n, k = found["model"]["layers"], len(found["dropped"])
    panels = [_panel(found, name) for name in found["scores"]]
    pairs = numbers.agreement(found)
    html = render(
        "prune/distrust.html.j2",
        figure=layer_panels(panels, n, label=sentences.panels_label(found)),
        given=found["criterion"] == GIVEN,
        criterion=plain(found["criterion"]),
        rivals=any(not panel.chosen for panel in panels),
        measured=any(panel.scores is not None for panel in panels),
        by_place=[panel.name for panel in panels if panel.scores is None],
        log=[panel.name for panel in panels if panel.scores is not None and is_log(panel.scores)],
        spared=[
            (layers, [panel.name for panel in panels if panel.spared and numbers.layers_text(panel.spared) == layers])
            for layers in dict.fromkeys(numbers.layers_text(panel.spared) for panel in panels if panel.spared)
        ],
        undecided=numbers.layers_text(found["undecided"]) if found["undecided"] else None,
        pairs=[
            {"names": f"{plain(pair['one'])}, {plain(pair['other'])}", "correlation": decimal(pair["correlation"]),
             "n": len(pair["shared"]), "shared": numbers.layers_text(pair["shared"])}
            for pair in pairs
        ],
        k=k,
        chance=decimal(k * k / n, 1),
    )  # fmt: skip
    question = "How do the criteria see the layers, and do they agree?"
    return Section("What we distrust", question, html, nav="Layers")


def _panel(found: Found, criterion: str) -> Panel:
    scores: list[float | None] = found["scores"][criterion]
    spared = numbers.spared(found, criterion)
    if criterion.startswith("angular"):  # a layer that no block holds has a number that only sorts
        scores = [None if i in spared and score is not None and score > 1 else score for i, score in enumerate(scores)]
    return Panel(
        name=plain(criterion),
        words=sentences.criterion_words(criterion),
        scores=None if numbers.is_by_place(criterion) else scores,
        goes=numbers.goes_by(found, criterion),
        spared=spared,
        undecided=[i for i, score in enumerate(found["scores"][criterion]) if score is None],
        chosen=criterion == found["criterion"],
        rivals=len(found["scores"]) > 1,
    )


def _done(run: Run, found: Found, evidence: Rows) -> Section:
    params = {"model": found["model"]["name"], **run.recipe.params}
    held = _held(found, evidence)
    before = next((row["before"] for row in evidence if row["metric"] == PERPLEXITY), None)
    html = render(
        "prune/done.html.j2",
        dropped=numbers.layers_text(found["dropped"]),
        k=len(found["dropped"]),
        n=found["model"]["layers"],
        cut=numbers.last_model(found) is not None,
        healing=sentences.healing_sentence(found),
        tied=None if not found["tied"] else plain(found["tied"]),
        candidates=[_candidate(found, each) for each in found["candidates"]],
        choice=sentences.choice_sentences(found),
        records=0 if found["texts"] is None else found["texts"]["choice"]["records"],
        curve=_curve(found, held),
        curve_words=sentences.curve_sentence(found) if found["curve"] else None,
        points=[
            {
                "n": each["dropped"],
                "layer": each["layer"],
                "perplexity": numbers.perplexity_with_interval(each["perplexity"]),
            }
            for each in found["curve"]
        ],
        held=[f"uncut {numbers.perplexity(before)}", *(each.name for each in held)] if held else [],
        healed=any(each.ring for each in held),
        warnings=[plain(each).rstrip(".") for each in found["warnings"] if each and each != found["tied"]],
        files=sentences.files(found),
        commands=sentences.commands(found, params, run.recipe.inputs, str(run.folder / "scores.csv")),
    )
    return Section("What was done", "Which layers went, and what comes next?", html, nav="What was done")


def _candidate(found: Found, each: Found) -> dict[str, Any]:
    dense = found["dense"]  # measured with the candidates
    return {
        "criterion": plain(each["criterion"]),
        "chosen": each["criterion"] == found["criterion"],
        "dropped": numbers.layers_text(each["dropped"]),
        "perplexity": numbers.perplexity_with_interval(each["perplexity"]),
        "times": numbers.times(each["perplexity"][0] / dense[0]).removesuffix(" times"),
    }


def _held(found: Found, evidence: Rows) -> list[Held]:
    """Perplexities on the records of the evidence, to stand beside the curve."""
    rows = {group: numbers.row_of(evidence, PERPLEXITY, group) for group in MODELS}
    k = len(found["dropped"])
    return [
        Held(f"{group} {numbers.perplexity(row['after'])}", k, numbers.estimate_of(row), group == "healed")
        for group, row in rows.items()
        if row is not None
    ]


def _curve(found: Found, held: Sequence[Held]) -> Markup | None:
    points = [(each["dropped"], each["perplexity"]) for each in found["curve"]]
    label = sentences.curve_label(found)
    return perplexity_curve(points, len(found["dropped"]), held, label=label)


def _helped(found: Found, evidence: Rows) -> Section:
    last = numbers.last_model(found)
    groups = [] if last is None else ratios(found, evidence, last)
    words = [f"{row.name} {row.words}" for _, rows in groups for row in rows]
    html = render(
        "prune/helped.html.j2",
        figure=ratio_figure(groups, label=f"Beside the uncut model: {'; '.join(words)}."),
        quality=any(title.startswith("Quality") and rows for title, rows in groups),
        timed=any(row["metric"] in SPEEDS.values() for row in evidence),
        healed=last == "healed",
        sizes=sentences.size_sentence(found),
        evidence=table(evidence),
        models=[model for model in MODELS if any(row["group"] == model for row in evidence)],
        curve=bool(found["curve"]),
        made=last is not None,
    )
    return Section("Did it help?", "How much smaller, how much faster, how much worse?", html, nav="Did it help")


def _limits(found: Found) -> Section:
    html = render(
        "prune/limits.html.j2",
        healed=numbers.last_model(found) == "healed",
        auto=len(found["candidates"]) > 1,
        records=plural(0 if found["texts"] is None else found["texts"]["choice"]["records"], "record"),
    )
    return Section("What this cannot show", "Where do the assumptions end?", html, nav="Limits")
