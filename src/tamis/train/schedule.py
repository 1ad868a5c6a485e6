"""The learning rate of each step, as a share of the highest."""

from __future__ import annotations

import math


def rate_factor(schedule: str, step: int, steps: int, *, warmup: float) -> float:
    """Share of the highest learning rate that a step takes.

    Over the first ``ceil(warmup * steps)`` steps it rises in equal increments to 1, with no step wasted at 0. Then,
    with ``p`` the share of the remaining steps that are done, it is ``1 - p`` (linear), ``(1 + cos(pi p)) / 2``
    (cosine) or 1 (constant).

    Parameters
    ----------
    schedule : {"linear", "cosine", "constant"}
    step : int
        Steps done before this one.
    steps : int
        Steps in all.
    warmup : float
        Share of them.

    Examples
    --------
    >>> [rate_factor("linear", step, 6, warmup=0.3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / (steps - rising)
    if schedule == "linear":
        return 1 - done
    return (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else 1.0
