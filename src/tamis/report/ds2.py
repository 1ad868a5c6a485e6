"""DS2's part of the report: what came in, what is distrusted, what was done, whether it helped, what it cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from tamis.report import charts
from tamis.report.ds2_sentences import (
    scale_sentence,
    score_name,
    shared_names,
    summary,
    unidentified_classes,
    verdict_of,
)
from tamis.report.findings import read_evidence, read_findings
from tamis.report.provenance import wall_seconds
from tamis.report.rendering import count, plural, render, seconds, share
from tamis.report.section import Section
from tamis.runs import Run
from tamis.select import Selection

STATES = ("ok", "missing", "refused", "unparsed")
MAX_GROUPS = 20
MAX_REASONS = 12
MAX_FLOWS = 10


def section(run_folder: str | Path) -> list[Section]:
    """Return the sections of a DS2 run, the lead first.

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
    found = read_findings(run, "curate")
    reasons = count_reasons(Selection.read(run.folder).frame)
    return [
        _lead(run, found),
        _came_in(run, found),
        _distrust(found),
        _did(found, reasons),
        _helped(run, found),
        Section("What this cannot show", "Where do the assumptions end?", render("ds2/limits.html.j2"), nav="Limits"),
    ]


def count_reasons(selection: pl.DataFrame) -> list[dict[str, Any]]:
    """Count records by decision and reason, leaving each record's own numbers out of the reason.

    Returns
    -------
    list of dict
        ``decision`` (None = undecided), ``reason``, ``n``; the most frequent first within a decision.

    Examples
    --------
    >>> count_reasons(pl.DataFrame({
    ...     "decision": ["keep", "keep"],
    ...     "reason": ["rated score 5.0, above the cut (rarity 0.1)", "rated score 4.5, above the cut (rarity 0.2)"],
    ... }))
    [{'decision': 'keep', 'reason': 'rated, above the cut', 'n': 2}]
    """
    plain = pl.col("reason").str.replace(r" \(rarity [^)]*\)$", "").str.replace(r" score [^,]*,", ",")
    counted = selection.group_by("decision", plain.fill_null("no reason given")).agg(n=pl.len())
    order = pl.col("decision").replace_strict({"keep": 0, "drop": 1}, default=2)
    return counted.sort(order, "n", "reason", descending=[False, True, False]).to_dicts()


def _lead(run: Run, found: dict[str, Any]) -> Section:
    name = _pool_name(run)
    rated = sum(r["status"].get("ok", 0) for r in found["raters"])
    changed = sum(r["changed"] for r in found["raters"])
    total = len(found["raters"]) * found["pool"]["rows"]
    chosen = found["selection"]
    figures = [
        (count(found["pool"]["rows"]), "records in", f"{count(found['pool']['rejected'])} rows rejected"),
        (count(total - rated), "ratings not measured", f"of {count(total)} expected"),
        (count(changed), "ratings changed", f"{share(changed / rated if rated else 0)} of {count(rated)}"),
        (count(chosen["keep"]), "records kept", f"budget {count(chosen['budget'])}"),
        (count(chosen["undecided"]), "records undecided", "no rating: neither kept nor dropped"),
        (seconds(wall_seconds(run.ledger.events())), "wall time", "from the ledger"),
    ]
    doubted = [(r["rater"], verdict_of(r, found["settings"])) for r in found["raters"] if r["verdict"] != "usable"]
    html = render("ds2/lead.html.j2", summary=summary(found, name), figures=figures, doubted=doubted)
    return Section(f"Curation of {name}", "", html, nav="")


def _came_in(run: Run, found: dict[str, Any]) -> Section:
    raters = [
        {
            "name": r["rater"],
            "status": [r["status"].get(s, 0) for s in STATES],
            "other": sum(n for s, n in r["status"].items() if s not in STATES),
            "scale": scale_sentence(r["scale"]),
            "mean": r["values"]["mean"],
            "sd": r["values"]["sd"],
            "histogram": charts.histogram(
                r["values"]["edges"],
                r["values"]["counts"],
                r["values"]["kept"],
                x="rating, as the rater wrote it",
                label=f"Histogram of the {sum(r['values']['counts'])} ratings by {r['rater']}; "
                f"{sum(r['values']['kept'])} of them belong to records that were kept.",
            ),
        }
        for r in found["raters"]
    ]
    inputs = run.recipe.inputs
    vectors = Path(inputs["embeddings"]).name if "embeddings" in inputs else None
    html = render(
        "ds2/came_in.html.j2",
        pool=found["pool"],
        copies=found["pool"]["rows"] - found["pool"]["distinct"],
        unmeasured=found["unmeasured"],
        raters=raters,
        states=STATES,
        graph=found["graph"],
        vectors=vectors,
        settings=found["settings"],
    )
    return Section("What came in", "How many records and ratings could be used at all?", html, nav="What came in")


def _distrust(found: dict[str, Any]) -> Section:
    raters = [_rater_view(r, found["settings"], number) for number, r in enumerate(found["raters"], 1)]
    html = render(
        "ds2/distrust.html.j2",
        raters=raters,
        agreement=found["agreement"],
        doubtful=found["doubtful"],
        settings=found["settings"],
        several=len(raters) > 1,
        max_intervals=charts.MAX_INTERVALS,
    )
    return Section("What we distrust", "Which ratings cannot be trusted, and how sure is that?", html, nav="Distrusted")


