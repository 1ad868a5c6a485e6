"""What the report of a crowd says in words. Every sentence follows from the numbers it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.rendering import count, decimal, listed, plural, share, share_with_interval, with_interval

Found = Mapping[str, Any]

SCORE_DIGITS = 3
ETHICS = "A score is evidence about answers, never proof about a person"
HONEST = "Honest workers are flagged too."
HONEST_FLAGGED = {"quantile": (0.15, 0.36), "paired": (0.26, 0.62)}
"""Shares of honest workers flagged on four public crowds with a simulated LLM (``bench/bench_peers.py``), by rule."""
_OPENING = re.compile(r"^score [^,]*, ")


def flagged_count(found: Found) -> int:
    """Workers whose recommended action is to review or to collect again."""
    return int(found["states"]["review"] + found["states"]["re-collect"])


def measured_count(found: Found) -> int:
    """Workers with a score."""
    return int(found["crowd"]["workers"] - found["unmeasured"])


def models_of(found: Found) -> list[str]:
    """Names of the models that scores are conditioned on."""
    return [each["model"] for each in found["llm"]]


def threshold_words(found: Found) -> str:
    """Write the threshold with its interval.

    Examples
    --------
    >>> threshold_words({"threshold": {"model": "m", "value": [0.0997, 0.0881, 0.1098]}})
    '0.100 (0.088 to 0.110)'
    """
    return with_interval(found["threshold"]["value"], SCORE_DIGITS)


def summary(found: Found, changed: Sequence[float | None]) -> str:
    """Return the paragraph on top of the page: who answered what, what was decided, what changes.

    Parameters
    ----------
    found : mapping
        The findings.
    changed : [share, low, high]
        Tasks whose consensus label changed, among those that keep answers; None where there are none.
    """
    crowd, n = found["crowd"], measured_count(found)
    parts = [
        f"{plural(crowd['workers'], 'worker')} gave {plural(crowd['answers'], 'answer')} to "
        f"{plural(crowd['tasks'], 'task')}; {'all' if n == crowd['workers'] else count(n)} of them gave enough to be "
        "scored."
    ]
    if found["llm"]:
        parts.append(
            "A score is what a worker's answers share with those of peers beyond what the labels of "
            f"{listed(models_of(found))} explain."
        )
    else:
        parts.append("No LLM label could be used, so scores are plain agreement, which pasted answers can raise.")
    parts.append(_decided(found))
    if flagged_count(found):
        of = "" if changed[0] is None else f", {share_with_interval(changed, 1)} of those with answers"
        parts.append(f"Without the flagged workers {_relabelled(found, 'task')}{of}.")
    return " ".join(parts)


def _decided(found: Found) -> str:
    states, n = found["states"], flagged_count(found)
    if found["threshold"] is None:
        missing = "is no second sample of an LLM" if found["llm"] else "are no LLM labels"
        return f"Nothing was decided about any worker: there {missing} to compare with, so scores are a ranking only."
    undecided = f", {count(states['undecided'])} undecided" if states["undecided"] else ""
    rest = f"{count(states['keep'])} {_is(states['keep'])} kept{undecided}."
    if not n:
        return f"No worker is within reach of pasted LLM answers; {rest}"
    parts = [f"{count(states[name])} to {words}" for name, words in _TO_DO.items() if states[name]]
    return f"{plural(n, 'worker')} {_is(n)} within reach of pasted LLM answers ({listed(parts)}); {rest}"


def _relabelled(found: Found, noun: str = "") -> str:
    """Write how many tasks get another consensus label."""
    n = found["tasks"]["changed"]
    if not n:
        return f"no {noun} gets another consensus label" if noun else "none gets another consensus label"
    return f"{plural(n, noun) if noun else count(n)} {'gets' if n == 1 else 'get'} another consensus label"


_TO_DO = {"review": "review", "re-collect": "collect again"}


def ethics(found: Found) -> list[str]:
    """Return the paragraphs of the box on top: what a flag is, what it must not be used for, how often it is wrong."""
    return [
        "A flag says that the answers of a worker share no more with those of peers than answers do that were taken "
        "from an LLM, written at random, or all alike. Hard tasks, another reading of the instructions and bad luck "
        "look the same. It is a reason to look at answers, and never a basis for withholding pay or closing an account "
        "without a human look at them.",
        false_alarms_in_short(found),
    ]


def doubts(found: Found) -> list[tuple[str, str, str]]:
    """Say what speaks against the audit as a whole: level, heading and reason of each doubt."""
    if found["threshold"] is None:
        level, heading = ("caution", "No threshold") if found["llm"] else ("stop", "No LLM to compare with")
        return [(level, heading, rule_sentence(found))]
    if 2 * flagged_count(found) <= measured_count(found):
        return []
    reason = (
        "Scores compare workers with their peers. Where most peers paste, or where an LLM leaves people little to add, "
        "peers are no yardstick any more, and a flag says less than usual. Look at answers before you act on any."
    )
    return [("caution", "More than half of the scored workers are flagged", reason)]


def false_alarms_in_short(found: Found) -> str:
    """Say how many independent workers are flagged, as estimated here or else as measured elsewhere."""
    if found["threshold"] is None:
        return (
            "Nobody is flagged here, since nothing could be decided; a low place in the ranking says less than a flag."
        )
    alarms = found["false_alarms"]
    if alarms is None or alarms["share"][0] is None:
        return f"{HONEST} How many was not estimated here: {no_estimate(found)}. {measured_elsewhere(found)}"
    value, low, high = (share(part) for part in alarms["share"])
    return (
        f"{HONEST} Of workers as accurate as these who never saw the LLM, between {low} and {high} would be flagged "
        f"(bounds of a model; its estimate, {value}, was mostly too low in tests). {measured_elsewhere(found)}"
    )


def measured_elsewhere(found: Found) -> str:
    """Say what the rule did to honest workers where the truth was known."""
    rule = found["settings"]["rule"]
    low, high = HONEST_FLAGGED[rule]
    return (
        f"On four public crowds into which LLM users (15 %) and others were planted, the {rule} rule flagged "
        f"{share(low, 0)} to {share(high, 0)} of the workers whose answers were left as they were."
    )


def no_estimate(found: Found) -> str:
    """Say why there is no estimate of false alarms."""
    settings = found["settings"]
    if found["threshold"] is None:
        return "there is no threshold"
    if found["false_alarms"] is not None:
        return "no worker was kept from whom it could be learned"
    if settings["rule"] != "quantile":
        return "it is known for the quantile rule only"
    if settings["fidelity"] == "paper":
        return "the random penalty of the released code has no exact expectation"
    if found["aggregation"] != "Dawid-Skene":
        return "it needs a Dawid-Skene model, which did not fit in memory"
    return "the confusion matrices of all workers did not fit in memory"


def false_alarm_sentence(found: Found) -> str:
    """Say how many of the flagged may be independent workers, and what the bounds are."""
    alarms, n = found["false_alarms"], flagged_count(found)
    if alarms is None or alarms["share"][0] is None:
        return f"How many independent workers are flagged was not estimated: {no_estimate(found)}."
    value, low, high = alarms["share"]
    expected = alarms["expected"]
    about = f"about {decimal(expected, 1)}" if expected >= 0.05 else "fewer than 0.1"
    among = f" That would be {about} of the {'one' if n == 1 else count(n)} flagged." if n else ""
    return (
        f"The threshold flags an estimated {share(value)} of workers who err as those of this crowd do, but "
        f"independently of the LLM.{among} If only the unflagged workers are independent the share is {share(low)}, "
        f"if all of them are it is {share(high)}: these are bounds under a Dawid-Skene model of the crowd, not a "
        f"confidence interval. The estimate rests on {plural(measured_count(found) - n, 'worker')} not flagged."
    )


def rule_sentence(found: Found) -> str:
    """Say what it takes to be flagged."""
    if found["threshold"] is None:
        why = "No model has a second sample" if found["llm"] else "No LLM label could be used"
        return (
            f"{why}, so it is not known what score pasted answers would reach, and nothing was decided. Label the "
            "tasks twice or more with each LLM that workers may have used (--llm), and run again."
        )
    settings, model = found["settings"], found["threshold"]["model"]
    if settings["rule"] == "paired":
        return (
            "A worker is flagged whose score is less than 1.645 standard errors above that of the virtual LLM worker "
            f"in the same place. Where the whole interval lies below {threshold_words(found)} too, which "
            f"{share(settings['quantile'], 0)} of the virtual workers of {model} do not exceed, the action is to "
            "collect again."
        )
    n = len(found["references"])
    furthest = f" (of the {n} models the one whose virtual workers reach furthest)" if n > 1 else ""
    return (
        f"A worker is flagged whose score is at or below {threshold_words(found)}, which "
        f"{share(settings['quantile'], 0)} of the virtual workers of {model} do not exceed{furthest}. Where the whole "
        "interval of the score lies below it too, the action is to collect again."
    )


def line_words(found: Found) -> str:
    """Write what stands at the threshold in the ladder."""
    if found["settings"]["rule"] == "quantile":
        return f"flagged at or below {threshold_words(found)}"
    return f"{share(found['settings']['quantile'], 0)} of virtual LLM workers: {threshold_words(found)}"


def ladder_label(found: Found) -> str:
    """Say what the ladder shows, for readers who do not see it."""
    rows, n = found["ladder"], measured_count(found)
    ends = [f"{row['worker']} {decimal(row['score'], SCORE_DIGITS)}" for row in (rows[0], rows[-1])]
    start = (
        f"Ladder of {plural(n, 'worker')} by score, each with its 95 % interval: lowest {ends[0]}, highest {ends[1]}."
    )
    if found["threshold"] is None:
        return f"{start} There is no threshold."
    below = f"{count(flagged_count(found))} flagged, {count(found['states']['keep'])} kept."
    return f"{start} Threshold {threshold_words(found)}: {below}"


def pairs_alike(stratum: Found) -> tuple[int, int, int, int]:
    """Count cells of a sign matrix: equal answers above chance and all, unequal answers below chance and all.

    Examples
    --------
    >>> pairs_alike({"sign": [[1.0, -1.0], [-1.0, 0.0]]})
    (1, 2, 2, 2)
    """
    sign = stratum["sign"]
    K = len(sign)
    equal = sum(sign[i][i] > 0 for i in range(K))
    unequal = sum(sign[i][j] < 0 for i in range(K) for j in range(K) if i != j)
    return equal, K, unequal, K * (K - 1)


def strata_sentence(shown: Sequence[Found]) -> str:
    """Say how often equal answers are more frequent than chance, over the strata of a model."""
    equal, all_equal, unequal, all_unequal = (sum(part) for part in zip(*map(pairs_alike, shown), strict=True))
    return (
        f"Equal answers are more frequent than independence would make them in {count(equal)} of {count(all_equal)} "
        f"cells, unequal ones less frequent in {count(unequal)} of {count(all_unequal)}."
    )


def coverage_sentence(found: Found) -> str:
    """Say what taking the flagged workers out would cost."""
    tasks, n = found["tasks"], flagged_count(found)
    if not n:
        return "Nobody is flagged, so no task loses an answer; the curve shows what removing more workers would cost."
    lost = tasks["uncovered"]
    none = "none of them loses all its answers" if not lost else f"{count(lost)} of them would have none left"
    who = "the flagged worker" if n == 1 else f"the {count(n)} flagged workers"
    return (
        f"{plural(tasks['lose'], 'task')} {'has' if tasks['lose'] == 1 else 'have'} answers by {who}. Without these "
        f"{none}, and {_relabelled(found)}."
    )


def short_reason(reason: str) -> str:
    """Leave out of a reason the score that stands beside it.

    Examples
    --------
    >>> short_reason("score 0.02 (-0.1 to 0.1), within what pasted answers would reach (0.100)")
    'within what pasted answers would reach (0.100)'
    """
    return _OPENING.sub("", reason)


def warning_sentence(warning: str, models: Sequence[str]) -> str:
    """Begin a warning with a capital letter, unless it begins with the name of a model.

    Examples
    --------
    >>> warning_sentence("some tasks have one rater", ["gpt"]), warning_sentence("gpt has one sample", ["gpt"])
    ('Some tasks have one rater.', 'gpt has one sample.')
    """
    own_name = any(warning.startswith(f"{model} ") for model in models)
    return f"{warning if own_name else warning[:1].upper() + warning[1:]}."


def _is(n: int) -> str:
    return "is" if n == 1 else "are"
