"""The one or two trainings of an edit, which a loss that is not finite does not spoil."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.forget.stop_rule import StopRule
from tamis.train.metrics import read_metrics
from tamis.train.objective import Objective
from tamis.train.settings import TrainSettings

if TYPE_CHECKING:
    from tamis.train.loop import Progress

ABOUT = 0.25
"""Points of distance that do not count: one of the four shares that it is the mean of is worse by a point."""


@dataclass(frozen=True)
class Stage:
    """How one training of an edit went.

    Attributes
    ----------
    steps : list of dict
        Lines of its metrics, those before an interruption included.
    reason : str
        Why it ended where it did.
    diverged : bool
        Whether a loss was not finite. The weights are then those of the last evaluation before.
    kept_step : int or None
        Steps after which it had the weights that were kept: 0 if they are those that it began with. None if it
        diverged.
    began, distance : float or None
        From the aim, of the weights that it began with and of those that were kept; None if nothing measured it.
    earlier : float
        Seconds of the steps before an interruption.
    """

    steps: list[dict[str, Any]]
    reason: str
    diverged: bool
    kept_step: int | None
    began: float | None
    distance: float | None
    earlier: float


def train_stage(
    network: Any,
    objective: Objective,
    settings: TrainSettings,
    *,
    name: str,
    rule: StopRule | None,
    asked: bool = True,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Stage:
    """Train a network in place; with ``patience`` in the settings the weights closest to the aim are kept.

    Parameters
    ----------
    network : torch.nn.Module
    objective : Objective
    settings : TrainSettings
    name : str
        For the progress.
    rule : StopRule, optional
        Measures the distance from the aim.
    asked : bool, default=True
        Whether the rule may also end it.
    folder : Path, optional
        For a checkpoint: calling again resumes.
    progress : callable, optional
    """
    from tamis.train.gradient import NotFiniteError
    from tamis.train.loop import train

    last = LastFinite(network, every=settings.eval_every)
    trained, reason = None, ""

    def tell(name: str, done: int, total: int) -> None:
        last.begin()
        if progress is not None:
            progress(name, done, total)

    try:
        trained = train(
            network, objective, settings, folder=folder, on_metrics=last.note, progress=tell, name=name,
            held_out=None if rule is None else rule.distance, stop=rule.reason if rule is not None and asked else None,
        )  # fmt: skip
    except NotFiniteError as error:
        last.put_back()
        reason = str(error)
    steps = last.steps if folder is None else read_metrics(folder)
    earlier = sum(line.get("seconds", 0.0) for line in steps) - sum(line.get("seconds", 0.0) for line in last.steps)
    measured = {} if trained is None else dict(trained.held_out)
    return Stage(
        steps,
        reason if trained is None else trained.stop_reason or f"all {trained.steps} steps were done",
        diverged=trained is None,
        kept_step=None if trained is None else trained.kept_step,
        began=measured.get(0),
        distance=None if trained is None else measured.get(trained.kept_step),
        earlier=earlier,
    )


def train_and_repair(
    network: Any,
    forget: tuple[Objective, TrainSettings],
    repair: tuple[Objective, TrainSettings],
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Stage:
    """Train a network to forget, then on what stays; give back the original weights if neither came closer to the aim.

    Parameters
    ----------
    network : torch.nn.Module
    forget, repair : (Objective, TrainSettings)
        What is minimised, one after the other. The repair is undone if it led away from the aim, or a loss of it was
        not finite.
    folder, progress, **how
        As :func:`train_stage` takes them.

    Returns
    -------
    Stage
        Of both: steps of the repair are counted on and marked.
    """
    from tamis.train.checkpoint import copied, put

    planned = [settings.n_steps(len(objective)) for objective, settings in (forget, repair)]
    parts = [_part_of(progress, after, sum(planned)) for after in (0, planned[0])]
    original = copied(network)
    forgot = train_stage(network, *forget, folder=folder, progress=parts[0], **how)
    if forgot.diverged:
        return forgot
    before = copied(network)
    beside = None if folder is None else folder / "repair"
    done = train_stage(network, *repair, folder=beside, progress=parts[1], asked=False, **how)
    wrong = _what_went_wrong(forgot, done)
    if wrong:
        put(network, before)
        done = replace(done, kept_step=0, distance=forgot.distance)
    both = _joined(forgot, done, f"{len(_done(done))} steps of descent alone{wrong}")
    if both.distance is not None and both.began is not None and both.distance >= both.began:
        put(network, original)
        return replace(both, kept_step=0, distance=both.began)
    return both


def _part_of(progress: Progress | None, after: int, total: int) -> Progress | None:
    return None if progress is None else lambda name, done, _: progress(name, after + done, total)


def _done(stage: Stage) -> list[dict[str, Any]]:
    return [line for line in stage.steps if line["step"]]


def _what_went_wrong(forgot: Stage, repair: Stage) -> str:
    if repair.diverged:
        return ", undone since a loss was not finite"
    if repair.distance is not None and forgot.distance is not None and repair.distance > forgot.distance + ABOUT:
        return ", undone since they led away from the aim"
    return ""


def _joined(forgot: Stage, repair: Stage, words: str) -> Stage:
    before = len(_done(forgot))
    counted_on = [{**line, "step": before + line["step"], "repair": True} for line in _done(repair)]
    return Stage(
        [*forgot.steps, *counted_on],
        f"{forgot.reason}; then {words}",
        diverged=False,
        kept_step=before + repair.kept_step if repair.kept_step else forgot.kept_step,
        began=forgot.began,
        distance=repair.distance,
        earlier=forgot.earlier + repair.earlier,
    )


class LastFinite:
    """The lines of a training's metrics, and the weights of the last evaluation that the loss was finite with.

    Parameters
    ----------
    network : torch.nn.Module
    every : int
        Steps between two evaluations; 0 for none.
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
        if self._every and line["step"] and not line["step"] % self._every:
            self._untried = copied(self._network)

    def put_back(self) -> None:
        """Give the network these weights."""
        from tamis.train.checkpoint import put

        if self._weights is not None:
            put(self._network, self._weights)
