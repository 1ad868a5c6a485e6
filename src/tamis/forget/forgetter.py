"""What all ways of forgetting share: check the request, train a copy on some objective, stop in time."""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tamis.errors import RecipeError, parameter_error
from tamis.estimator import Estimator
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetting_pairs import ForgettingPairs
from tamis.forget.pairing import cycled
from tamis.forget.stage import train_and_repair, train_stage
from tamis.forget.stop_rule import StopRule
from tamis.runs.digests import derive_seed
from tamis.train.labelled import LabelledExamples
from tamis.train.objective import Objective
from tamis.train.settings import TrainSettings

EVALUATIONS = 8
"""Times that the stop rule is asked, and weights are remembered, over a whole run: each costs as much as some steps."""
CHECKPOINT_STEPS = 50
"""Steps between two checkpoints, at least: on a small network writing one takes as long as many steps."""
UNCHANGED = "no weights came closer to the aim than the original ones, so these were kept: nothing was changed"


@dataclass(frozen=True, eq=False)
class Forgotten:
    """A network that was made to forget.

    Attributes
    ----------
    network : torch.nn.Module
        A changed copy; the one that was given is as it was.
    sets : ForgetSets
    settings : TrainSettings
        Of the training that made it forget.
    steps : list of dict
        Each step's ``loss``, ``grad_norm`` and ``learning_rate``; ``held_out`` is the stop rule's distance, and
        ``repair`` is true where descent alone followed.
    reason : str
        Why it ended where it did.
    seconds : float
        The whole call, masks, teachers and the stop rule included (RTE).
    diverged : bool
        Whether a loss was not finite. The weights are then those of the last evaluation before.
    warnings : tuple of str
        What to be careful about, in sentences.
    distance : float or None
        From the aim by the stop rule, of the weights that were kept; None without held-out examples, or if a loss was
        not finite.
    kept_step : int or None
        Step whose weights were kept; 0 if nothing was changed, None if a loss was not finite.
    """

    network: Any
    sets: ForgetSets
    settings: TrainSettings
    steps: list[dict[str, Any]]
    reason: str
    seconds: float
    diverged: bool
    warnings: tuple[str, ...] = ()
    distance: float | None = None
    kept_step: int | None = None


