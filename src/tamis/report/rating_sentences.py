"""What the report of a rating run says in words. Every sentence follows from the numbers it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tamis.report.rating_money import money
from tamis.report.rendering import count, decimal, listed, plural, share, share_with_interval, with_interval

Found = Mapping[str, Any]

PILED = 0.9
"""Share of ratings with one value from which a judge tells hardly anything apart."""
UNRELIABLE = 0.5
"""Share of the variance of one rating that must lie between records."""
MUCH_UNMEASURED = 0.05
LONG_LOVER = 0.4
"""Rank correlation with length from which it is pointed out."""
_KINDS = {
    "chat": "asked over an API",
    "scoring": "computed on this machine or cluster",
    "recorded": "read from the pool",
}


@dataclass(frozen=True)
class Doubt:
    """A reason not to trust a judge.

    Attributes
    ----------
    level : {"caution", "stop"}
        Colour of the banner; the words say the same.
    heading, reason : str
    """

    level: str
    heading: str
    reason: str


def summary(found: Found, pool_name: str) -> str:
    """Return the paragraph on top of the page: what was asked, what came back, how far it repeats, what it cost."""
    judges, pool = overall_raters(found), found["pool"]
    times = "" if found["samples"] == 1 else f", up to {found['samples']} times each"
    parts = [
        f"{plural(pool['asked'], 'record')} of {pool_name} {_was(pool['asked'])} put before "
        f"{plural(len(judges), 'judge')}{times}."
    ]
    expected = sum(sum(j["status"].values()) for j in judges)
    if expected:
        ok = sum(j["status"]["ok"] for j in judges)
        parts.append(
            f"{count(ok)} of {plural(expected, 'judgement')} of “{found['judges']['criterion']}” could be read "
            f"({share(ok / expected)}){'; the others are a third state and no number' if ok < expected else ''}."
        )
    parts += [_repeat_in_short(j) for j in judges[:3] if repeated(j)]
    if expected and not any(repeated(j) for j in judges):
        parts.append("Nothing was rated twice, so how far a judge would repeat itself is not known.")
    parts.append(money(found["raters"]))
    return " ".join(parts)


def _repeat_in_short(judge: Found) -> str:
    equal = judge["retest"]["exact"]
    return f"Asked again, {judge['rater']} gave the same rating in {share_with_interval(equal)} of the cases."


def repeated(judge: Found) -> bool:
    """Whether a judge has rated enough records more than once for its repeats to be compared."""
    return judge["retest"] is not None and judge["retest"]["exact"][0] is not None


def overall_raters(found: Found) -> list[dict[str, Any]]:
    """Judges by the overall criterion."""
    judges = found["judges"]
    return [rater for rater in judges["raters"] if rater["criterion"] == judges["criterion"]]


def doubts(judge: Found) -> list[Doubt]:
    """Say what speaks against a judge, gravest first; nothing found is no proof that it is right.

    Parameters
    ----------
    judge : mapping
        One entry of ``findings["judges"]["raters"]``.
    """
    if not judge["measured"]:
        return [Doubt("stop", "no rating at all", _nothing_came_back(judge))]
    found = []
    mode, retest, missing, length = judge["ceiling"]["mode"], judge["retest"], judge["unmeasured"], judge["length"]
    if mode["share"][0] >= PILED:
        reason = f"{share_with_interval(mode['share'])} of its ratings are {mode['value']:g}: it tells hardly any "
        found.append(Doubt("stop", "one rating for nearly everything", reason + "records apart."))
    if repeated(judge) and _below(retest["reliability"], UNRELIABLE):
        reason = (
            f"Of the variance of one of its ratings, {share_with_interval(retest['reliability'])} lies between "
            "records; the rest is noise that another call would change. Ask several times and take the mean, or ask "
            "another judge."
        )
        found.append(Doubt("caution", "repeats differ more than records do", reason))
    if missing["share"][1] is not None and missing["share"][1] > MUCH_UNMEASURED:
        reason = (
            f"{plural(missing['n'], 'record')} ({share_with_interval(missing['share'])}) {_has(missing['n'])} no "
            "rating by it. If the records it fails on are of a kind, its ratings describe the others only."
        )
        found.append(Doubt("caution", "many records not measured", reason))
    if length["rho"][1] is not None and length["rho"][1] > LONG_LOVER:
        reason = (
            f"The rank correlation of rating and length is {with_interval(length['rho'])}. Longer records may be "
            "better, or the judge may like length: this number cannot tell."
        )
        found.append(Doubt("caution", "ratings follow length", reason))
    return found


def _nothing_came_back(judge: Found) -> str:
    states = [f"{count(n)} {state}" for state, n in judge["status"].items() if n]
    return f"None of its replies is a rating: {listed(states)}. Nothing below says anything about this judge."


def _below(estimate: Sequence[float | None], limit: float) -> bool:
    return estimate[2] is not None and estimate[2] < limit


def retest_sentence(judge: Found) -> str:
    """Say how far a judge's repeats agree, or why that is unknown."""
    found = judge["retest"]
    if found is None or found["exact"][0] is None:
        return f"{judge['rater']} rated too few records more than once, so nothing is known about its repeatability."
    every = (
        "" if judge["samples"] == 2 else f" All its ratings of a record are equal in {share(found['all_equal'][0])}."
    )
    return (
        f"Two ratings of one record by {judge['rater']} are equal in {share_with_interval(found['exact'])} of "
        f"{plural(found['n_pairs'], 'pair')} and differ by {with_interval(found['difference'])} points on average; the "
        f"standard deviation within a record is {with_interval(found['sd'])} points.{every}"
    )


