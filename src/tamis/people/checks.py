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
    if answers.n_missing:
        found.append(f"{answers.n_missing} answers have no label; they count as not given")
    lone = int((codes.per_task == 1).sum())
    if lone:
        found.append(f"{lone} of {codes.n_tasks} tasks have one rater; their answers have no peer and are not scored")
    return found


def label_warnings(answers: Answers, aligned: AlignedLabels | None, conditions: Sequence[Condition]) -> list[str]:
    """Sentences about LLM labels that are absent, unknown or too few."""
    if aligned is None:
        return ["no LLM labels were given: scores are plain correlated agreement (CA), which pasted answers can raise"]
    found = []
    if aligned.n_unknown:
        found.append(
            f"{aligned.n_unknown} LLM labels are none of the crowd's classes, the first {aligned.first_unknown!r}; "
            "they count as not given (name further classes with classes=)"
        )
    if aligned.n_failed:
        found.append(f"{aligned.n_failed} LLM labels of answered tasks are missing, refused or unparsed")
    if aligned.n_other_tasks:
        found.append(f"{aligned.n_other_tasks} LLM labels are about tasks that nobody answered")
    if not conditions:
        found.append("no LLM label is about a task of this crowd: scores fall back to plain correlated agreement (CA)")
    n_tasks = answers.codes.n_tasks
    for each in conditions:
        covered = int((each.z >= 0).sum())
        if covered < (1 - MUCH) * n_tasks:
            found.append(
                f"{each.model} labels {covered} of {n_tasks} tasks; answers to the others are not scored with it"
            )
        if not len(each.others):
            found.append(
                f"{each.model} has one sample, so no threshold comes from it; label the tasks once more with that model"
            )
    return found


def flag_warnings(n_flagged: int, n_measured: int) -> list[str]:
    """A sentence where so many are flagged that the yardstick is to be doubted, not the workers."""
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
