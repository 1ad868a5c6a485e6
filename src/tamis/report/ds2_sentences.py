"""What the DS2 report says in words. Every sentence follows from the numbers it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tamis.noise import TransitionMatrix
from tamis.report.rendering import count, decimal, listed, plural, share

LEVELS = {"usable": "good", "partly usable": "caution", "not usable": "stop"}


@dataclass(frozen=True)
class Verdict:
    """What the matrix of one rater is good for, and what was done about it.

    Attributes
    ----------
    level : {"good", "caution", "stop"}
        Colour of the banner; the words say the same.
    heading : str
    reason : str
        Why.
    consequence : str
        What tamis did about it.
    """

    level: str
    heading: str
    reason: str
    consequence: str


def verdict_of(rater: dict[str, Any], settings: dict[str, Any]) -> Verdict:
    """Say whether a rater's matrix may be acted on, why, and what was done.

    Parameters
    ----------
    rater : dict
        One entry of ``findings["raters"]``.
    settings : dict
        ``findings["settings"]``.
    """
    verdict = rater["verdict"]
    return Verdict(LEVELS[verdict], f"Matrix {verdict}", _reason(rater), _consequence(rater, settings))


def unidentified_classes(rater: dict[str, Any]) -> list[int]:
    """Classes whose row of the matrix may not be acted on."""
    return list(TransitionMatrix.from_dict(rater["transition"]).unusable_classes)


def _reason(rater: dict[str, Any]) -> str:
    matrix = TransitionMatrix.from_dict(rater["transition"])
    agreement = matrix.diagnostics.agreement
    bad = matrix.unusable_classes
    named = class_list(bad, matrix.class_names)
    if not agreement.follows_features:
        how = "no more" if agreement.kappa <= 0 else "hardly more"
        return (
            f"These ratings do not follow the content: records that are close to each other agree {how} often than "
            f"chance would have it (kappa {decimal(agreement.kappa)}). Neighbours teach nothing here."
        )
    if matrix.verdict == "not usable":
        in_bad = float(matrix.diagnostics.observed[list(bad)].sum())
        return (
            f"{named} cannot be identified from neighbourhoods, and {share(in_bad, 0)} of the ratings fall "
            "there. The cells below are shown for inspection, not for use."
        )
    if bad:
        verb = "is" if len(bad) == 1 else "are"
        return f"{named} {verb} not identified (✕ below); the other rows can be acted on."
    return "Every class of the scale is written down as itself more often than as any other class."


def _consequence(rater: dict[str, Any], settings: dict[str, Any]) -> str:
    names, changed = rater["scale"]["names"], rater["changed"]
    bad = unidentified_classes(rater)
    n = rater["status"].get("ok", 0)
    did = f"{plural(changed, 'rating')} of {count(n)} {'was' if changed == 1 else 'were'} changed"
    doubted = rater["verdict"] != "usable"
    if settings["fidelity"] == "paper":
        return f"The paper's procedure does not consult this verdict: all classes were open to correction, and {did}."
    if settings["correct"] == "none":
        return f"Correction was switched off: {_copies_only(rater['settled'])}."
    if settings["correct"] == "all":
        return f"Correction of all classes was asked for{' in spite of this' if doubted else ''}: {did}."
    if not rater["correctable"]:
        return f"tamis therefore corrected nothing: {_copies_only(rater['settled'])}."
    if settings["rule"] == "vote":
        note = "The vote rule does not use the matrix, so all classes were open to correction: " if bad else ""
        return note + (did if note else did[0].upper() + did[1:]) + "."
    left = [c for c in range(len(names)) if c not in rater["correctable"]]
    if left:
        return (
            f"tamis left ratings in {class_list(left, names).lower()} as they were, and {did} among the others "
            "(a corrected rating may have moved into a class that is not identified)."
        )
    return f"tamis corrected where neighbours contradict a rating: {did} ({share(changed / n if n else 0)})."


def _copies_only(settled: int) -> str:
    """What happened to ratings where no class was open to correction: copies still share one rating."""
    if not settled:
        return "all ratings of this rater were used as they came"
    return (
        "all ratings of this rater were used as they came, except that exact copies which were rated apart share the "
        f"lower median of their ratings ({plural(settled, 'rating')} {'differs' if settled == 1 else 'differ'} by that)"
    )


def scale_sentence(scale: dict[str, Any]) -> str:
    """Say how ratings became classes.

    Examples
    --------
    >>> scale_sentence({"kind": "range", "low": 0, "high": 5, "names": list("012345")})
    'scale 0 to 5, each whole number a class (6 classes)'
    """
    names = scale["names"]
    span = f"scale {scale['low']:g} to {scale['high']:g}"
    if scale["kind"] == "compress":
        return f"{span}, compressed to {len(names)} classes as in the paper: {listed(names)}"
    if scale["kind"] == "quantile":
        return f"ratings from {scale['low']:g} to {scale['high']:g}, cut at their quantiles into {len(names)} classes"
    return f"{span}, each whole number a class ({len(names)} classes)"


def summary(found: dict[str, Any], pool_name: str) -> str:
    """Return the paragraph on top of the page: what came in, what is distrusted, what was kept."""
    pool, chosen, raters = found["pool"], found["selection"], found["raters"]
    parts = [f"{plural(pool['rows'], 'record')} came in from {pool_name}"]
    if pool["rejected"]:
        parts[0] += f" and {plural(pool['rejected'], 'row')} could not be read"
    parts[0] += "."
    if found["unmeasured"]:
        parts.append(
            f"{plural(found['unmeasured'], 'record')} {_has(found['unmeasured'])} no rating and stayed undecided."
        )
    parts += [_rater_in_short(r) for r in raters] if len(raters) <= 3 else [_raters_in_short(raters)]
    rest = f", {count(chosen['drop'])} dropped" if chosen["drop"] else ""
    full = (
        "" if chosen["keep"] == chosen["budget"] else f" (the budget of {count(chosen['budget'])} could not be filled)"
    )
    parts.append(f"{plural(chosen['keep'], 'record')} {'was' if chosen['keep'] == 1 else 'were'} kept{full}{rest}.")
    return " ".join(parts)


def _rater_in_short(rater: dict[str, Any]) -> str:
    n = rater["status"].get("ok", 0)
    changed = rater["changed"]
    done = f"{plural(changed, 'rating')} ({share(changed / n if n else 0)})" if changed else "no rating"
    about = f"of {rater['rater']}" if rater["rater"] else "of the rater"
    return f"The transition matrix {about} is {rater['verdict']}, and {done} of {count(n)} {_was(changed)} changed."


def _raters_in_short(raters: list[dict[str, Any]]) -> str:
    by_verdict = [f"{sum(r['verdict'] == v for r in raters)} {v}" for v in LEVELS]
    total = sum(r["changed"] for r in raters)
    return f"Of {len(raters)} raters' matrices, {listed(by_verdict)}; {plural(total, 'rating')} {_was(total)} changed."


def score_name(score: float | None, raters: list[dict[str, Any]]) -> str:
    """Write a curated score with the class name where it is a class, else as a class index.

    Examples
    --------
    >>> one = [{"scale": {"names": ["1", "2", "3"]}}]
    >>> score_name(2.0, one), score_name(1.5, one)
    ('3', '1.50 (mean class index, 0 = 1)')
    """
    names = shared_names(raters)
    if score is None:
        return "none"
    if names and float(score).is_integer():
        return names[int(score)]
    return f"{score:.2f} (mean class index{f', 0 = {names[0]}' if names else ', 0 = lowest'})"


def shared_names(raters: list[dict[str, Any]]) -> list[str] | None:
    """Class names, if all raters share them."""
    names: list[str] = raters[0]["scale"]["names"]
    return names if all(r["scale"]["names"] == names for r in raters) else None


def class_list(classes: Sequence[int], names: Sequence[str]) -> str:
    """Name some classes; four or more in a row become a span.

    Examples
    --------
    >>> class_list([2], "012345"), class_list([0, 2, 3, 4, 5], "012345")
    ('Class 2', 'Classes 0 and 2 to 5')
    """
    runs: list[list[int]] = []
    for c in classes:
        if runs and c == runs[-1][-1] + 1:
            runs[-1].append(c)
        else:
            runs.append([c])
    words: list[str] = []
    for run in runs:
        words += [f"{names[run[0]]} to {names[run[-1]]}"] if len(run) > 3 else [names[c] for c in run]
    return f"{'Class' if len(classes) == 1 else 'Classes'} {listed(words)}"


def _has(n: int) -> str:
    return "has" if n == 1 else "have"


def _was(n: int) -> str:
    return "were" if n > 1 else "was"
