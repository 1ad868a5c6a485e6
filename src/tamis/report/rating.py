"""The report of a rating run: what was asked, what came back, how far each judge can be trusted, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tamis.noise import TransitionMatrix
from tamis.report import charts
from tamis.report.findings import read_findings
from tamis.report.provenance import wall_seconds
from tamis.report.rating_charts import Rung, judge_ladder, rating_bars, repeat_by_class
from tamis.report.rating_money import money, rater_money
from tamis.report.rating_sentences import (
    ceiling_sentence,
    doubts,
    group_sentence,
    kind_words,
    matrix_sentence,
    overall_raters,
    repeated,
    retest_sentence,
    shift_sentence,
    summary,
)
from tamis.report.rendering import count, decimal, render, seconds, share, share_with_interval, with_interval
from tamis.report.section import Section
from tamis.runs import Run

Found = Mapping[str, Any]

STATES = ("ok", "missing", "refused", "unparsed")
LEVELS = {"usable": "good", "partly usable": "caution", "not usable": "stop"}


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of a rating run, the lead first.

    Parameters
    ----------
    run_folder : str or Path
        Directory of a finished run.

    Raises
    ------
    RunStateError
        If the run holds no findings yet.
    """
    run = Run.open(run_folder)
    found = read_findings(run, "judges")
    limits = render("rating/limits.html.j2", expected=any(r["kind"] == "scoring" for r in found["raters"]))
    return [
        _lead(run, found),
        _asked(run, found),
        _came_back(found),
        _trust(found),
        _spent(found),
        Section("What this cannot show", "Where do the assumptions end?", limits, nav="Limits"),
    ]


