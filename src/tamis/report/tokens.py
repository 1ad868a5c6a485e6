"""The report of token cleaning: what came in, token by token, what was done, whether it helped, what it cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tamis.report.findings import read_evidence, read_findings
from tamis.report.provenance import wall_seconds
from tamis.report.rendering import count, decimal, plural, render, seconds, share, share_with_interval, with_interval
from tamis.report.section import Section
from tamis.report.tokens_charts import NEAR, kept_by_name, kept_by_place, score_density, warmup_curve
from tamis.report.tokens_doubts import CAUTION, NO_VERDICT, doubts, is_chosen
from tamis.report.tokens_sentences import (
    axis_title,
    cut_rows,
    density_sentence,
    emptied_warnings,
    given_reference,
    held_out,
    is_control,
    ranked_noun,
    ranked_verb,
    reading_sentence,
    rule_sentence,
    shares_label,
    staged,
    summary,
    warmup_label,
    warmup_sentence,
)
from tamis.report.tokens_strips import LOSS_DIGITS, nats, plain, strip_view, tint_bounds, tints, visible
from tamis.runs import Run

Found = Mapping[str, Any]

OPEN_STRIPS = 5
"""Strips that are shown at once; further ones fold out."""
MAX_GROUPS = 20
"""Groups of one kind that are drawn; of more, those with the most tokens."""
SEVERAL_CUTS = {"sample": "one for every answer", "batch": "one for every batch"}
GROUPS = (("class", "kind of token"), ("source", "source"), ("role", "role"))


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of cleaned tokens, the lead first.

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
        _done(found),
        _helped(found, evidence),
        _limits(found),
    ]


def _lead(run: Run, found: Found, evidence: list[dict[str, Any]]) -> Section:
    name = Path(run.recipe.inputs.get("pool", "the pool")).name
    html = render(
        "tokens/lead.html.j2",
        summary=summary(found),
        caution_heading=NO_VERDICT,
        caution=CAUTION,
        doubts=doubts(found, evidence),
        figures=_figures(run, found),
    )
    return Section(f"Tokens of {name}", "", html, nav="")


def _figures(run: Run, found: Found) -> list[tuple[str, str, str]]:
    pool, kept, flips = found["pool"], found["kept"], found["kept"]["flips_bf16"]
    unmeasured = plural(pool["unmeasured_tokens"], "token")
    return [
        (count(pool["records"]), "records", f"{count(pool['undecided'])} undecided"),
        (count(pool["ranked"]), f"{ranked_noun(found)}s {ranked_verb(found)}", f"{unmeasured} not measured"),
        (count(kept["tokens"]), "tokens kept", f"{share(kept['share'])} of those {ranked_verb(found)}"),
        (nats(kept["cut"]), "cut", _cut_aside(found)),
        (share(kept["near"][0]), f"within {NEAR:g} of the cut", _interval(kept["near"])),
        (share(kept["positive"][0]), "scores above 0", _interval(kept["positive"])),
        (
            share(None if flips is None else flips[0]),
            "other side in bf16",
            "not measured" if flips is None else _interval(flips),
        ),
        (count(found["emptied"]["rows"]), "records without a kept token", f"of {count(pool['records'])}"),
        (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger"),
    ]


def _cut_aside(found: Found) -> str:
    if found["kept"]["cut"] is None:
        return (
            "one for every slice" if staged(found) else SEVERAL_CUTS.get(found["settings"]["scope"], "not defined here")
        )
    return "score of the last kept token"


def _interval(estimate: Sequence[float | None]) -> str:
    """Write the interval of a share that stands above it."""
    if estimate[0] is None:
        return "not defined here"
    if estimate[1] is None or estimate[2] is None:
        return "no interval"
    return f"{share(estimate[1])} to {share(estimate[2])}"


def _came_in(found: Found) -> Section:
    html = render(
        "tokens/came_in.html.j2",
        pool=found["pool"],
        settings=found["settings"],
        models={role: {k: plain(v) if isinstance(v, str) else v for k, v in model.items()}
                for role, model in found["models"].items()},
        warmup=warmup_sentence(found),
        given=given_reference(found),
        reading=reading_sentence(found),
        verb=ranked_verb(found),
        warnings=[plain(each).rstrip(".") for each in found["warnings"]],
    )  # fmt: skip
    return Section("What came in", "Which tokens, and which two models?", html, nav="What came in")


def _distrusted(found: Found) -> Section:
    bounds = tint_bounds(found["strips"])
    strips = [strip_view(strip, bounds) for strip in found["strips"]]
    density = found["density"]
    html = render(
        "tokens/distrust.html.j2",
        strips=strips[:OPEN_STRIPS],
        more=strips[OPEN_STRIPS:],
        tints=tints(bounds) if any(strip["kept"] for strip in strips) else [],
        unmeasured=any(strip["lost"] for strip in strips),
        control=is_control(found),
        score=axis_title(found),
        density=score_density(
            density["edges"],
            density["counts"],
            found["kept"]["cut"],
            title=axis_title(found),
            label=density_sentence(found),
        ),
        density_words=density_sentence(found),
        one_cut=found["kept"]["cut"] is not None,
        near=NEAR,
        cut_rows=cut_rows(found),
        nats=nats,
        digits=LOSS_DIGITS,
    )
    question = "Which tokens say little about what the reference learned, and how sure is that?"
    return Section("Token by token", question, html, nav="Tokens")


def _done(found: Found) -> Section:
    overall = found["kept"]["share"]
    groups = [_group(found["shares"][key], words, overall) for key, words in GROUPS if len(found["shares"][key]) > 1]
    single = [(words, plain(found["shares"][key][0]["name"])) for key, words in GROUPS[1:2]
              if len(found["shares"][key]) == 1]  # fmt: skip
    position = found["shares"]["position"]
    html = render(
        "tokens/done.html.j2",
        rule=rule_sentence(found),
        within_answers=found["settings"]["scope"] == "sample",
        groups=groups,
        single=single,
        position=_position(position, overall) if position else None,
        emptied=emptied_warnings(found),
        ngrams=[
            (f"{which} scores", [_ngram_view(row) for row in found["ngrams"][key]])
            for which, key in (("Highest", "most"), ("Lowest", "least"))
        ],
    )
    return Section("What was done", "Which tokens carry the loss, and where are they?", html, nav="What was done")


def _group(rows: Sequence[Found], words: str, overall: float | None) -> dict[str, Any]:
    frequent = sorted(range(len(rows)), key=lambda i: (-rows[i]["tokens"], i))[:MAX_GROUPS]
    shown = [rows[i] for i in sorted(frequent)]
    return {
        "words": words,
        "hidden": len(rows) - len(shown),
        "chart": kept_by_name(shown, overall, label=shares_label(shown, words)),
        "rows": [_share_view(row) for row in shown],
    }


def _position(rows: Sequence[Found], overall: float | None) -> dict[str, Any]:
    words = "place in the answer"
    chart: Markup = kept_by_place(rows, overall, label=shares_label(rows, words))
    return {"words": words, "chart": chart, "rows": [_share_view(row) for row in rows], "hidden": 0}


def _share_view(row: Found) -> dict[str, Any]:
    return {"name": plain(row["name"]), "tokens": row["tokens"], "kept": share_with_interval(row["kept"], 1)}


def _ngram_view(row: Found) -> dict[str, Any]:
    return {**row, "parts": visible(row["text"]), "score": with_interval(row["score"], LOSS_DIGITS)}


def _helped(found: Found, evidence: list[dict[str, Any]]) -> Section:
    warmup = found["warmup"]
    label = None if warmup is None else warmup_label(found)
    html = render(
        "tokens/helped.html.j2",
        evidence=[_evidence_view(row) for row in evidence],
        chosen=any(is_chosen(row) for row in evidence),
        warmup=warmup,
        held=warmup is not None and any(value is not None for value in held_out(warmup)),
        label=label,
        curve=None if warmup is None else warmup_curve(
            warmup["loss"], *held_out(warmup), label=label or ""
        ),
        stages=[
            {**stage, "share": share(stage["kept"] / stage["tokens"]) if stage["tokens"] else share(None),
             "cut": nats(stage["cut"])}
            for stage in found["stages"]
        ],
    )  # fmt: skip
    return Section("Did it help?", "What did the reference learn, and what is not known yet?", html, nav="Did it help")


def _evidence_view(row: Found) -> dict[str, Any]:
    before, after = row["before"], [row["after"], row["low"], row["high"]]
    if row["metric"].startswith("share of "):
        words = share(before), share_with_interval(after, 1)
    elif None not in after and len({*after}) == 1 and float(row["after"]).is_integer():
        words = count(before), f"{count(row['after'])}, counted"
    else:
        words = decimal(before, LOSS_DIGITS), with_interval(after, LOSS_DIGITS)
    names = {key: plain(row[key] or "") for key in ("metric", "split", "group", "better")}
    return {**row, **names, "before": words[0], "after": words[1]}


def _limits(found: Found) -> Section:
    html = render(
        "tokens/limits.html.j2",
        staged=staged(found),
        given=given_reference(found),
        near=share_with_interval(found["kept"]["near"], 1) if found["kept"]["near"][0] is not None else None,
        width=NEAR,
    )
    return Section("What this cannot show", "Where do the assumptions end?", html, nav="Limits")
