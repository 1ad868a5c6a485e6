"""The optimiser of the weights that learn, without decay of norms and biases."""

from __future__ import annotations

from typing import Any

from tamis.errors import RecipeError
from tamis.train.schedule import rate_factor
from tamis.train.settings import TrainSettings


def optimizer_of(network: Any, settings: TrainSettings) -> Any:
    """Return AdamW or SGD over the parameters that require a gradient; one-dimensional ones do not decay.

    Raises
    ------
    RecipeError
        If no parameter requires a gradient.
    """
    import torch

    learning = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
    if not learning:
        raise RecipeError("No weight of this network learns (requires_grad); call prepare(network, settings) first.")
    groups = [
        {"params": [pair for pair in learning if pair[1].dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [pair for pair in learning if pair[1].dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def set_learning_rate(optimizer: Any, settings: TrainSettings, step: int, steps: int) -> float:
    """Set the learning rate of a step and return it."""
    rate = settings.learning_rate * rate_factor(settings.schedule, step, steps, warmup=settings.warmup)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
