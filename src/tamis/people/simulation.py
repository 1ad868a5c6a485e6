"""How good would this audit be on these answers? Low-effort workers are planted at known rates, and searched for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtrit

from tamis.data import AnswerCodes, Answers, LLMLabels
from tamis.errors import DataError, RecipeError, parameter_error
from tamis.evidence import auroc
from tamis.noise import dawid_skene
from tamis.people.checks import require_crowd
from tamis.people.consensus import Consensus
from tamis.people.crowd_scores import Condition, score_condition
from tamis.people.diagnostics import output_agreement, similarity
from tamis.people.peer import PeerPrediction
from tamis.people.planting import KINDS, plant, simulated_llm
from tamis.people.strata import Floats
from tamis.people.virtual import threshold_of
from tamis.runs import atomic_path, derive_seed

MEASURES = {
    "ca_z": "conditioned score (CA_Z)",
    "ca": "correlated agreement (CA)",
    "skill": "Dawid-Skene skill",
    "oa": "output agreement (OA)",
    "oa_z": "OA where the LLM differs (OA_Z)",
    "unlike": "unlikeness to the LLM",
}
"""What ranks the workers in a simulation, in words."""
UNTOUCHED = "your workers count as untouched, whatever they did: figures are too low where some of them paste"


@dataclass(frozen=True)
class Rates:
    """Shares of workers that are replaced.

    Attributes
    ----------
    llm, random, biased : float
    """

    llm: float = 0.15
    random: float = 0.1
    biased: float = 0.1

    def check(self) -> None:
        """Raise RecipeError unless all lie in [0, 1] and leave somebody untouched."""
        for name in ("llm", "random", "biased"):
            if not 0 <= getattr(self, name) <= 1:
                raise parameter_error("simulate", f"p_{name}", "a float in [0, 1]", getattr(self, name))
        if self.llm + self.random + self.biased >= 1:
            raise RecipeError(
                "The shares p_llm, p_random and p_biased of simulate must leave untouched workers: sum < 1."
            )


@dataclass(frozen=True, eq=False)
class Simulation:
    """What was found over all runs.

    Attributes
    ----------
    runs : polars.DataFrame
        One row a run: the AUROC of untouched against planted workers by each measure of :data:`MEASURES`, and the share
        of each kind that was flagged (``flagged:KIND``, null without a threshold).
    llm : str
        Where the LLM labels came from.
    notes : tuple of str
    """

    runs: pl.DataFrame
    llm: str
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Mean of every column with the 95 % interval of the mean over runs, and its standard deviation."""
        return {name: _mean(self.runs[name].drop_nulls().drop_nans().to_numpy()) for name in self.runs.columns}

    def write(self, path: Path) -> None:
        """Write the runs as CSV, whole or not at all."""
        with atomic_path(path) as temporary:
            self.runs.with_row_index("run").write_csv(temporary)


def _mean(values: Floats) -> dict[str, Any]:
    """Mean of shares with the interval of the mean, None for what is not known."""
    n = len(values)
    if n < 2:
        return {"mean": float(values[0]) if n else None, "low": None, "high": None, "sd": None, "runs": n}
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * sd / n**0.5
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half), "sd": sd, "runs": n}


