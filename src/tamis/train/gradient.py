"""The gradient of one optimiser step, added up over micro-batches and processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tamis.errors import DataError
from tamis.train.batches import MicroBatch
from tamis.train.objective import Objective
from tamis.train.precision import Arithmetic

MOST_NAMED = 20
"""Examples that an error names."""


class NotFiniteError(DataError):
    """A loss or gradient is not finite; the network has the weights of the step before."""


@dataclass(frozen=True)
class StepGradient:
    """What a step's backward passes gave; the gradient itself is in the parameters' ``grad``.

    Attributes
    ----------
    loss : float
        The loss whose gradient it is.
    norm : float
        Length of the gradient, before any clipping.
    """

    loss: float
    norm: float


def accumulate(
    network: Any,
    objective: Objective,
    batches: Sequence[MicroBatch],
    *,
    step: int,
    arithmetic: Arithmetic,
    processes: int = 1,
) -> StepGradient:
    """Run the micro-batches of this process and leave the gradient of the whole step in the parameters.

    Processes may hold different numbers of micro-batches, even none: gradients are added up once at the end, each
    loss having been divided by the denominator of the whole step.

    Parameters
    ----------
    network : torch.nn.Module
    objective : Objective
    batches : sequence of MicroBatch
    step : int
        For the message of an error.
    arithmetic : callable
        See :func:`~tamis.train.precision.in_precision`.
    processes : int

    Raises
    ------
    NotFiniteError
        If a loss or the gradient is not finite, in all processes alike; each names its own examples.
    """
    import torch

    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    losses = torch.zeros(len(batches), device=parameters[0].device)
    for i, batch in enumerate(batches):
        with arithmetic():
            loss = objective.loss(network, batch.positions) / batch.denominator
        loss.backward()
        losses[i] = loss.detach()
    total = losses.sum()
    if processes > 1:
        _add_over_processes(parameters, total)
    norm = torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
    gradient = StepGradient(float(total), float(norm))
    if not (math.isfinite(gradient.loss) and math.isfinite(gradient.norm)):
        raise _not_finite(step, batches, losses.isfinite().tolist(), gradient)
    return gradient


def clip_gradient(network: Any, longest: float | None, norm: float) -> None:
    """Shorten the gradient to ``longest`` if its length ``norm`` is greater; None leaves it."""
    if longest is not None and norm > longest:
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(longest / norm)


def _add_over_processes(parameters: Iterable[Any], total: Any) -> None:
    import torch

    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
    torch.distributed.all_reduce(total)


def _not_finite(
    step: int, batches: Sequence[MicroBatch], finite: Sequence[bool], gradient: StepGradient
) -> NotFiniteError:
    wrong = [batch for batch, fine in zip(batches, finite, strict=True) if not fine]
    rows = [position for batch in wrong or batches for position in batch.positions]
    named = ", ".join(map(str, rows[:MOST_NAMED])) + (f" and {len(rows) - MOST_NAMED} more" * (len(rows) > MOST_NAMED))
    return NotFiniteError(
        f"Training stopped at step {step}: expected a finite loss and gradient on the examples at positions {named}, "
        f"got a loss of {gradient.loss} and a gradient of norm {gradient.norm}; lower the learning rate, set clip, or "
        "look at these examples."
    )
