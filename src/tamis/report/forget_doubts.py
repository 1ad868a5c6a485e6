"""What speaks against a forget run as a whole, in general and in this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.forget.findings import COLLAPSE
from tamis.report.forget_numbers import average_gap, estimate_of, is_unchanged, mean, percent, row_of, written
from tamis.report.rendering import decimal
from tamis.report.tokens_strips import plain

Found = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]
Doubt = tuple[str, str, str, str]
"""Level, heading and up to two reasons."""

CLOSENESS = "Close to a model trained anew is what counts, not high or low"
CAUTION = (
    "A model that never saw the examples is the measure. UA or MIA beyond its value is no better than short of it: a "
    "model that is wrong on purpose can show an attacker what it was to forget.",
    "The method is approximate. What is measured here are averages; they are no certificate that an example left no "
    "trace.",
)
"""The box on top of every page."""


def doubts(found: Found, evidence: Rows) -> list[Doubt]:
    """Say what speaks against the model as a whole, what stops first."""
    return [
        *_broken(found, evidence),
        *_distance(found, evidence),
        *_not_measured(found),
        ("caution", CLOSENESS, *CAUTION),
    ]


def _broken(found: Found, evidence: Rows) -> list[Doubt]:
    said: list[Doubt] = []
    stays = row_of(evidence, "RA")
    if any(found["method"]["diverged"]):
        n = sum(map(bool, found["method"]["diverged"]))
        said.append(
            ("stop", "Training diverged",
             f"A loss was not finite in {n} of {len(found['method']['diverged'])} trainings. The weights are those of "
             "the last evaluation before, which is no place that was chosen.",
             "Lower the learning rate, or give the descent more weight (--p).")
        )  # fmt: skip
    if stays is not None and stays["before"] - stays["after"] > COLLAPSE:
        said.append(
            ("stop", "The model lost what stays",
             f"Accuracy on what stays went from {decimal(stays['before'], 1)} to {percent(estimate_of(stays))} %. Of "
             "a model that fell apart, UA and MIA say nothing.",
             "Do not use it. Lower the learning rate, do fewer epochs, or give held-out examples to stop by.")
        )  # fmt: skip
    if is_unchanged(found):
        said.append(
            ("stop", "The model is as it came in",
             "It says the same of every example as the original: no step came closer to the aim of the stop rule than "
             f"that one is. Why it ended: {plain(found['method']['reasons'][0])}.",
             "If the original is at the aim already, nothing tells these examples from others; else try another "
             "learning rate or another method.")
        )  # fmt: skip
    return said


def _distance(found: Found, evidence: Rows) -> list[Doubt]:
    gap = average_gap(evidence)
    said: list[Doubt] = []
    if gap is not None:
        high = estimate_of(gap)[2]
        now = f"{written(gap)} points, that of the original {written(gap, before=True)}"
        if gap["after"] >= gap["before"] and not is_unchanged(found):
            said.append(
                ("stop", "Further from a model trained anew than before",
                 f"The average gap is {now}. What was done did not help.",
                 "Keep the original, or train anew: the cost of that is on this page.")
            )  # fmt: skip
        elif high is not None and high >= gap["before"] and not is_unchanged(found):
            said.append(
                ("caution", "It may be no closer than before",
                 f"The average gap is {now}, which lies inside the interval. More seeds or more test examples tell.",
                 "")
            )  # fmt: skip
    if found["request"]["kind"] == "sample" and "retrained" in found["metrics"]:
        edited, anew = (mean(found["metrics"][model]["UA"]) for model in ("edited", "retrained"))
        if edited - anew > COLLAPSE:
            said.append(
                ("caution", "It forgets more than a model that never saw the examples",
                 f"It is wrong on {decimal(edited - anew, 1)} points more of them than a model trained anew: an "
                 "attacker can tell them by that.",
                 "Fewer epochs, or a rate of smoothing closer to 0 (--alpha), forget less.")
            )  # fmt: skip
    return said


def _not_measured(found: Found) -> list[Doubt]:
    said: list[Doubt] = []
    untested, alone = found["data"]["test"] is None, "retrained" not in found["metrics"]
    if untested or alone:
        first = (
            "No model was trained anew, so nothing on this page tells how close this one comes to it (--retrain). "
            if alone else ""
        ) + (
            "There are no test examples, so TA and both attacks are not measured, nor an average gap (--test)."
            if untested else ""
        )  # fmt: skip
        second = "Without either, this page says what was asked, what was done, and how the accuracy changed."
        said.append(("caution", "No proof of forgetting", first.strip(), second if untested and alone else ""))
    if found["data"]["held_out"] is None:
        said.append(
            ("caution", "Nothing told it when to stop",
             "There were no held-out examples, so all epochs were done. Ascent has no end of its own: it may have "
             "stopped too early or too late (--held-out).", "")
        )  # fmt: skip
    return said