def check_output(path: Path | None) -> None:
    """Raise RecipeError unless a file can be written there: before the work, not after it."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise RecipeError(
            f"The runs of the simulation cannot be written to {path}: give a file in a folder that exists."
        )


def simulate(
    answers: Answers,
    llm: LLMLabels | None = None,
    *,
    rates: Rates = Rates(),
    runs: int = 30,
    accuracy: float = 0.75,
    flip: float = 0.1,
    method: PeerPrediction | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Simulation:
    """Plant low-effort workers into a crowd and measure how well they are told from the others.

    The workers of the crowd count as untouched, whatever they did: where some of them paste already, figures are too
    low. Scores are conditioned on the first sample of each LLM; virtual workers paste the second; planted workers paste
    the others (or the second, if there are two).

    Parameters
    ----------
    answers : Answers
    llm : LLMLabels, optional
        Without any, an LLM is simulated from the crowd's consensus.
    rates : Rates
    runs : int, default 30
    accuracy, flip : float
        Of the simulated LLM, see :func:`tamis.people.planting.simulated_llm`.
    method : PeerPrediction, optional
    seed : int, default 0
    progress : callable, optional
        Called with (step, runs done, runs).

    Raises
    ------
    RecipeError
        If a parameter is wrong.
    DataError
        If the crowd cannot be scored, or no LLM has a second sample.
    """
    method = PeerPrediction() if method is None else method
    method.validate()
    rates.check()
    if method.rule != "quantile":
        raise parameter_error("simulate", "rule", "'quantile', the rule whose flags it counts", method.rule)
    if runs < 1:
        raise parameter_error("simulate", "runs", "an int in [1, inf)", runs)
    for name, value in (("accuracy", accuracy), ("flip", flip)):
        if not 0 <= value <= 1:
            raise parameter_error("simulate", name, "a float in [0, 1]", value)
    require_crowd(answers, min_answers=method.min_answers)
    codes = answers.codes
    if llm is None:
        truth = Consensus.of(codes).labels
        words = f"simulated, accuracy {accuracy:g}, flip {flip:g}"
        notes: tuple[str, ...] = (
            "the LLM is simulated from the crowd's consensus; give samples of a real one",
            UNTOUCHED,
        )
    else:
        given = Setting.of(Condition.of(llm.aligned(answers)))
        words, notes = given.words, (*given.notes, "the LLM samples are the same in all runs", UNTOUCHED)

    def setting(rng: np.random.Generator) -> Setting:
        if llm is not None:
            return given
        drawn = simulated_llm(truth, codes.n_classes, samples=4, accuracy=accuracy, flip=flip, rng=rng)
        return Setting.of([Condition("simulated", drawn[0], drawn[1:])])

    rows = []
    for run in range(runs):
        rng = np.random.default_rng(derive_seed(seed, "simulate", run))
        rows.append(simulate_once(codes, setting(rng), rates=rates, method=method, rng=rng))
        if progress is not None:
            progress("simulate", run + 1, runs)
    return Simulation(pl.DataFrame(rows, infer_schema_length=None), words, notes)


@dataclass(frozen=True, eq=False)
class Setting:
    """What scores are conditioned on, and what planted workers paste.

    Attributes
    ----------
    conditions : list of Condition
        Each with one further sample at most, for the virtual workers.
    pasted : ndarray of int32, shape (samples, n_tasks)
    words : str
        The models.
    notes : tuple of str
    """

    conditions: list[Condition]
    pasted: NDArray[np.int32]
    words: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, conditions: Sequence[Condition]) -> Setting:
        """Deal the samples of each model: one to condition on, one for the threshold, the others to paste."""
        if not conditions:
            raise DataError("No LLM label is about a task of this crowd; check the task ids, or leave --llm out.")
        dealt, pasted, notes = [], [], []
        for each in conditions:
            dealt.append(Condition(each.model, each.z, each.others[:1]))
            pasted += list(each.others[1:] if len(each.others) > 1 else each.others)
            if len(each.others) == 1:
                notes.append(
                    f"{each.model} has two samples: planted workers paste the one that sets the threshold, so flagged "
                    "shares are too good; give a third"
                )
        if not pasted:
            raise DataError(
                "simulate needs at least two samples of a model, one to condition on and one to paste; "
                f"{conditions[0].model} has one: label the tasks again with it, or leave --llm out to simulate one."
            )
        words = ", ".join(f"{each.model} ({1 + len(each.others)} samples)" for each in conditions)
        return cls(dealt, np.stack(pasted), words, tuple(notes))


def simulate_once(
    codes: AnswerCodes, setting: Setting, *, rates: Rates, method: PeerPrediction, rng: np.random.Generator
) -> dict[str, float | None]:
    """Plant once; return AUROC by measure and flagged shares by kind.

    Parameters
    ----------
    codes : AnswerCodes
    setting : Setting
    rates : Rates
    method : PeerPrediction
    rng : numpy.random.Generator
    """
    planted = plant(codes, setting.pasted, p_llm=rates.llm, p_random=rates.random, p_biased=rates.biased, rng=rng)
    conditions, seed = setting.conditions, int(rng.integers(1 << 31))
    terms = [
        score_condition(planted.codes, conditions, index, estimator=method.estimator, seed=seed)
        for index in range(-1, len(conditions))
    ]
    found, z = method.crowd_scores(terms, conditions), conditions[0].z
    by = {
        "ca_z": found.score,
        "ca": found.ca.score[:, 0],
        "skill": dawid_skene(planted.codes).skill,
        "oa": output_agreement(planted.codes),
        "oa_z": output_agreement(planted.codes, z),
        "unlike": -similarity(planted.codes, z),
    }
    measured, untouched = found.measured, planted.kind == 0
    row: dict[str, float | None] = {name: _auc(by[name], measured, untouched) for name in MEASURES}
    threshold = threshold_of(found.virtual, method.quantile)
    for which, kind in enumerate(KINDS):
        at = measured & (planted.kind == which)
        row[f"flagged:{kind}"] = (
            float((found.score[at] <= threshold).mean()) if threshold is not None and at.any() else None
        )
    return row


def _auc(scores: Floats, measured: NDArray[np.bool_], untouched: NDArray[np.bool_]) -> float | None:
    known = measured & ~np.isnan(scores)
    value = auroc(scores[known], untouched[known])[0]
    return None if np.isnan(value) else float(value)
