"""What the report of a forget run says in words. Every sentence follows from the numbers it is given.

It says what was asked and measured. It never says that an example left no trace: nothing here could show that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.forget.comparison import GAP, RUNTIME
from tamis.forget.ways import WAYS
from tamis.report.forget_numbers import (
    MODELS,
    NOT_MEASURED,
    SHOWN,
    WORDS,
    average_gap,
    estimate_of,
    is_unchanged,
    kept_step,
    percent,
    row_of,
    written,
)
from tamis.report.rendering import NO_BREAK, count, decimal, listed, plural, share
from tamis.report.tokens_strips import plain

Found = Mapping[str, Any]
Row = Mapping[str, Any]
Rows = Sequence[Row]

MEANING = {
    "UA": "wrong on what is to be forgotten",
    "RA": "right on what stays",
    "TA": "right on test examples",
    "MIA": "taken for never seen by an attack",
    "AUC": "the stronger attack, 50 if nothing tells them apart",
}
"""What each metric is a share of."""
SPLITS = {"forget": "to be forgotten", "retain": "stays", "test": "test"}
_NAMED = 8
"""Names in a row from which the rest is counted."""


def request_words(found: Found) -> str:
    r"""Say what was asked to be forgotten, as a noun.

    Examples
    --------
    >>> [request_words({"request": {"by": by, "value": value}}) for by, value in
    ...  [("classes", ["3"]), ("share", 0.1), ("where", "who=ann"), ("forget", "ids.txt")]]
    ['class 3', 'a random share of 10\xa0%', 'the rows with who=ann', 'those that ids.txt names']
    """
    by, value = found["request"]["by"], found["request"]["value"]
    if by == "share":
        return f"a random share of {100 * value:.4g}{NO_BREAK}%"
    if by == "where":
        return f"the rows with {plain(str(value))}"
    if by == "forget":
        return f"those that {plain(str(value))} names"
    names = [plain(str(each)) for each in (value if isinstance(value, list) else [value])]
    more = [f"{count(len(names) - _NAMED)} more"] if len(names) > _NAMED else []
    return f"{'class' if len(names) == 1 else 'classes'} {listed(names[:_NAMED] + more)}"


def method_words(found: Found) -> str:
    """Say what the method does, as a clause."""
    name, words = found["method"]["name"], str(found["method"]["summary"])
    if name == "ugradsl" and words.startswith("the same; "):  # its line stands below that of ugradsl+ elsewhere
        words = f"{WAYS['ugradsl+'].summary.split('; ')[0]}; {words.removeprefix('the same; ')}"
    return plain(words)


def interval_words(found: Found) -> str:
    """Say what the intervals are over."""
    n = found["method"]["seeds"]
    if n > 1:
        return f"95 % intervals over {n} seeds"
    return "95 % intervals over examples, of one seed"


def summary(found: Found, evidence: Rows) -> str:
    """Return the paragraph on top of the page: what was asked, and how close it comes to training anew."""
    data, name = found["data"], plain(found["model"]["name"])
    asked = (
        f"{plain(found['method']['name'])} was to make the classifier {name} forget {count(data['forget'])} of "
        f"{plural(data['examples'], 'example')} ({request_words(found)})"
    )
    gap, took = average_gap(evidence), row_of(evidence, RUNTIME)
    if gap is not None:
        time = "" if took is None else f"; that took {written(took)} of the time of training anew"
        return (
            f"{asked}; on average over UA, RA, TA and MIA it now stands {written(gap)} points from a model trained "
            f"anew without them, where the original stands {written(gap, before=True)} away{time}."
        )
    parts = []
    for metric, words in (("UA", "it is now wrong on"), ("RA", "right on")):
        row = row_of(evidence, metric)
        if row is not None:
            of = "of them" if metric == "UA" else "of what stays"
            parts.append(f"{words} {_of_examples(row)} {of}, before on {decimal(row['before'], 1)}{NO_BREAK}%")
    return f"{asked}; {', and '.join(parts)}. How close that is to a model trained anew was not measured."


def _of_examples(row: Row) -> str:
    value, low, high = estimate_of(row)
    if low is None or high is None:
        return f"{decimal(value, 1)}{NO_BREAK}% (no interval)"
    return f"{decimal(value, 1)}{NO_BREAK}% ({decimal(low, 1)} to {decimal(high, 1)}{NO_BREAK}%)"


def why_not(found: Found, metric: str) -> str:
    """Say why a metric has no value.

    Examples
    --------
    >>> why_not({"data": {"test": None}}, "TA")
    'not measured: there are no test examples'
    """
    if found["data"]["test"] is None and metric in ("TA", "MIA", "AUC"):
        return f"{NOT_MEASURED}: there are no test examples"
    return NOT_MEASURED


def dial_values(found: Found, evidence: Rows, metric: str) -> str:
    """Write the numbers of one dial."""
    edited, retrained = row_of(evidence, metric), row_of(evidence, metric, "retrained")
    if edited is None:
        return why_not(found, metric)
    parts = [f"original {written(edited, before=True)}", f"edited {percent(estimate_of(edited))}"]
    if retrained is not None:
        parts.append(f"{WORDS['retrained']} {percent(estimate_of(retrained))}")
    gap = row_of(evidence, GAP, split=metric)
    if gap is not None:
        parts.append(f"gap {written(gap)}")
    return " · ".join(parts)


def dials_label(found: Found, evidence: Rows) -> str:
    """Say what the dials show, for readers who do not see them."""
    said = "; ".join(f"{name}, {MEANING[name]}: {dial_values(found, evidence, name)}" for name in SHOWN)
    return f"Scales from 0 to 100. {said}."


def histograms_label(found: Found) -> str:
    """Say what the histograms show: how many examples are sure."""
    parts = []
    for model in MODELS:
        own = found["histograms"].get(model, {})
        said = [
            f"{SPLITS.get(split, split)} {share(sum(counts[len(counts) // 2:]) / sum(counts))}"
            for split, counts in own.items() if sum(counts)
        ]  # fmt: skip
        if said:
            parts.append(f"{WORDS[model]}: {', '.join(said)}")
    return f"Examples whose true label has a probability above one half. {'; '.join(parts)}."


def curve_label(found: Found) -> str:
    """Say how the loss went and where it stopped."""
    losses = [point["loss"] for point in found["curve"] if point.get("loss") is not None and not point.get("repair")]
    ends = f" from {decimal(losses[0], 3)} to {decimal(losses[-1], 3)}" if losses else ""
    return f"Loss of {plural(len(losses), 'step')}{ends}. {stop_sentence(found)}"


def stop_sentence(found: Found) -> str:
    """Say why the first seed stopped, and which weights it kept."""
    reason, kept = plain(found["method"]["reasons"][0]).rstrip("."), kept_step(found)
    ended = f"It ended after {plural(found['method']['steps'][0], 'step')}: {reason}."
    if found["method"]["diverged"][0]:
        return f"{ended} The weights are those of the last evaluation before."
    if is_unchanged(found):
        return f"{ended} The model says the same as the one that came in: no step came closer to the aim."
    if kept is None:
        return f"{ended} The weights are those of the last step."
    point = next(point for point in found["curve"] if point["step"] == kept)
    distance, nearest = point["held_out"], "the closest to the aim where that was measured"
    if point.get("repair"):
        nearest = "about as close to the aim as those before the repair, or closer"
    elif any(other.get("repair") for other in found["curve"]):
        nearest = "the last before the repair, which was undone"
    return f"{ended} The weights are those of step {count(kept)}, {nearest}: {decimal(distance, 1)} points away."


def aim_sentence(found: Found) -> str:
    """Say what the distance of the stop rule is."""
    apart = (
        "accuracy and confidence on what is to be forgotten, both of which a model trained anew has at 0,"
        if found["request"]["kind"] == "class"
        else "how far accuracy on what is to be forgotten is from the original's on held-out examples, how far "
        "confidence in it is from that in held-out examples,"
    )
    return (
        f"The distance stands for the average gap, which no one knows while it runs: the mean of {apart} and the "
        "points of accuracy that were lost on what stays and on held-out examples."
    )


def privacy_sentence(epsilon: float) -> str:
    """Say what Theorem 3 of the paper says of labels.

    Examples
    --------
    >>> privacy_sentence(math.log(20)).split(", ")[1][:20]
    'two labels of an exa'
    """
    return (
        f"With these weights and this smoothing, two labels of an example to be forgotten lead to any one answer with "
        f"probabilities that differ by no more than a factor of {count(math.exp(min(epsilon, 40.0)))} "
        f"(ε = {decimal(epsilon)}; smaller is stronger)"
    )
