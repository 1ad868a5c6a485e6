"""``train``: the one training loop, for any network and any summed loss."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamis.errors import RecipeError
from tamis.runs.digests import derive_seed
from tamis.train.batches import Batches
from tamis.train.checkpoint import Checkpoints, checkpoint_key, copied, put
from tamis.train.gradient import NotFiniteError, accumulate, clip_gradient
from tamis.train.metrics import MetricsStream
from tamis.train.objective import Objective
from tamis.train.optimizer import optimizer_of, set_learning_rate
from tamis.train.precision import Arithmetic, in_precision
from tamis.train.seeded import seeded
from tamis.train.settings import TrainSettings
from tamis.train.trained import Trained

HeldOut = Callable[[Any], float]
StopRule = Callable[[Any, list[Any]], tuple[str | None, Any]]
Progress = Callable[[str, int, int], None]


def train(
    network: Any,
    objective: Objective,
    settings: TrainSettings,
    *,
    folder: Path | None = None,
    held_out: HeldOut | None = None,
    stop: StopRule | None = None,
    progress: Progress | None = None,
    name: str = "train",
    on_metrics: Callable[[dict[str, Any]], None] | None = None,
    tensorboard: bool = False,
) -> Trained:
    """Train a network in place.

    Each step takes ``batch_rows`` examples, cuts them into micro-batches of like length and follows the gradient of
    ``sum of losses / sum of weights`` over all of them. What a step does depends on the settings, the data
    and the step's number alone: a run that was killed goes on from its last checkpoint and ends with the same weights
    (to the bit on a CPU). Torch's own random numbers are neither read nor moved.

    Parameters
    ----------
    network : torch.nn.Module
        Its parameters that require a gradient learn; see :func:`~tamis.train.tuning.prepare` for language models. It is
        moved to the device that accelerate chooses, and left in evaluation mode.
    objective : Objective
    settings : TrainSettings
    folder : Path, optional
        For ``metrics.jsonl`` and the checkpoint. Calling again with the same folder resumes, or returns at once what
        was finished. By default nothing is written.
    held_out : callable, optional
        From the network, in evaluation mode and without gradient, to its loss on examples that are not trained on.
    stop : callable, optional
        From the network, in evaluation mode and without gradient, and the notes that it made before, to the reason to
        stop here, or None, and a note (a JSON value) for later. It is asked every ``settings.eval_every`` steps.
    progress : callable, optional
        Called with (``name``, steps done, steps in all).
    name : str, default "train"
    on_metrics : callable, optional
        Called after each step with its line of ``metrics.jsonl``: ``step`` (steps done), ``loss``, ``learning_rate``,
        ``tokens`` (summed weight of its examples), ``grad_norm`` (before clipping), ``held_out`` when it was evaluated,
        and ``seconds`` (with the evaluation). What was measured before the first step is the line of step 0.
    tensorboard : bool, default False
        Write a TensorBoard log too, in ``folder/tensorboard``.

    Returns
    -------
    Trained

    Raises
    ------
    RecipeError
        If a setting is wrong, or no weight learns.
    DataError
        If no example has any weight, or a loss is not finite (:class:`~tamis.train.gradient.NotFiniteError`).
    RunStateError
        If the folder's checkpoint belongs to other settings, data or weights.
    MissingExtraError
        If TensorBoard is asked for and not installed.

    Notes
    -----
    Started by ``accelerate launch`` on several devices, each takes a share of every step's examples and gradients are
    added up once a step; only the first process writes. The network has to fit on each.

    Examples
    --------
    >>> import numpy as np, torch
    >>> class Classes:
    ...     weights, lengths = np.ones(4), np.ones(4, dtype=int)
    ...     x, y = torch.eye(4), torch.tensor([0, 1, 0, 1])
    ...     def __len__(self):
    ...         return 4
    ...     def loss(self, network, positions):
    ...         return torch.nn.functional.cross_entropy(network(self.x[positions]), self.y[positions], reduction="sum")
    >>> network = torch.nn.utils.skip_init(torch.nn.Linear, 4, 2)
    >>> _ = network.requires_grad_(False).weight.zero_(), network.bias.zero_(), network.requires_grad_(True)
    >>> trained = train(network, Classes(), TrainSettings(steps=20, batch_rows=4, learning_rate=0.1))
    >>> trained.weight, trained.losses[0], trained.losses[-1] < 0.3
    (80.0, 0.69, True)
    """
    from accelerate import Accelerator

    settings.validate()
    if settings.patience and held_out is None:
        raise RecipeError("Early stopping (patience) needs a held-out loss; pass held_out=... or set patience to 0.")
    batches, devices = Batches(objective, settings), Accelerator()
    with in_precision(network, settings.precision, devices.device) as arithmetic:
        loop = _Loop(network, objective, settings, batches, devices, arithmetic, held_out, stop)
        loop.resume(folder)
        after = loop.done.steps or -1
        if devices.is_main_process:
            metrics = MetricsStream(folder, after=after, tensorboard=tensorboard, on_metrics=on_metrics)
        else:
            metrics = MetricsStream(None, after=after)
        try:
            loop.run(metrics.write, progress, name)
        finally:
            metrics.close()
            network.eval()
    return loop.done


class _Loop:
    """The state of a training run, and what changes it."""

    def __init__(
        self,
        network: Any,
        objective: Objective,
        settings: TrainSettings,
        batches: Batches,
        devices: Any,
        arithmetic: Arithmetic,
        held_out: HeldOut | None,
        stop: StopRule | None,
    ) -> None:
        self.network, self.objective, self.settings, self.batches = network, objective, settings, batches
        self.devices, self.arithmetic, self.held_out, self.stop = devices, arithmetic, held_out, stop
        self.optimizer = optimizer_of(network, settings)
        self.checkpoints: Checkpoints | None = None
        self.done = Trained()
        self.best: dict[str, Any] | None = None

    def resume(self, folder: Path | None) -> None:
        """Go back to the folder's checkpoint, if there is one."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoints = Checkpoints(folder, checkpoint_key(self.network, self.batches, self.settings))
        found = self.checkpoints.load(self.network, self.optimizer)
        if found is not None:
            trained, self.best = found
            self.done = Trained.from_json(trained)

    def finished(self) -> bool:
        """Whether no step is left."""
        return self.done.stopped_early or bool(self.done.stop_reason) or self.done.steps == self.batches.steps

    def run(self, write: Callable[[dict[str, Any]], None], progress: Progress | None, name: str) -> None:
        """Do the steps that are left."""
        tell = progress if progress is not None and self.devices.is_main_process else _tell_nobody
        tell(name, self.done.steps, self.batches.steps)
        if not self.finished() and not self.done.steps and self.held_out is not None:
            write({"step": 0, "held_out": self._evaluate(self.held_out)})
        while not self.finished():
            write(self._step())
            if self.finished():
                self._keep_best()
            if self.finished() or _due(self.settings.checkpoint_every, self.done.steps):
                self._save()
            tell(name, self.done.steps, self.batches.steps)

    def _step(self) -> dict[str, Any]:
        """Do one step and return its line of metrics."""
        began = time.monotonic()
        done, step, rank = self.done, self.done.steps, self.devices.process_index
        rate = set_learning_rate(self.optimizer, self.settings, step, self.batches.steps)
        self.network.train()
        with seeded(derive_seed(self.settings.seed, "step", step, rank), self.devices.device):
            gradient = accumulate(
                self.network,
                self.objective,
                self.batches.micro_batches(step, process=rank, processes=self.devices.num_processes),
                step=step + 1,
                arithmetic=self.arithmetic,
                processes=self.devices.num_processes,
            )
        clip_gradient(self.network, self.settings.clip, gradient.norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        weight = self.batches.weight_of(step)
        done.steps = done.kept_step = step + 1
        done.weight += weight
        done.losses.append(gradient.loss)
        line = {"step": done.steps, "loss": gradient.loss, "learning_rate": rate, "tokens": weight}
        line["grad_norm"] = gradient.norm
        last = done.steps == self.batches.steps
        if self.held_out is not None and (last or _due(self.settings.eval_every, done.steps)):
            line["held_out"] = self._evaluate(self.held_out)
        if self.stop is not None and _due(self.settings.eval_every, done.steps):
            self._ask(self.stop)
        line["seconds"] = time.monotonic() - began
        done.seconds += line["seconds"]
        return line

    def _evaluate(self, held_out: HeldOut) -> float:
        """Measure the held-out loss, remember the weights if it is the lowest, and stop if patience ran out."""
        value = float(self._measured(held_out))
        if not math.isfinite(value):
            raise NotFiniteError(
                f"The held-out loss after step {self.done.steps} is {value}; expected a finite number: look at the "
                "held-out examples, or lower the learning rate."
            )
        self.done.held_out.append((self.done.steps, value))
        if self.settings.patience:
            since_best = len(self.done.held_out) - 1 - self.done.best_evaluation
            if not since_best:
                self.best = copied(self.network)
            self.done.stopped_early = since_best >= self.settings.patience
        return value

    def _ask(self, stop: StopRule) -> None:
        """Keep the reason to stop, empty if there is none, and the note."""
        reason, note = self._measured(lambda network: stop(network, self.done.noted))
        self.done.stop_reason = reason or ""
        self.done.noted.append(note)

    def _measured(self, measure: Callable[[Any], Any]) -> Any:
        """What the first device measures: rounding differs between devices, and all have to stop at the same step."""
        import torch
        from accelerate.utils import broadcast_object_list

        self.network.eval()
        with torch.no_grad(), self.arithmetic():
            return broadcast_object_list([measure(self.network)])[0]

    def _keep_best(self) -> None:
        if self.best is not None:
            put(self.network, self.best)
            self.done.kept_step = self.done.held_out[self.done.best_evaluation][0]
            self.best = None

    def _save(self) -> None:
        if self.checkpoints is not None and self.devices.is_main_process:
            self.checkpoints.save(self.network, self.optimizer, self.done.to_json(), best=self.best)


def _due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _tell_nobody(name: str, done: int, total: int) -> None:
    """Show no progress."""
