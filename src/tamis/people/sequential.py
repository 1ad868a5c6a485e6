"""Scores while answers arrive: an audit that may be looked at any number of times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tamis.data import Answers, LLMLabels
from tamis.data.answer_columns import long_columns, no_columns
from tamis.data.answer_rows import id_texts
from tamis.data.label_classes import label_texts
from tamis.data.parsed import Parsed
from tamis.data.readers import parse
from tamis.data.source import Source
from tamis.errors import DataError, parameter_error
from tamis.people.checks import require_crowd
from tamis.people.crowd_scores import Condition, CrowdScores, score_condition
from tamis.people.peer import PeerPrediction
from tamis.people.strata import Floats
from tamis.people.virtual import threshold_of

STATES = ("few", "open", "within", "above")
"""Too few answers; not settled yet; within reach of pasted answers; above it."""


def running_half_width(se: Floats, n: Floats, *, tightest: int, level: float = 0.95) -> Floats:
    """Half width of an interval that holds at all times together, not at one time chosen beforehand.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of Statistics 2024,
    Theorem 2.2)::

        se sqrt( 2 (n r + 1) / (n r) log( sqrt(n r + 1) / alpha ) )

    Parameters
    ----------
    se : ndarray
        Standard error of a mean of n terms.
    n : ndarray
    tightest : int
        Answers at which it is narrowest, relative to what is possible: fixes ``r``.
    level : float, default 0.95

    Examples
    --------
    >>> running_half_width(np.array([0.1]), np.array([60.0]), tightest=60).round(3).tolist()
    [0.304]
    """
    alpha = 1 - level
    r = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / tightest
    reach = np.maximum(n, 1) * r
    half: Floats = se * np.sqrt(2 * (reach + 1) / reach * np.log(np.sqrt(reach + 1) / alpha))
    return half


@dataclass(frozen=True, eq=False)
class Look:
    """What is known at one time.

    Attributes
    ----------
    n_answers : int
        Answers so far.
    workers : polars.DataFrame
        ``worker, n_scored, score, low, high, state``, in order of worker; the interval holds at all looks together.
    threshold : float or None
        What pasted answers reach; None without a second sample of an LLM.
    changes : polars.DataFrame
        Rows of ``workers`` whose state is another than at the look before, with ``before`` (null for a new worker).
    waiting : str or None
        Why nothing can be scored yet.
    """

    n_answers: int
    workers: pl.DataFrame
    threshold: float | None
    changes: pl.DataFrame
    waiting: str | None = None


class SequentialPeers:
    """Score workers as their answers arrive.

    Every look scores all answers so far anew, in the way of :class:`PeerPrediction`. The intervals may be looked at as
    often as one likes: over all looks together they miss the expected score of a worker with probability 5 % at most,
    for large numbers of answers, and as long as peers and the sign matrix stay what they are.

    Parameters
    ----------
    llm : LLMLabels, optional
    method : PeerPrediction, optional
        Its ``n_bootstrap`` and ``rule`` have no say.
    task, worker, label : str, optional
        Columns of the answers.
    classes : list of str, optional
    duplicates : str, default "first"
    states : polars.DataFrame, optional
        ``worker, state`` of an earlier session, so that no change is told twice.

    Examples
    --------
    >>> follower = SequentialPeers(method=PeerPrediction(min_answers=2))
    >>> follower.update([{"task": "t1", "worker": "ann", "label": 1}])
    1
    >>> follower.look().waiting
    '1 answers by one worker so far'
    """

    def __init__(
        self,
        llm: LLMLabels | None = None,
        *,
        method: PeerPrediction | None = None,
        task: str | None = None,
        worker: str | None = None,
        label: str | None = None,
        classes: list[str] | None = None,
        duplicates: str = "first",
        states: pl.DataFrame | None = None,
    ) -> None:
        self.llm, self.method = llm, PeerPrediction() if method is None else method
        self.method.validate()
        if duplicates not in ("first", "last"):
            raise parameter_error("SequentialPeers", "duplicates", "'first' or 'last'", duplicates)
        self.columns = {"task": task, "worker": worker, "label": label}
        self.classes, self.duplicates = classes, duplicates
        self.n_rejected = 0
        self.first_reject: str | None = None
        self._parts: list[pl.DataFrame] = []
        self._states = _no_states() if states is None else states.select("worker", "state")

    def update(self, answers: Any) -> int:
        """Add answers; return how many rows were added.

        Parameters
        ----------
        answers : frame, list of dicts, or what a reader parsed
            Task, worker and label of each.

        Raises
        ------
        DataError
            If columns are not found.
        """
        parsed = answers if isinstance(answers, Parsed) else parse(answers)
        frame = parsed.frame
        self.n_rejected += len(parsed.rejects)
        self.first_reject = self.first_reject or parsed.rejects.first
        if not frame.height:
            return 0
        found = long_columns(frame.columns, parsed.source.name, **self.columns)
        if found is None:
            raise no_columns(frame.columns, parsed.source.name)
        is_json = [name in parsed.source.json_columns for name in found]
        texts = [id_texts(frame[found[i]], is_json=is_json[i]) for i in range(2)]
        self._parts.append(
            pl.DataFrame(
                {"task": texts[0], "worker": texts[1], "label": label_texts(frame[found[2]], is_json=is_json[2])}
            )
        )
        return frame.height

    def look(self) -> Look:
        """Score everything so far."""
        n = sum(part.height for part in self._parts)
        try:
            if not n:
                raise DataError("no answers so far")
            answers = Answers.from_frame(
                pl.concat(self._parts),
                duplicates=self.duplicates,
                classes=self.classes,
                source=Source("answers so far"),
            )
            if answers.codes.n_workers < 2:
                raise DataError(f"{n} answers by one worker so far")
            require_crowd(answers)
        except DataError as error:  # more answers may mend it
            nothing = _no_states().with_columns(score=pl.lit(None, dtype=pl.Float64))
            return Look(n, nothing, None, nothing, waiting=str(error))
        conditions = [] if self.llm is None else Condition.of(self.llm.aligned(answers))
        terms = [
            score_condition(answers.codes, conditions, index, estimator=self.method.estimator, seed=self.method.seed)
            for index in range(-1, len(conditions))
        ]
        scores = self.method.crowd_scores(terms, conditions)
        return self._told(answers, scores, threshold_of(scores.virtual, self.method.quantile))

    def _told(self, answers: Answers, scores: CrowdScores, threshold: float | None) -> Look:
        half = running_half_width(scores.se, scores.n_scored.astype(np.float64), tightest=2 * self.method.min_answers)
        frame = pl.DataFrame(
            {
                "worker": answers.workers,
                "n_scored": scores.n_scored,
                "score": scores.score,
                "low": scores.score - half,
                "high": scores.score + half,
            }
        ).with_columns(pl.col("score", "low", "high").fill_nan(None))
        limit = pl.lit(threshold, dtype=pl.Float64)
        workers = frame.with_columns(
            state=pl.when(pl.col("score").is_null())
            .then(pl.lit("few"))
            .when(pl.col("high") <= limit)
            .then(pl.lit("within"))
            .when(pl.col("low") > limit)
            .then(pl.lit("above"))
            .otherwise(pl.lit("open"))
        )
        before = self._states.rename({"state": "before"})
        changes = workers.join(before, on="worker", how="left").filter(
            pl.col("state").ne_missing(pl.col("before").fill_null("few"))
        )
        self._states = workers.select("worker", "state")
        return Look(len(answers), workers, threshold, changes)


def _no_states() -> pl.DataFrame:
    return pl.DataFrame(schema={"worker": pl.String, "state": pl.String})