def shift_sentence(judge: Found, kind: str) -> str:
    """Say whether the first two samples differ on average, and what that can mean."""
    shift = judge["shift"]
    if shift is None or shift["difference"][0] is None:
        return ""
    _, low, high = shift["difference"]
    means = listed([decimal(mean) for mean in shift["means"]])
    clear = low is not None and (low > 0 or high < 0)
    verdict = "a difference that chance does not explain" if clear else "a difference that chance explains well enough"
    meaning = (
        "If the columns are positions in the judge's prompt, this is its position bias."
        if kind == "recorded"
        else "Samples of one prompt have no order, so a clear difference would mean that the judge changed meanwhile."
    )
    return (
        f"The samples of {judge['rater']} have the means {means}; the first minus the second is "
        f"{with_interval(shift['difference'])} points over {plural(shift['n'], 'record')}, {verdict}. {meaning}"
    )


def ceiling_sentence(judge: Found, high: float) -> str:
    """Say how far ratings pile up."""
    found = judge["ceiling"]
    return (
        f"{judge['rater']}: mean {with_interval(judge['mean'])}; {share_with_interval(found['mode']['share'])} of its "
        f"ratings are {found['mode']['value']:g}, {share_with_interval(found['top'])} are at the top ({high:g}). It "
        f"spreads as much as a judge that uses {with_interval(found['effective'], 1)} values equally often."
    )


def matrix_sentence(found: Found) -> str:
    """Say in numbers whether the matrix from neighbours and the measured repeat agree."""
    who = found["rater"]
    if found["repeat"] is None:
        return f"There is no repeat to hold the matrix of {who} against: {found['reason']}."
    both = (
        f"If this matrix were the noise of each rating, {who} would repeat its class in "
        f"{share_with_interval(found['implied'])} of the cases; it did so in "
        f"{share_with_interval(found['repeat']['exact'])} (on {plural(found['repeat']['n'], 'record')}). "
    )
    gap = f"The difference is {with_interval(_percent(found['gap']), 0)} percentage points: "
    if found["agree"] is None:
        return both + gap + "without intervals, whether they agree cannot be said."
    if found["agree"]:
        return both + gap + "the two agree within their uncertainty."
    if found["gap"][0] > 0:
        return (
            both
            + gap
            + (
                "they do not agree. The judge repeats itself better than its neighbours repeat it, so part of what the "
                "matrix calls noise is records that deserve different ratings."
            )
        )
    return (
        both
        + gap
        + (
            "they do not agree. The judge repeats itself worse than its neighbours suggest: the second time it was "
            "not asked quite the same."
        )
    )


def _percent(estimate: Sequence[float | None]) -> list[float | None]:
    return [None if part is None else 100 * part for part in estimate]


def group_sentence(judge: Found, which: str, what: str) -> str:
    """Compare the mean rating of suspect (or truncated) rows with that of the others; empty if there are none."""
    found = judge[which]
    if not found["n"] or found["mean"] is None or found["others"] is None:
        return ""
    means = decimal(found["mean"]), decimal(found["others"])
    start = f"{judge['rater']} rates the {what} {means[0]} on average and the others {means[1]}"
    if found["difference"] is None:
        return f"{start}; {plural(found['measured'], 'record')} {_is(found['measured'])} too few for an interval."
    _, low, high = found["difference"]
    verdict = "more than chance explains" if low > 0 or high < 0 else "no more than chance explains"
    return f"{start}: a difference of {with_interval(found['difference'])}, {verdict}."


def kind_words(kind: str) -> str:
    """Say where a judge's ratings come from."""
    return _KINDS.get(kind, kind)


def _was(n: int) -> str:
    return "was" if n == 1 else "were"


def _has(n: int) -> str:
    return "has" if n == 1 else "have"


def _is(n: int) -> str:
    return "is" if n == 1 else "are"
