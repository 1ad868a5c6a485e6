"""The section about workers: the ladder, the table, other measures, and where peers agree beyond the LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tamis.report.peers_charts import stratum_maps
from tamis.report.peers_ladder import worker_ladder
from tamis.report.peers_sentences import (
    SCORE_DIGITS,
    flagged_count,
    ladder_label,
    line_words,
    measured_count,
    models_of,
    short_reason,
    strata_sentence,
)
from tamis.report.rendering import NO_BREAK, decimal, render, with_interval
from tamis.report.section import Section

Found = Mapping[str, Any]

FLAGGED = ("review", "re-collect")


def distrusted(found: Found) -> Section:
    """Return the section about workers.

    Parameters
    ----------
    found : mapping
        The findings.
    """
    rows = [_worker_view(row, found) for row in found["table"]]
    flagged = [row for row in rows if row["action"] in FLAGGED]
    others = rows[len(flagged) :]
    html = render(
        "peers/distrust.html.j2",
        found=found,
        models=models_of(found),
        ladder=_ladder(found),
        n=measured_count(found),
        n_flagged=flagged_count(found),
        flagged=flagged,
        others=others,
        reason_flagged=_shared_reason(flagged),
        reason_others=_shared_reason(others),
        paired=found["settings"]["rule"] == "paired",
        # the score is CA where there is no LLM, so their correlation says nothing
        related=[
            (each["name"], with_interval(each["rho"]))
            for each in found["related"]
            if found["llm"] or "(CA)" not in each["name"]
        ],
        strata=[_strata_view(each, found["crowd"]["classes"]) for each in found["strata"]],
    )
    question = "Whose answers hold little beyond an LLM's, and how sure is that?"
    return Section("What each worker adds", question, html, nav="Workers")


def _ladder(found: Found) -> Markup:
    threshold = found["threshold"]
    return worker_ladder(
        found["ladder"],
        n_workers=measured_count(found),
        threshold=None if threshold is None else threshold["value"],
        band=None if threshold is None else _band(found),
        title=f"score: agreement with peers beyond {'the LLM' if found['llm'] else 'chance'}",
        words="" if threshold is None else line_words(found),
        label=ladder_label(found),
    )


def _band(found: Found) -> tuple[float, float]:
    """First and last decile of the virtual workers that set the threshold."""
    model = found["threshold"]["model"]
    deciles = next(each["deciles"] for each in found["references"] if each["model"] == model)
    return deciles[0], deciles[-1]


def _worker_view(row: Found, found: Found) -> dict[str, Any]:
    return {
        **row,
        "score": with_interval([row["score"], row["low"], row["high"]], SCORE_DIGITS),
        "ca": f"{decimal(row['ca'], SCORE_DIGITS)} ±{NO_BREAK}{decimal(row['ca_se'], SCORE_DIGITS)}",
        "similarity": [row[f"similarity:{model}"] for model in models_of(found)],
        "reason": short_reason(row["reason"]),
    }


def _shared_reason(rows: Sequence[Found]) -> str | None:
    """Return the reason that all rows share, None if they differ."""
    reasons = {row["reason"] for row in rows}
    return reasons.pop() if len(reasons) == 1 else None


def _strata_view(found: Found, classes: Sequence[str]) -> dict[str, Any]:
    shown = [each for each in found["shown"] if each["n_tasks"]]
    if not shown:
        return {"model": found["model"], "n": found["n"], "maps": None}
    sentence = strata_sentence(shown)
    label = f"Sign matrices beyond {found['model']}, one for each of its labels. {sentence}"
    return {
        "model": found["model"],
        "n": found["n"],
        "maps": stratum_maps(shown, classes, label=label),
        "sentence": sentence,
        "rows": [(each["label"], each["n_tasks"], each["weight"], each["information"]) for each in shown],
    }
