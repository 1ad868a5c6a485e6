"""``SoftAndHard``: cross-entropy to labels and divergence from a teacher, each with a share of its own per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.train.labelled import LabelledExamples

if TYPE_CHECKING:
    from torch import Tensor


class SoftAndHard:
    """Per example a share of cross-entropy to its label, and a share of divergence from a teacher.

    The loss of example i is ``hard[i] * l(z_i) + soft[i] * KL(teacher_i || network)``; a negative share is ascent.

    Parameters
    ----------
    examples : LabelledExamples
    positions : ndarray of int, shape (n,)
        Which example comes when.
    hard, soft : ndarray of float, shape (n,)
    teacher : Tensor of shape (N, K), optional
        Log-probabilities of the teacher, one row an example.
    """

    def __init__(
        self,
        examples: LabelledExamples,
        positions: NDArray[np.int64],
        *,
        hard: NDArray[np.float64],
        soft: NDArray[np.float64],
        teacher: Tensor | None = None,
    ) -> None:
        self.examples, self.positions, self.hard, self.soft, self.teacher = examples, positions, hard, soft, teacher
        self.weights: NDArray[np.float64] = np.ones(len(positions))
        self.lengths: NDArray[np.int64] = np.ones(len(positions), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the summed loss, in nats."""
        import torch

        at = np.asarray(positions, dtype=np.int64)
        where = self.positions[at]
        batch = self.examples.take(where)
        own = batch.logits(network).float().log_softmax(1)
        hard, soft = (
            torch.as_tensor(share[at], dtype=torch.float32, device=own.device) for share in (self.hard, self.soft)
        )
        loss = -(hard * own.gather(1, batch.labels.to(own.device)[:, None])[:, 0]).sum()
        if self.teacher is not None:
            wanted = self.teacher[torch.as_tensor(where)].to(own.device)
            loss = loss + (soft * (wanted.exp() * (wanted - own)).sum(1)).sum()
        return loss
