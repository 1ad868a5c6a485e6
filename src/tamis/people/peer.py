"""Conditioned peer prediction: which workers add information beyond what an LLM's labels explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data import AnswerCodes, Answers, LLMLabels, read_answers, read_llm_labels
from tamis.data.llm_labels import AlignedLabels
from tamis.errors import parameter_error
from tamis.estimator import Selector
from tamis.people.baselines import METHODS, crowdkit_baselines
from tamis.people.checks import (
    answer_warnings,
    flag_warnings,
    label_warnings,
    order_warnings,
    require_crowd,
    require_measured,
    stratum_warnings,
)
from tamis.people.consensus import Consensus, consensus_frame, value_of_answer
from tamis.people.crowd_scores import Condition, CrowdScores, crowd_scores, score_condition
from tamis.people.decisions import answer_selection, decide_workers, worker_selection
from tamis.people.false_alarms import FalseAlarms, answer_model, estimate_false_alarms, independent_copies
from tamis.people.intervals import lowest_intervals
from tamis.people.scoring import Estimator, Terms
from tamis.people.virtual import QUANTILE, Reference, reference, strictest
from tamis.people.worker_table import paired_scores, worker_table
from tamis.runs.digests import derive_seed

VERSION = 1
"""Part of every step key: raised when a change of this method changes its results."""


class PeerPrediction(Selector):
    """Score crowd workers by what their answers share with their peers', beyond what LLM labels explain.

    A score is evidence about answers, never proof about a person.

    Parameters
    ----------
    fidelity : {"product", "paper"}, default "product"
        ``"paper"`` follows the released code: raters split in two groups, one random penalty task an answer, workers
        counted by all their answers. ``"product"`` uses all pairs of raters and the exact mean penalty: same
        expectation, no seed, and never worse in our benchmark.
    min_answers : int, default 30
        Scored answers that a worker needs; with fewer nothing is decided, and never a flag raised.
    rule : {"quantile", "paired"}, default "quantile"
        Flag scores that are no higher than the 90 % quantile of virtual workers who paste a second sample of the LLM,
        or scores less than 1.645 standard errors above the virtual worker in the same place. Both need two samples.
    quantile : float, default 0.9
        Of the virtual workers, in (0, 1). A lower one flags fewer workers and misses more pasted answers.
    leave_one_out : bool, default False
        Leave the scored worker out of the sign matrix.
    guard : float, default 0.0
        Ignore cells whose difference from independence is below ``guard / sqrt(tasks)``. No gain in our
        benchmark, and a large one wipes out the score: try it in a simulation first.
    renormalise : bool, default False
        Weight strata among those that a worker has answers in.
    ordinal : bool, default False
        Classes are ordered: answers that lie close to each other count as partly alike.
    n_bootstrap : int, default 400
        Replicates for the interval of the threshold. Those of workers are closed forms, see
        :func:`tamis.people.intervals.lowest_intervals`.
    baselines : sequence of str, default ()
        Methods of crowd-kit whose skill of each worker is put beside the score, as ``skill:NAME``; they decide nothing.
        See :data:`tamis.people.baselines.METHODS`; needs ``pip install 'tamis[crowd]'``.
    seed : int, default 0

    Attributes
    ----------
    workers_ : polars.DataFrame
        One row a worker, see :func:`tamis.people.worker_table.worker_table` and
        :func:`tamis.people.decisions.decide_workers`.
    selection_, answer_selection_ : Selection
        Over workers and over answers.
    scores_ : CrowdScores
    references_ : list of Reference
        The virtual workers of each model.
    threshold_ : Reference or None
        The one that decides: the highest. None without a second sample.
    false_alarms_ : FalseAlarms or None
    consensus_ : polars.DataFrame
        Consensus of each task before and after flagged workers are removed, and the value of one more answer.
    before_, after_ : Consensus
    conditions_ : list of Condition
    warnings_ : list of str

    Notes
    -----
    Zhang, Pang, Zhu and Liu, "Evaluating LLM-Contaminated Crowdsourcing Data Without Ground Truth", arXiv 2506.06991,
    NeurIPS 2025. The pair estimator, the exact penalty, the decision rules, intervals and false alarms are ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 200)
    >>> llm = [np.where(rng.random(200) < 0.7, truth, 1 - truth) for _ in range(2)]
    >>> rows = [
    ...     {"task": f"t{t}", "worker": f"w{w}", "label": int(truth[t] if rng.random() < 0.85 else 1 - truth[t])}
    ...     for w in range(6) for t in range(200)
    ... ] + [{"task": f"t{t}", "worker": "pasted", "label": int(llm[1][t])} for t in range(200)]
    >>> labels = [
    ...     {"task": f"t{t}", "sample": s, "label": int(llm[0][t] if rng.random() < 0.9 else 1 - llm[0][t])}
    ...     for s in range(2) for t in range(200)
    ... ]
    >>> found = PeerPrediction().fit(rows, llm=labels)
    >>> found.workers_.sort("score")["worker"][0]
    'pasted'
    """

    def __init__(
        self,
        *,
        fidelity: Literal["product", "paper"] = "product",
        min_answers: int = 30,
        rule: Literal["quantile", "paired"] = "quantile",
        quantile: float = QUANTILE,
        leave_one_out: bool = False,
        guard: float = 0.0,
        renormalise: bool = False,
        ordinal: bool = False,
        n_bootstrap: int = 400,
        baselines: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.fidelity = fidelity
        self.min_answers = min_answers
        self.rule = rule
        self.quantile = quantile
        self.leave_one_out = leave_one_out
        self.guard = guard
        self.renormalise = renormalise
        self.ordinal = ordinal
        self.n_bootstrap = n_bootstrap
        self.baselines = baselines
        self.seed = seed

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        RecipeError
            If one is wrong, or two do not go together.
        """
        name = type(self).__name__
        for parameter, allowed in (("fidelity", ("product", "paper")), ("rule", ("quantile", "paired"))):
            if getattr(self, parameter) not in allowed:
                raise parameter_error(name, parameter, " or ".join(map(repr, allowed)), getattr(self, parameter))
        for parameter, least in (("min_answers", 2), ("n_bootstrap", 40), ("seed", 0)):
            value = getattr(self, parameter)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise parameter_error(name, parameter, f"an int in [{least}, inf)", value)
        if not isinstance(self.quantile, int | float) or not 0 < self.quantile < 1:
            raise parameter_error(name, "quantile", "a float in (0, 1)", self.quantile)
        if not isinstance(self.guard, int | float) or not 0 <= self.guard < np.inf:
            raise parameter_error(name, "guard", "a float in [0, inf)", self.guard)
        if self.fidelity == "paper" and self.guard:
            raise parameter_error(name, "guard", "0 with fidelity='paper', which has no such option", self.guard)
        if not isinstance(self.baselines, list | tuple) or not set(self.baselines) <= set(METHODS):
            raise parameter_error(name, "baselines", f"a list of names among {', '.join(METHODS)}", self.baselines)
        for parameter in ("leave_one_out", "renormalise", "ordinal"):
            value = getattr(self, parameter)
            if not isinstance(value, bool):
                raise parameter_error(name, parameter, "a bool", value)
            if value and self.fidelity == "paper":
                raise parameter_error(name, parameter, "False with fidelity='paper', which has no such option", value)

    @property
    def estimator(self) -> Estimator:
        """How sign matrices and penalties are estimated."""
        if self.fidelity == "paper":
            return Estimator("split", "random")
        return Estimator(leave_one_out=self.leave_one_out, guard=self.guard, ordinal=self.ordinal)

    def fit(self, answers: Any, *, llm: Any = None, progress: Callable[[str, int, int], None] | None = None) -> Self:
        """Score the workers and decide.

        Parameters
        ----------
        answers : Answers, or what :func:`tamis.data.read_answers` reads
            For example a frame with ``task, worker, label``.
        llm : LLMLabels, what :func:`tamis.data.read_llm_labels` reads, or a list of these, optional
            Labels of the same tasks by one or several LLMs, at least two samples of each.
        progress : callable, optional
            Called with (step, done, total).

        Raises
        ------
        RecipeError
            If a parameter is wrong.
        DataError
            If workers cannot be compared: one worker, no task with two raters, all answers equal, nobody with enough
            answers.
        """
        self.validate()
        crowd = answers if isinstance(answers, Answers) else read_answers(answers)
        labels = _labels(llm)
        require_crowd(crowd, min_answers=self.min_answers)
        aligned = None if labels is None else labels.aligned(crowd)
        conditions = [] if aligned is None else Condition.of(aligned)
        tell = progress or (lambda step, done, total: None)
        terms = []
        for index in range(-1, len(conditions)):
            terms.append(score_condition(crowd.codes, conditions, index, estimator=self.estimator, seed=self.seed))
            tell("score", index + 2, len(conditions) + 1)
        return self.settle(crowd, aligned, conditions, terms)

    def crowd_scores(self, terms: Sequence[Terms], conditions: Sequence[Condition]) -> CrowdScores:
        """Average terms to workers' scores; ``terms`` are those of CA, then of each condition."""
        return crowd_scores(
            terms[0],
            terms[1:],
            conditions,
            min_answers=self.min_answers,
            count_all=self.fidelity == "paper",
            renormalise=self.renormalise,
        )

    def settle(
        self,
        answers: Answers,
        aligned: AlignedLabels | None,
        conditions: list[Condition],
        terms: Sequence[Terms],
    ) -> Self:
        """Decide from what was measured: intervals, thresholds, flags, consensus without flagged workers.

        Parameters
        ----------
        answers : Answers
        aligned : AlignedLabels or None
        conditions : list of Condition
        terms : sequence of Terms
            Of CA, then of each condition.
        """
        codes = answers.codes
        scores = self.crowd_scores(terms, conditions)
        require_measured(codes, scores, self.min_answers, answers.table.source.name)
        each = scores.conditioned or (scores.ca,)
        intervals = lowest_intervals(
            np.column_stack([found.score[:, 0] for found in each]),
            np.column_stack([found.se[:, 0] for found in each]),
            scores.used,
        )
        before = Consensus.of(codes)
        rng = np.random.default_rng(derive_seed(self.seed, "references"))
        references = [
            reference(each.model, virtual, rng=rng, quantile=self.quantile, n_bootstrap=self.n_bootstrap)
            for each, virtual in zip(conditions, scores.virtual, strict=True)
        ]
        highest = strictest(references)
        skill = np.full(codes.n_workers, np.nan) if before.model is None else before.model.skill
        z = paired_scores(terms[1:], conditions, scores, min_answers=self.min_answers, renormalise=self.renormalise)
        table = worker_table(answers, conditions, scores, intervals, skill, highest, z)
        threshold = None if highest is None else highest.threshold[0]
        table = table.with_columns(self._baseline_skills(codes))
        workers = decide_workers(table, rule=self.rule, threshold=threshold, min_answers=self.min_answers)
        flagged = workers["action"].is_in(["review", "re-collect"]).fill_null(False).to_numpy()
        self.conditions_, self.scores_, self.references_, self.threshold_ = conditions, scores, references, highest
        self.workers_ = workers
        self.before_ = before
        self.after_ = Consensus.of(codes.only(~flagged[codes.worker])) if flagged.any() else before
        value = value_of_answer(self.after_, ~flagged)
        self.consensus_ = consensus_frame(answers.tasks, answers.classes, before, self.after_, value)
        self.false_alarms_ = self._false_alarms(terms[1:], scores, flagged, before, highest)
        self.selection_ = worker_selection(workers)
        self.answer_selection_ = answer_selection(answers, workers)
        self.warnings_ = [
            *answer_warnings(answers),
            *(order_warnings(answers) if self.ordinal else ()),
            *label_warnings(answers, aligned, conditions),
            *stratum_warnings(codes, conditions),
            *self._flag_warnings(flagged, scores),
        ]
        return self

    def _flag_warnings(self, flagged: NDArray[np.bool_], scores: CrowdScores) -> list[str]:
        expected = None if self.false_alarms_ is None else self.false_alarms_.expected
        return flag_warnings(int(flagged.sum()), int(scores.measured.sum()), expected)

    def _baseline_skills(self, codes: AnswerCodes) -> list[pl.Series]:
        """Skill of each worker by the baselines that were asked for, null where they give none."""
        if not self.baselines:
            return []
        found = crowdkit_baselines(codes, list(self.baselines), seed=self.seed)
        return [pl.Series(f"skill:{name}", found.skill[name], nan_to_null=True) for name in self.baselines]

    def _false_alarms(
        self,
        terms: Sequence[Terms],
        scores: CrowdScores,
        flagged: NDArray[np.bool_],
        before: Consensus,
        highest: Reference | None,
    ) -> FalseAlarms | None:
        """Estimate false alarms where they can be: quantile rule, exact penalty, one confusion matrix a worker."""
        if highest is None or before.model is None or self.rule != "quantile" or self.fidelity == "paper":
            return None
        model = answer_model(terms[0].strata.codes, before.model)
        if model is None:
            return None
        copies = [
            independent_copies(each.strata, model, estimator=self.estimator, renormalise=self.renormalise)
            for each in terms
        ]
        return estimate_false_alarms(copies, scores.used, flagged, scores.measured, highest.threshold[0])

    def fit_predict(self, answers: Any, *, llm: Any = None) -> pl.DataFrame:
        """Fit and return the consensus without flagged workers: ``task, label, confidence``."""
        self.fit(answers, llm=llm)
        return self.consensus_.select("task", label="label_after", confidence="confidence_after")


def _labels(llm: Any) -> LLMLabels | None:
    """LLM labels as they may be given: None, labels, a source, or a list of labels and sources."""
    if llm is None or isinstance(llm, LLMLabels):
        return llm
    several = isinstance(llm, list | tuple) and not all(isinstance(each, Mapping) for each in llm)
    if several:
        return LLMLabels.concat([each if isinstance(each, LLMLabels) else read_llm_labels(each) for each in llm])
    return read_llm_labels(llm)
