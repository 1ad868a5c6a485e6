"""The rank rule and the vote rule side by side: where they disagree, and which is better where truth is known."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tamis.noise import Agreement, TransitionMatrix, rank_rule, vote_rule


@dataclass(frozen=True)
class RuleScore:
    """How one rule does against known true classes.

    Attributes
    ----------
    f1 : float
        F1 of the flags against the ratings that are wrong.
    precision : float
        Share of replacements (flagged ratings set to their neighbours' vote) that give the true class; NaN if none.
    accuracy_before, accuracy_after : float
        Share of ratings that equal the truth, as rated and after replacement.
    """

    f1: float
    precision: float
    accuracy_before: float
    accuracy_after: float


@dataclass(frozen=True)
class RuleComparison:
    """What each rule flags when asked once, over the whole pool.

    Attributes
    ----------
    n_rated, flagged_rank, flagged_vote, flagged_both : int
    rank, vote, applied : RuleScore or None
        Either rule asked once, every flag replaced by its neighbours' vote; and the correction that this run made, with
        its rounds, threshold and guard. None unless the truth was given.
    """

    n_rated: int
    flagged_rank: int
    flagged_vote: int
    flagged_both: int
    rank: RuleScore | None = None
    vote: RuleScore | None = None
    applied: RuleScore | None = None

    def verdict(self) -> str:
        """Return which rule is better and by how much, or that it was not tested."""
        if self.rank is None or self.vote is None:
            return (
                "Not tested on this data: no true ratings are known. "
                f"Of {self.n_rated} ratings the rank rule flags {self.flagged_rank}, the vote rule "
                f"{self.flagged_vote}, both {self.flagged_both}."
            )
        better, worse = ("rank", "vote") if self.rank.f1 >= self.vote.f1 else ("vote", "rank")
        ours, other = getattr(self, better), getattr(self, worse)
        head = f"the {better} rule is better here" if ours.f1 > other.f1 else "neither rule is better here (rank, vote)"
        return (
            f"Asked once over the pool, without threshold, {head}: F1 {ours.f1:.3f} against {other.f1:.3f}, "
            f"precision of corrections {_decimal(ours.precision)} against {_decimal(other.precision)}, "
            f"accuracy {ours.accuracy_before:.3f} -> {ours.accuracy_after:.3f} against {other.accuracy_after:.3f}."
            + self._made()
        )

    def _made(self) -> str:
        if self.applied is None:
            return ""
        made = self.applied
        return (
            f" The correction that was made: F1 {made.f1:.3f}, precision {_decimal(made.precision)}, "
            f"accuracy {made.accuracy_before:.3f} -> {made.accuracy_after:.3f}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the verdict, ready for JSON: a precision of no corrections is None."""
        found = asdict(self)
        for score in (found["rank"], found["vote"], found["applied"]):
            if score is not None and math.isnan(score["precision"]):
                score["precision"] = None
        return {**found, "verdict": self.verdict()}


def _decimal(value: float) -> str:
    return "none made" if math.isnan(value) else f"{value:.3f}"


def compare_rules(
    observed: np.ndarray,
    agreement: Agreement,
    transition: TransitionMatrix,
    truth: np.ndarray | None = None,
    *,
    curated: np.ndarray | None = None,
) -> RuleComparison:
    """Flag once with each rule and, where ``truth`` (classes, -1 unknown) is given, score both and ``curated``."""
    rated = observed >= 0
    by_rank = rank_rule(observed, agreement.score, transition.T, transition.p, transition.n_classes)
    by_vote = vote_rule(observed, agreement.vote)
    counted = RuleComparison(
        n_rated=int(rated.sum()),
        flagged_rank=int(by_rank.sum()),
        flagged_vote=int(by_vote.sum()),
        flagged_both=int((by_rank & by_vote).sum()),
    )
    if truth is None:
        return counted
    known = rated & (truth >= 0)
    attempts = [(by_rank, agreement.vote), (by_vote, agreement.vote)]
    if curated is not None:
        attempts.append((curated != observed, curated))
    rank, vote, *applied = (
        _score(flag[known], observed[known], instead[known], truth[known]) for flag, instead in attempts
    )
    return replace(counted, rank=rank, vote=vote, applied=applied[0] if applied else None)


def _score(flag: np.ndarray, observed: np.ndarray, vote: np.ndarray, truth: np.ndarray) -> RuleScore:
    wrong = observed != truth
    hits = int((flag & wrong).sum())
    replaced = np.where(flag & (vote >= 0), vote, observed)
    changed = replaced != observed
    return RuleScore(
        f1=2 * hits / max(1, int(flag.sum()) + int(wrong.sum())),
        precision=float((replaced == truth)[changed].mean()) if changed.any() else float("nan"),
        accuracy_before=float((~wrong).mean()),
        accuracy_after=float((replaced == truth).mean()),
    )
