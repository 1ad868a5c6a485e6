"""``ForgettingPairs``: the loss of UGradSL, of which fine-tuning and gradient ascent are the two ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.forget.adaptive import adaptive_rates, read_by_the_head
from tamis.forget.smoothing import smoothed_cross_entropy
from tamis.train.labelled import LabelledExamples

if TYPE_CHECKING:
    from torch import Tensor


class ForgettingPairs:
    """Descent on retained examples and ascent on forgotten ones, which meet in pairs.

    The loss of n pairs is ``sum of p * l(z_r) - (1 - p) * l(z_f, smoothed by alpha)``; the loop divides it by n.

    Parameters
    ----------
    examples : LabelledExamples
    retain, forget : ndarray of int, shape (n,)
        Pair i is ``retain[i]`` and ``forget[i]``, in the order of the steps (``order="given"``).
    p : float
        Weight of the descent. With 1 forgotten examples are not read (fine-tuning), with 0 retained ones are not
        (gradient ascent).
    alpha : float, default=0
        Smoothing rate.
    ramp : int, default=0
        Pairs over which the rate goes from 0 to ``alpha``.
    adaptive : {"paper", "deniability"}, optional
        Take the rate from the batch's features instead; see :func:`~tamis.forget.adaptive.adaptive_rates`.
    reduction : {"mean", "sum"}, default="mean"
        ``"sum"`` is what the paper writes: the loss of a step is not divided by the number of its pairs.

    Notes
    -----
    Both batches go through the network as one, so that batch normalisation sees the same statistics for both.
    """

    def __init__(
        self,
        examples: LabelledExamples,
        retain: NDArray[np.int64],
        forget: NDArray[np.int64],
        *,
        p: float,
        alpha: float = 0.0,
        ramp: int = 0,
        adaptive: str | None = None,
        reduction: str = "mean",
    ) -> None:
        self.examples, self.retain, self.forget = examples, retain, forget
        self.p, self.alpha, self.ramp, self.adaptive, self.reduction = p, alpha, ramp, adaptive, reduction
        self.weights: NDArray[np.float64] = np.ones(len(retain))
        self.lengths: NDArray[np.int64] = np.ones(len(retain), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.retain)

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the summed loss of these pairs; with ``reduction="sum"`` times their number."""
        import torch

        at = np.asarray(positions, dtype=np.int64)
        both = [pairs[at] for pairs, weight in ((self.retain, self.p), (self.forget, 1 - self.p)) if weight]
        batch = self.examples.take(np.concatenate(both))
        features: list[Tensor] = []
        with read_by_the_head(network, features) if self.adaptive else nullcontext():
            logits = batch.logits(network).float()
        labels = batch.labels.to(logits.device)
        n = len(at) if self.p else 0
        loss = logits.new_zeros(())
        if self.p:
            loss = self.p * torch.nn.functional.cross_entropy(logits[:n], labels[:n], reduction="sum")
        if self.p < 1:
            rate = self._rate(at, features, n)
            loss = loss - (1 - self.p) * smoothed_cross_entropy(logits[n:], labels[n:], rate).sum()
        return loss * len(at) if self.reduction == "sum" else loss

    def _rate(self, at: NDArray[np.int64], features: list[Tensor], n: int) -> float | Tensor:
        if self.adaptive is not None:
            return adaptive_rates(features[0][:n], features[0][n:], direction=self.adaptive)
        return self.alpha * min(1.0, float(at.min()) / self.ramp) if self.ramp else self.alpha