class Forgetter(Estimator):
    """Base of all ways to forget: ``apply`` trains a copy of the network on the objective of the subclass."""

    learning_rate: float | None
    epochs: float | None
    batch_rows: int
    momentum: float
    weight_decay: float
    clip: float | None
    seed: int
    schedule: str = "constant"
    reduction: str = "mean"
    stops: ClassVar[bool] = True
    """Whether held-out examples tell it when to stop."""

    def apply(
        self,
        network: Any,
        examples: LabelledExamples,
        forget: ArrayLike,
        *,
        retain: ArrayLike | None = None,
        held_out: LabelledExamples | None = None,
        aim: float | None = None,
        folder: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Forgotten:
        """Make a copy of a network forget some of the examples that it was trained on.

        Parameters
        ----------
        network : torch.nn.Module
            A trained classifier that puts out logits. It is not changed.
        examples : LabelledExamples
            What it was trained on.
        forget : array-like of bool or int
            A mask, or positions among the examples.
        retain : array-like of bool or int, optional
            Default: all others.
        held_out : LabelledExamples, optional
            Examples that it was not trained on, for the stop rule. Without them all epochs are done.
        aim : float, optional
            Accuracy, in [0, 1], that a model trained anew would have on what is to be forgotten: about 0 for wrong
            labels. Default: 0 for whole classes, else that on held-out examples.
        folder : Path, optional
            For a checkpoint: calling again resumes.
        progress : callable, optional
            Called with (name, steps done, in all).

        Returns
        -------
        Forgotten

        Raises
        ------
        RecipeError
            If a parameter is wrong.
        DataError
            If the request does not fit the data, or the network is no classifier of it.
        """
        import_what_training_imports()
        began = time.perf_counter()
        self.validate()
        sets = ForgetSets.of(network, examples, forget, retain)
        edited = self.start(network, sets)
        objective = self.objective(edited, sets, np.random.default_rng(derive_seed(self.seed, "forget")))
        repairs = self.repair_epochs(sets.kind) > 0
        rule = self._rule(sets, held_out, edited, aim, repair_follows=repairs)
        settings = self.settings(sets, len(objective), stops=rule is not None and not repairs)
        require_batches(edited, settings, len(objective), rows=self.rows_of_an_example())
        how: dict[str, Any] = {"rule": rule, "name": type(self).__name__, "folder": folder, "progress": progress}
        with self.around(edited, sets):
            if repairs:
                repair = self.repair_objective(sets, np.random.default_rng(derive_seed(self.seed, "repair")))
                settled = replace(self.settings(sets, len(repair), stops=False), eval_every=0)
                require_batches(edited, settled, len(repair), rows=1)
                done = train_and_repair(edited, (objective, settings), (repair, settled), **how)
            else:
                done = train_stage(edited, objective, settings, **how)
        return Forgotten(
            edited.eval(),
            sets,
            settings,
            done.steps,
            done.reason,
            time.perf_counter() - began + done.earlier,
            diverged=done.diverged,
            warnings=(
                *self.warnings(sets),
                *(() if rule is None else rule.warnings),
                *[UNCHANGED] * (done.kept_step == 0),
            ),
            distance=done.distance,
            kept_step=done.kept_step,
        )

    def _rule(
        self,
        sets: ForgetSets,
        held_out: LabelledExamples | None,
        network: Any,
        aim: float | None,
        *,
        repair_follows: bool,
    ) -> StopRule | None:
        if aim is not None and (isinstance(aim, bool) or not isinstance(aim, int | float) or not 0 <= aim <= 1):
            raise parameter_error(type(self).__name__, "aim", "a float in [0, 1] or None", aim)
        if held_out is None or not self.stops:
            return None
        return StopRule(sets, held_out, network, aim=aim, repair_follows=repair_follows)

    def warnings(self, sets: ForgetSets) -> tuple[str, ...]:
        """What to be careful about with these parameters."""
        return ()

    def start(self, network: Any, sets: ForgetSets) -> Any:
        """The network that training begins with: a copy, all of whose weights learn."""
        return copy.deepcopy(network).requires_grad_(True)

    @abstractmethod
    def rate(self, kind: str) -> float:
        """Learning rate for a kind of request where none is given."""

    @abstractmethod
    def passes(self, kind: str, n_retain: int, n_forget: int) -> float:
        """Epochs for a request where none are given."""

    def epochs_for(self, kind: str, n_retain: int, n_forget: int) -> float:
        """Epochs for a request: as given, else the usual ones."""
        return self.passes(kind, n_retain, n_forget) if self.epochs is None else float(self.epochs)

    @abstractmethod
    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> Objective:
        """What is minimised, laid out in the order of the steps."""

    def repair_epochs(self, kind: str) -> float:
        """Epochs of descent alone that follow for a kind of request."""
        return 0.0

    def repair_objective(self, sets: ForgetSets, rng: np.random.Generator) -> ForgettingPairs:
        """Cross-entropy of the retained examples, in whole batches: batch normalisation has no statistics of one."""
        batches = -(-self.repair_epochs(sets.kind) * len(sets.retain) // self.batch_rows)
        retain = sets.retain[cycled(len(sets.retain), int(batches) * self.batch_rows, rng)]
        return ForgettingPairs(sets.examples, retain, retain, p=1.0, reduction=self.reduction)

    def around(self, network: Any, sets: ForgetSets) -> AbstractContextManager[Any]:
        """What holds while it is trained."""
        return nullcontext()

    def rows_of_an_example(self) -> int:
        """Rows that one example of the objective puts through the network."""
        return 1

    def settings(self, sets: ForgetSets, n: int, *, stops: bool) -> TrainSettings:
        """Settings of the training: SGD whose state begins at 0.

        With a stop rule the weights closest to the aim are kept.
        """
        rate = self.rate(sets.kind) if self.learning_rate is None else self.learning_rate
        made = TrainSettings(
            epochs=1.0, batch_rows=self.batch_rows, micro_tokens=self.batch_rows, learning_rate=rate,
            optimizer="sgd", momentum=self.momentum, weight_decay=self.weight_decay, clip=self.clip,
            schedule=self.schedule, warmup=0.0, order="given", tune="full", seed=self.seed, precision="float32",
        )  # fmt: skip
        made.validate()
        return with_stops(made, n, patience=EVALUATIONS * 2 if stops else 0)

    def validate(self) -> None:
        """Check the parameters that all share.

        Raises
        ------
        RecipeError
            If one is wrong.
        """
        name = type(self).__name__
        if self.learning_rate is not None and not _positive(self.learning_rate):
            raise parameter_error(name, "learning_rate", "a float > 0 or None", self.learning_rate)
        if self.epochs is not None and not _positive(self.epochs):
            raise parameter_error(name, "epochs", "a float > 0 or None", self.epochs)


@cache
def import_what_training_imports() -> None:
    """Do once, outside of all clocks, what the first training of a process spends seconds on: a step on one number."""
    import torch

    from tamis.train.labelled import CrossEntropy
    from tamis.train.loop import train

    settings = TrainSettings(steps=1, optimizer="sgd", tune="full", precision="float32")
    with torch.random.fork_rng():
        network = torch.nn.Linear(1, 2)
    train(network, CrossEntropy(LabelledExamples.of(np.ones((2, 1), dtype=np.float32), [0, 1])), settings)


def with_stops(settings: TrainSettings, n: int, *, patience: int = 0) -> TrainSettings:
    """Settings with the evaluations and checkpoints of a run over n examples."""
    every = -(-settings.n_steps(n) // EVALUATIONS)
    return replace(settings, eval_every=every, checkpoint_every=max(every, CHECKPOINT_STEPS), patience=patience)


def require_batches(network: Any, settings: TrainSettings, n: int, *, rows: int) -> None:
    """Raise RecipeError if a batch of one row would go through batch normalisation."""
    import torch

    smallest = (n % settings.batch_rows or settings.batch_rows) * rows
    normed = [name for name, each in network.named_modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)]
    if normed and smallest < 2:
        raise RecipeError(
            f"The last of the batches would have one row, and {type(network).__name__} has batch normalisation "
            f"({normed[0]}), which has no statistics of one; give another batch_rows than {settings.batch_rows}."
        )


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value)) and value > 0
