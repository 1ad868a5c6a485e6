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
from tamis.forget.stop_rule import StopRule
from tamis.runs.digests import derive_seed
from tamis.train.labelled import LabelledExamples
from tamis.train.metrics import read_metrics
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
        Each step's ``loss``, ``grad_norm`` and ``learning_rate``; ``held_out`` is the stop rule's distance.
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
        from tamis.train.gradient import NotFiniteError
        from tamis.train.loop import train

        import_what_training_imports()
        began = time.perf_counter()
        self.validate()
        sets = ForgetSets.of(network, examples, forget, retain)
        edited = self.start(network, sets)
        objective = self.objective(edited, sets, np.random.default_rng(derive_seed(self.seed, "forget")))
        rule = self._rule(sets, held_out, edited, aim)
        settings = self.settings(sets, len(objective), stops=rule is not None)
        require_batches(edited, settings, len(objective), rows=self.rows_of_an_example())
        last = LastFinite(edited, every=settings.eval_every)
        trained, reason = None, ""

        def tell(name: str, done: int, total: int) -> None:
            last.begin()
            if progress is not None:
                progress(name, done, total)

        try:
            with self.around(edited, sets):
                trained = train(
                    edited, objective, settings, folder=folder, on_metrics=last.note, progress=tell,
                    name=type(self).__name__,
                    held_out=None if rule is None else rule.distance, stop=None if rule is None else rule.reason,
                )  # fmt: skip
        except NotFiniteError as error:
            last.put_back()
            reason = str(error)
        steps = last.steps if folder is None else read_metrics(folder)
        earlier = sum(line.get("seconds", 0.0) for line in steps) - sum(line.get("seconds", 0.0) for line in last.steps)
        return Forgotten(
            edited.eval(),
            sets,
            settings,
            steps,
            reason if trained is None else trained.stop_reason or f"all {trained.steps} steps were done",
            time.perf_counter() - began + earlier,
            diverged=trained is None,
            warnings=(
                *self.warnings(sets),
                *(() if rule is None else rule.warnings),
                *[UNCHANGED] * (trained is not None and not trained.kept_step),
            ),
            distance=None if trained is None else min((value for _, value in trained.held_out), default=None),
        )

    def _rule(
        self, sets: ForgetSets, held_out: LabelledExamples | None, network: Any, aim: float | None
    ) -> StopRule | None:
        if aim is not None and (isinstance(aim, bool) or not isinstance(aim, int | float) or not 0 <= aim <= 1):
            raise parameter_error(type(self).__name__, "aim", "a float in [0, 1] or None", aim)
        return None if held_out is None or not self.stops else StopRule(sets, held_out, network, aim=aim)

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


class LastFinite:
    """The lines of a training's metrics, and the weights of the last evaluation that the loss was finite with.

    Parameters
    ----------
    network : torch.nn.Module
    every : int
        Steps between two evaluations.
    """

    def __init__(self, network: Any, *, every: int) -> None:
        self._network, self._every = network, every
        self._weights: dict[str, Any] | None = None
        self._untried: dict[str, Any] | None = None
        self.steps: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Remember the weights that training begins with, those of a checkpoint if it goes on from one."""
        from tamis.train.checkpoint import copied

        if self._weights is None:
            self._weights = copied(self._network)

    def note(self, line: dict[str, Any]) -> None:
        """Keep a line of metrics; remember the weights where that is due, and keep them once a loss followed."""
        from tamis.train.checkpoint import copied

        self.steps.append(line)
        if self._untried is not None:
            self._weights, self._untried = self._untried, None
        if line["step"] and not line["step"] % self._every:
            self._untried = copied(self._network)

    def put_back(self) -> None:
        """Give the network these weights."""
        from tamis.train.checkpoint import put

        if self._weights is not None:
            put(self._network, self._weights)


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
