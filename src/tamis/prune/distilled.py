"""Healing by the parent: the loss of kept tokens, mixed with the divergence from what the parent predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.errors import parameter_error
from tamis.models.lm_head import head_logits
from tamis.train.masked_lm import HEAD_TOKENS, MaskedTokens

if TYPE_CHECKING:
    from torch import Tensor


class DistilledTokens(MaskedTokens):
    """``(1 - share) * cross-entropy + share * t^2 * KL(parent || student)`` of answer tokens, summed, in nats.

    Both distributions are softened by the temperature t (Hinton et al., arXiv 1503.02531, section 2). An option of
    ours, not of the paper.

    Parameters
    ----------
    rows, mask, pad_id
        As for :class:`tamis.train.masked_lm.MaskedTokens`.
    parent : transformers.PreTrainedModel
        The uncut model, on the device of the student.
    share : float
        In [0, 1].
    temperature : float
    """

    def __init__(
        self,
        rows: TokenRows,
        mask: NDArray[np.bool_],
        *,
        pad_id: int,
        parent: Any,
        share: float,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(rows, mask, pad_id=pad_id)
        if not 0 <= share <= 1:
            raise parameter_error("DistilledTokens", "share", "a float in [0, 1]", share)
        self.parent, self.share, self.temperature = parent.eval().requires_grad_(False), share, temperature

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the summed mixed loss of these records."""
        import torch

        states, targets, _ = self.states(network, positions)
        with torch.no_grad():
            wanted, _, _ = self.states(self.parent, positions)
        pieces = zip(*(each.split(HEAD_TOKENS) for each in (states, wanted, targets)), strict=True)
        return torch.stack([torch.utils.checkpoint.checkpoint(self._mixed, network, *piece, use_reentrant=False)
                            for piece in pieces]).sum()  # fmt: skip

    def _mixed(self, network: Any, states: Tensor, parents: Tensor, targets: Tensor) -> Tensor:
        import torch
        from torch.nn.functional import cross_entropy, kl_div, log_softmax

        logits = head_logits(network, states).float()
        with torch.no_grad():
            wanted = log_softmax(head_logits(self.parent, parents).float() / self.temperature, dim=-1)
        softened = log_softmax(logits / self.temperature, dim=-1)
        divergence = kl_div(softened, wanted, reduction="sum", log_target=True) * self.temperature**2
        own: Tensor = cross_entropy(logits, targets, reduction="sum")
        return (1 - self.share) * own + self.share * divergence
