"""What a crowd must be like to be scored, and what is worth a warning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tamis.data import AnswerCodes, Answers
from tamis.data.llm_labels import AlignedLabels
from tamis.errors import DataError
from tamis.people.crowd_scores import Condition, CrowdScores
from tamis.people.strata import Strata

THIN = 10
"""Tasks with two raters that a stratum should have for each class."""
MUCH = 0.05
LIKE_CHANCE = 0.6
ABSENT = frozenset({"na", "n/a", "#n/a", "<na>", "null", "none", "nan", "-", "?", "-1", "missing", "unknown"})
"""Words that often stand where nothing was given."""


def require_crowd(answers: Answers, *, min_answers: int = 2) -> None:
    """Raise DataError where no worker can be compared with another, or none has enough answers."""
    codes = answers.codes
    name = answers.table.source.name
    if not len(codes):
        raise DataError(f"{name} holds no answers; give some with task, worker and label.")
    if codes.n_workers < 2:
        raise DataError(
            f"{name} holds the answers of one worker ({answers.workers[0]!r}), who has no peers; "
            "give the answers of all workers."
        )
    if not (codes.per_task > 1).any():
        raise DataError(
            f"No task of {name} was answered by two workers ({codes.n_tasks} tasks, one rater each), so no worker has "
            "a peer; collect a second answer for some tasks, or check the task column."
        )
    used = np.unique(codes.label)
    if len(used) < 2:
        raise DataError(
            f"All {len(codes)} answers of {name} are {answers.classes[used[0]]!r}; where all answers are equal, "
            "agreement says nothing: check the label column."
        )
    most = int(codes.per_worker.max())
    if most < min_answers:
        raise DataError(
            f"No worker of {name} has {min_answers} answers (the most is {most}); collect more, or lower "
            "min_answers and expect weak rankings."
        )


def require_measured(codes: AnswerCodes, scores: CrowdScores, min_answers: int, name: str) -> None:
    """Raise DataError if no worker has enough answers."""
    if not scores.measured.any():
        raise DataError(
            f"No worker of {name} has {min_answers} answers that could be scored (the most is "
            f"{int(scores.n_scored.max(initial=0))}): too few tasks have another rater and an LLM label; "
            "collect more, or lower min_answers and expect weak rankings."
        )


def answer_warnings(answers: Answers) -> list[str]:
    """Sentences about answers that were left out or cannot be scored."""
    codes, found = answers.codes, []
    if len(answers.table.rejects):
        found.append(f"{len(answers.table.rejects)} rows could not be read; they are in rejects.parquet")
    if answers.n_duplicates:
        found.append(
            f"{answers.n_duplicates} repeated answers of a worker to a task were left out, {answers.n_conflicting} of "
            "them with another label than the one that was kept"
        )
    found += _class_warnings(answers)
    if answers.n_missing:
        found.append(f"{answers.n_missing} answers have no label; they count as not given")
    lone = int((codes.per_task == 1).sum())
    if lone:
        found.append(f"{lone} of {codes.n_tasks} tasks have one rater; their answers have no peer and are not scored")
    return found


def order_warnings(answers: Answers) -> list[str]:
    """A sentence that tells the order of classes that are no numbers."""
    if all(name.lstrip("-").isdigit() for name in answers.classes):
        return []
    order = " < ".join(answers.classes[:8]) + (" < ..." if len(answers.classes) > 8 else "")
    return [f"classes count as ordered {order}; name them in another order with classes= (--classes)"]


def _class_warnings(answers: Answers) -> list[str]:
    """Sentences about classes that look like no label at all, and classes that differ in case only."""
    found, counts = [], np.bincount(answers.codes.label, minlength=len(answers.classes))
    absent = [
        (name, int(n)) for name, n in zip(answers.classes, counts, strict=True) if name.casefold() in ABSENT and n
    ]
    if absent:
        words = ", ".join(f"{name!r} ({n} answers)" for name, n in absent)
        found.append(f"these labels count as classes: {words}; if they mean that no label was given, make them empty")
    nobody = [name for name in answers.workers if name.strip().casefold() in ABSENT]
    if nobody:
        found.append(
            f"the worker id {nobody[0]!r} counts as one worker; if it means that nobody is named, make it empty"
        )
    alike: dict[str, list[str]] = {}
    for name in answers.classes:
        alike.setdefault(name.casefold(), []).append(name)
    variants = [names for names in alike.values() if len(names) > 1]
    if variants:
        words = " and ".join(map(repr, variants[0]))
        found.append(f"{words} differ in case only and count as different classes; write them alike if they are not")
    return found


def label_warnings(answers: Answers, aligned: AlignedLabels | None, conditions: Sequence[Condition]) -> list[str]:
    """Sentences about LLM labels that are absent, unknown or too few."""
    if aligned is None:
        return ["no LLM labels were given: scores are plain correlated agreement (CA), which pasted answers can raise"]
    found = []
    if conditions and aligned.n_unknown:
        found.append(
            f"{aligned.n_unknown} LLM labels are none of the crowd's classes, the first {aligned.first_unknown!r}; "
            "they count as not given (name further classes with classes=)"
        )
    if aligned.n_failed:
        found.append(f"{aligned.n_failed} LLM labels of answered tasks are missing, refused or unparsed")
    if conditions and aligned.n_other_tasks:
        found.append(f"{aligned.n_other_tasks} LLM labels are about tasks that nobody answered")
    if not conditions and aligned.n_unknown:
        found.append(
            f"no LLM label is one of the crowd's classes ({aligned.first_unknown!r} is none of "
            f"{', '.join(map(repr, answers.classes[:5]))}): scores fall back to plain correlated agreement (CA)"
        )
    elif not conditions:
        other = (
            "" if aligned.first_other is None else f" ({aligned.first_other!r}; tasks are like {answers.tasks[0]!r})"
        )
        found.append(f"no LLM label is about a task of this crowd{other}: scores fall back to plain agreement (CA)")
    n_tasks = answers.codes.n_tasks
    for each in conditions:
        covered = int((each.z >= 0).sum())
        if covered < (1 - MUCH) * n_tasks:
            found.append(
                f"{each.model} labels {covered} of {n_tasks} tasks; answers to the others are not scored with it"
            )
        thin = int((each.others >= 0).sum(axis=1).min()) if len(each.others) else n_tasks
        if thin < (1 - MUCH) * n_tasks:
            found.append(f"a further sample of {each.model} labels {thin} of {n_tasks} tasks; thresholds rest on these")
        if not len(each.others):
            found.append(
                f"{each.model} has one sample, so no threshold comes from it; label the tasks once more with that model"
            )
    return found


def flag_warnings(n_flagged: int, n_measured: int, expected: float | None) -> list[str]:
    """Sentences where flags are to be doubted, not workers: so many, or as many as independent workers would give."""
    if expected is not None and n_flagged and expected >= LIKE_CHANCE * n_flagged:
        return [
            f"about as many workers are flagged ({n_flagged}) as would be if nobody pasted (about "
            f"{expected:.0f}): nothing here shows that somebody does"
        ]
    if 2 * n_flagged <= n_measured:
        return []
    return [
        f"{n_flagged} of {n_measured} scored workers are flagged: where that many are, doubt the comparison first "
        "(hard tasks, few answers a task, an LLM as good as the crowd); false alarms cannot be estimated well"
    ]


def stratum_warnings(codes: AnswerCodes, conditions: Sequence[Condition]) -> list[str]:
    """Sentences about strata in which signs are hardly better than coin flips."""
    found = []
    for each in conditions:
        strata = Strata.of(codes, each.z)
        several = (codes.per_task > 1) & (strata.z >= 0)
        sizes = np.bincount(strata.z[several], minlength=strata.n_strata)
        thin = sizes < THIN * codes.n_classes
        share = float(strata.weight[thin].sum())
        if share > MUCH:
            found.append(
                f"{share:.0%} of the tasks are in strata of {each.model} with fewer than {THIN} tasks a class, where "
                "signs are uncertain: group classes, or label more tasks"
            )
    return found