def _lead(run: Run, found: Found) -> Section:
    name = Path(run.recipe.inputs.get("pool", "the pool")).name
    judges = overall_raters(found)
    expected = sum(sum(j["status"].values()) for j in judges)
    ok = sum(j["status"]["ok"] for j in judges)
    chat = [r for r in found["raters"] if r["kind"] == "chat"]
    figures = [
        (count(found["pool"]["asked"]), "records to rate", f"of {count(found['pool']['rows'])} in the pool"),
        (count(ok), "overall ratings", f"of {count(expected)} asked for"),
        (count(expected - ok), "not measured", f"{share((expected - ok) / expected) if expected else '–'}; no numbers"),
        (count(sum(r["calls"] for r in found["raters"])), "replies", f"{count(_cached(found))} taken from the cache"),
        (_total(chat), "money", "see what was spent"),
        (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger"),
    ]
    doubted = [(judge["rater"], doubt) for judge in judges for doubt in doubts(judge)]
    html = render(
        "rating/lead.html.j2",
        summary=summary(found, name),
        figures=figures,
        doubted=doubted,
        budget_reached=found["limits"].get("budget_reached", False),
    )
    return Section(f"Ratings of {name}", "", html, nav="")


def _cached(found: Found) -> int:
    return sum(r["from_cache"] for r in found["raters"])


def _total(chat: list[Found]) -> str:
    known = [r["cost"] for r in chat if r["cost"] is not None and r["price_known"]]
    if not chat:
        return "none"
    return "unknown" if not known else f"{'≥ ' if len(known) < len(chat) else ''}{sum(known):,.2f}"


def _asked(run: Run, found: Found) -> Section:
    samples = {rater["rater"]: rater["samples"] for rater in found["judges"]["raters"]}
    html = render(
        "rating/asked.html.j2",
        rubric=found["rubric"],
        criteria=[{**c, "anchors": _anchors(c["anchors"])} for c in found["rubric"]["criteria"]],
        scale=found["judges"]["scale"],
        pool=found["pool"],
        raters=[{**r, "words": kind_words(r["kind"]), "samples": samples.get(r["name"])} for r in found["raters"]],
        samples=found["samples"],
        pool_name=Path(run.recipe.inputs.get("pool", "the pool")).name,
    )
    return Section("What was asked", "Who rated what, by which words?", html, nav="Asked")


def _anchors(anchors: Any) -> list[tuple[Any, str]]:
    """Anchors as pairs, whether they are listed or keyed by value."""
    return [(value, words) for value, words in (anchors.items() if isinstance(anchors, dict) else anchors)]


def _came_back(found: Found) -> Section:
    judges = found["judges"]["raters"]
    about = [("suspect", "suspect records"), ("truncated", "records cut in the middle")]
    html = render(
        "rating/came_back.html.j2",
        raters=[
            {**r, "states": [r["status"][s] for s in STATES], "share": share_with_interval(r["unmeasured"]["share"], 1)}
            for r in judges
        ],
        states=STATES,
        pool=found["pool"],
        several=len({r["criterion"] for r in judges}) > 1,
        groups=[
            words for j in overall_raters(found) for words in (group_sentence(j, *which) for which in about) if words
        ],
    )
    return Section("What came back", "How much of it is a rating at all?", html, nav="Came back")


def _trust(found: Found) -> Section:
    judges, all_raters = overall_raters(found), found["judges"]["raters"]
    kinds = {r["name"]: r["kind"] for r in found["raters"]}
    measured = [j for j in judges if j["measured"]]
    high = found["judges"]["scale"][1]
    shown = [
        {
            "name": judge["rater"],
            "bars": _bars(judge),
            "ceiling": ceiling_sentence(judge, high),
            "retest": retest_sentence(judge),
            "shift": shift_sentence(judge, kinds.get(judge["rater"], "")),
        }
        for judge in measured
    ]
    html = render(
        "rating/trust.html.j2",
        ladder=_ladder(found) if measured else None,
        judges=shown,
        anything_repeated=any(repeated(j) for j in measured),
        retests=[_retest_row(r) for r in all_raters if repeated(r)],
        pairs=[_pair_row(pair) for pair in found["judges"]["pairs"]],
        alone=len(judges) < 2,
        lengths=[
            (r["rater"], r["criterion"], r["length"]["n"], with_interval(r["length"]["rho"]))
            for r in all_raters
            if r["length"] is not None
        ],
        matrices=[_matrix_view(m, n) for n, m in enumerate(found["judges"]["matrices"], 1)],
        no_matrix=found.get("no_matrix", {}),
        max_intervals=charts.MAX_INTERVALS,
    )
    return Section("How far each judge can be trusted", "Would it say so again, and would another?", html, nav="Trust")


def _ladder(found: Found) -> Markup:
    """All judges under each other: repeats, agreement, piling up, gaps."""
    judges = overall_raters(found)
    names = [j["rater"] for j in judges]
    pairs = [p for p in found["judges"]["pairs"] if p["criterion"] == found["judges"]["criterion"]]
    rungs = [
        Rung("same rating again", [(j["rater"], j["retest"]["exact"]) for j in judges if repeated(j)]),
        Rung("kappa with the others", [(p[side], p["kappa"]) for p in pairs for side in "ab"], signed=True),
        Rung("share of its favourite", [(j["rater"], j["ceiling"]["mode"]["share"]) for j in judges if j["measured"]]),
        Rung("not measured", [(j["rater"], j["unmeasured"]["share"]) for j in judges]),
    ]
    words = [f"{rung.title}: {', '.join(f'{who} {with_interval(v)}' for who, v in rung.points)}" for rung in rungs
             if any(v[0] is not None for _, v in rung.points)]  # fmt: skip
    return judge_ladder(names, rungs, label=f"Judges side by side. {'; '.join(words)}.")


def _bars(judge: Found) -> Markup:
    spread, mode = judge["distribution"], judge["ceiling"]["mode"]
    label = (
        f"Histogram of {sum(spread['counts'])} ratings by {judge['rater']}; the value used most is {mode['value']:g} "
        f"with {share(mode['share'][0], 0)} of them."
    )
    return rating_bars(spread["edges"], spread["counts"], mode["value"], label=label)


def _retest_row(rater: Found) -> dict[str, Any]:
    found = rater["retest"]
    return {
        "rater": rater["rater"],
        "criterion": rater["criterion"],
        "n": found["n"],
        "exact": share_with_interval(found["exact"]),
        **{name: with_interval(found[name]) for name in ("sd", "kappa", "reliability")},
    }


def _pair_row(pair: Found) -> dict[str, Any]:
    return {
        **{name: pair[name] for name in ("a", "b", "criterion", "n")},
        **{name: share_with_interval(pair[name]) for name in ("exact", "within_one")},
        **{name: with_interval(pair[name]) for name in ("kappa", "spearman", "difference")},
    }


def _matrix_view(found: Found, number: int) -> dict[str, Any]:
    matrix = found["transition"]
    bad = list(TransitionMatrix.from_dict(matrix).unusable_classes)
    names, T = matrix["class_names"], matrix["T"]
    diagonal = "; ".join(f"{name}: {decimal(T[i][i])}" for i, name in enumerate(names))
    who, repeat, level = found["rater"], found["repeat"], LEVELS[found["verdict"]]
    classes = repeat["by_class"] if repeat else []
    spoken = "; ".join(f"{c['class']}: {decimal(c['implied'])} and {decimal(c['measured'])}" for c in classes)
    return {
        "rater": who,
        "anchor": f"matrix-{number}",
        "verdict": found["verdict"],
        # at odds with the repeats, a matrix is no good news however well it is identified
        "level": "caution" if found["agree"] is False and level == "good" else level,
        "heading": f"Matrix {found['verdict']}{', at odds with the repeats' if found['agree'] is False else ''}",
        "warnings": found["warnings"],
        "bad": bad,
        "bounded": matrix["low"] is not None,
        "n_triples": matrix["n_triples"],
        "names": names,
        "classes": classes,
        "diagonal": with_interval(found["diagonal"]),
        "kappa": decimal(found["neighbors"]["kappa"]),
        "repeat_kappa": with_interval(repeat["kappa"]) if repeat else None,
        "clusterability": with_interval(found["clusterability"]),
        "row_l1": decimal(repeat["row_l1"]) if repeat else None,
        "sentence": matrix_sentence(found),
        "heatmap": charts.transition_heatmap(
            T, matrix["p"], matrix["low"], matrix["high"], names, unidentified=bad,
            label=f"Heat map of the transition matrix of {who}. Probability that a true class is written as itself: "
            f"{diagonal}.",
        ),
        "by_class": repeat_by_class(
            classes, label=f"Same class again by {who}, as the matrix implies and as measured: {spoken}."
        )
        if classes
        else None,
    }  # fmt: skip


def _spent(found: Found) -> Section:
    raters = found["raters"]
    html = render(
        "rating/spent.html.j2",
        raters=[
            {**r, "money": rater_money(r), "cached": share(r["from_cache"] / r["calls"] if r["calls"] else None, 0)}
            for r in raters
        ],
        sentence=money(raters),
        budget_reached=found["limits"].get("budget_reached", False),
    )
    return Section("What was spent", "How many calls, tokens and how much money?", html, nav="Spent")