def _rater_view(rater: dict[str, Any], settings: dict[str, Any], number: int) -> dict[str, Any]:
    names, matrix = rater["scale"]["names"], rater["transition"]
    bad = unidentified_classes(rater)
    axis = "class"
    return {
        **rater,
        "anchor": f"rater-{number}",
        "judgement": verdict_of(rater, settings),
        "unidentified": bad,
        "heatmap": charts.transition_heatmap(
            matrix["T"], matrix["p"], matrix["low"], matrix["high"], names, unidentified=bad,
            label=_heatmap_words(rater, bad),
        ),
        "before_after": charts.class_counts(
            names, {"before": rater["before"], "after": rater["after"]}, x=axis,
            label=f"Ratings by {rater['rater']} in each class before and after correction: "
            + "; ".join(f"{n}: {b} and {a}" for n, b, a in zip(names, rater["before"], rater["after"], strict=True)),
        ),
        "by_threshold": charts.threshold_line(
            rater["thresholds"], settings["threshold"],
            label="Ratings that would change at each threshold: "
            + "; ".join(f"{t:.1f}: {n}" for t, n in rater["thresholds"]),
        ),
        "flow_rows": [(names[old], names[new], n) for old, new, n in rater["flows"][:MAX_FLOWS]],
        "flow_rest": sum(n for _, _, n in rater["flows"][MAX_FLOWS:]),
    }  # fmt: skip


def _heatmap_words(rater: dict[str, Any], bad: list[int]) -> str:
    names, T = rater["scale"]["names"], rater["transition"]["T"]
    diagonal = "; ".join(f"{name}: {T[i][i]:.2f}" for i, name in enumerate(names))
    not_identified = f" Not identified: {', '.join(names[i] for i in bad)}." if bad else ""
    return (
        f"Heat map of the transition matrix of {rater['rater']}. Probability that a true class is written as itself: "
        f"{diagonal}.{not_identified} All cells follow as a table."
    )


def _did(found: dict[str, Any], reasons: list[dict[str, Any]]) -> Section:
    raters = found["raters"]
    names = shared_names(raters)
    where = {"above": 0, "at": 0, "passed_over": 0}
    for row in reasons:
        if row["reason"].endswith("above the cut"):
            where["above"] += row["n"]
        elif row["reason"].endswith("among its rarest"):
            where["at"] += row["n"]
        elif row["reason"].endswith("less rare than those kept"):
            where["passed_over"] += row["n"]
    kept = [
        (
            r["rater"],
            charts.class_counts(
                r["scale"]["names"], {"pool": r["after"], "kept": r["kept"]}, x="class after correction", overlay=True,
                label=f"Classes by {r['rater']} after correction, all records and kept ones: "
                + "; ".join(f"{n}: {a}, kept {k}"
                            for n, a, k in zip(r["scale"]["names"], r["after"], r["kept"], strict=True)),
            ),
        )
        for r in raters
    ]  # fmt: skip
    html = render(
        "ds2/did.html.j2",
        chosen=found["selection"],
        cut=score_name(found["selection"]["cut"], raters),
        where=where,
        scatter=_scatter(found, names),
        sampled=len(found["scatter"]),
        kept=kept,
        composition=_composition(found["composition"], found["pool"]["rows"], found["selection"]["keep"]),
        reasons=reasons[:MAX_REASONS],
        more_reasons=sum(row["n"] for row in reasons[MAX_REASONS:]),
        several=len(raters) > 1,
        settings=found["settings"],
    )
    return Section("What was done", "What was kept, and why?", html, nav="What was done")


def _scatter(found: dict[str, Any], names: list[str] | None) -> Markup | None:
    if not found["scatter"]:
        return None
    n_kept = sum(1 for point in found["scatter"] if point[2])
    dropped = len(found["scatter"]) - n_kept
    words = (
        f"Scatter of curated score and rarity for {plural(n_kept, 'kept record')} and {plural(dropped, 'dropped one')}."
    )
    return charts.score_rarity(found["scatter"], names, label=words)


def _composition(rows: list[dict[str, Any]], n_pool: int, n_kept: int) -> list[dict[str, Any]]:
    """Largest groups first; the rest in one row."""
    shown = rows[:MAX_GROUPS]
    if rest := rows[MAX_GROUPS:]:
        value = f"{len(rest)} smaller groups"
        shown = [*shown, {"value": value, "pool": sum(r["pool"] for r in rest), "kept": sum(r["kept"] for r in rest)}]
    return [
        {
            **row,
            "of_pool": row["pool"] / n_pool if n_pool else 0.0,
            "of_kept": row["kept"] / n_kept if n_kept else 0.0,
            "rate": row["kept"] / row["pool"] if row["pool"] else 0.0,
        }
        for row in shown
    ]


def _helped(run: Run, found: dict[str, Any]) -> Section:
    tested = [r for r in found["raters"] if r["rules"]["rank"] is not None]
    html = render("ds2/helped.html.j2", evidence=read_evidence(run), tested=tested)
    return Section("Did it help?", "What do the kept records look like beside the pool?", html, nav="Did it help")


def _pool_name(run: Run) -> str:
    return Path(run.recipe.inputs.get("pool", "the pool")).name
