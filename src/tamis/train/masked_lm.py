"""``MaskedTokens``: the loss of a causal language model over the tokens that a mask keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.errors import DataError, parameter_error
from tamis.models.lm_head import head_logits, hidden_states

if TYPE_CHECKING:
    from torch import Tensor

HEAD_TOKENS = 512
"""Tokens whose logits are held at a time: 0.5 GB in float32 for a vocabulary of 262,144."""


class MaskedTokens:
    """Summed cross-entropy, in nats and float32, of the kept tokens of records.

    Parameters
    ----------
    rows : TokenRows
    mask : ndarray of bool, shape (T,)
        Whether the model is trained to predict a token. The first token of a record never is: there is nothing to
        predict it from. A token that is not kept is still read as context.
    pad_id : int
        Any token id; what it stands for is never seen by a token that counts.

    Raises
    ------
    DataError
        If the mask is not one flag a token.
    RecipeError
        If ``pad_id`` is no token id.

    Notes
    -----
    Logits are made for kept tokens only, and what follows the last kept token of a record is not read. Index j of the
    mask is the token being *predicted*, from tokens 0 to j - 1.

    Examples
    --------
    >>> rows = TokenRows.from_lists(["a", "b"], [[5, 6, 7], [5, 8]], [[False, True, True], [False, True]])
    >>> kept = MaskedTokens(rows, np.array([False, True, True, True, False]), pad_id=0)
    >>> kept.weights.tolist(), kept.lengths.tolist()
    ([2.0, 0.0], [2, 1])
    """

    def __init__(self, rows: TokenRows, mask: NDArray[np.bool_], *, pad_id: int) -> None:
        mask = np.asarray(mask)
        if mask.shape != rows.ids.shape or mask.dtype != np.bool_:
            raise DataError(
                f"The mask of MaskedTokens must be one bool for each of the {len(rows.ids)} tokens. "
                f"Got {mask.dtype} of shape {mask.shape} instead."
            )
        if not isinstance(pad_id, int) or pad_id < 0:
            raise parameter_error("MaskedTokens", "pad_id", "a token id, an int >= 0", pad_id)
        self.rows, self.pad_id = rows, pad_id
        self.mask: NDArray[np.bool_] = mask.copy()
        self.mask[rows.offsets[:-1]] = False
        kept = np.flatnonzero(self.mask)
        last = np.zeros(len(rows), dtype=np.int64)
        last[rows.row_of[kept]] = kept - rows.offsets[rows.row_of[kept]]  # ascending, so the last one stays
        self.weights: NDArray[np.float64] = np.bincount(rows.row_of[kept], minlength=len(rows)).astype(np.float64)
        self.lengths: NDArray[np.int64] = np.maximum(last, 1)

    def __len__(self) -> int:
        return len(self.rows)

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the summed loss of the kept tokens of these records; 0 where none is kept."""
        losses, _ = self.token_losses(network, positions)
        return losses.sum()

    def token_losses(
        self, network: Any, positions: Sequence[int] | NDArray[np.int64]
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the loss of each kept token, shape (K,), and whose it is, as an index into ``positions``."""
        states, targets, row = self.states(network, positions)
        return _chunked_losses(network, states, targets), row

    def states(
        self, network: Any, positions: Sequence[int] | NDArray[np.int64]
    ) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
        """Return what the head reads to predict each kept token, shape (K, H), the tokens, and whose they are."""
        import torch

        at: NDArray[np.int64] = np.asarray(positions, dtype=np.int64)
        places = self.rows.places(at)
        kept = self.mask[places]
        places, row = places[kept], np.repeat(np.arange(len(at)), self.rows.lengths[at])[kept]
        column = places - self.rows.offsets[at[row]] - 1
        device = next(network.parameters()).device
        ids = torch.from_numpy(self._read(at)).to(device)
        targets = torch.from_numpy(self.rows.ids[places].astype(np.int64)).to(device)
        states = hidden_states(network, ids)[torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)]
        return states, targets, row

    def _read(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Token ids up to the last kept token, without it, padded on the right, shape (B, L)."""
        lengths = self.lengths[positions]
        column = np.arange(lengths.max())
        places = np.minimum(self.rows.offsets[positions][:, None] + column, len(self.rows.ids) - 1)
        return np.where(column < lengths[:, None], self.rows.ids[places], self.pad_id).astype(np.int64)


def _chunked_losses(network: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each token, shape (K,); if there are many, logits are made anew for the backward pass."""
    import torch
    from torch.utils.checkpoint import checkpoint

    def losses(states: Tensor, wanted: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(head_logits(network, states).float(), wanted, reduction="none")

    if len(hidden) <= HEAD_TOKENS:
        return losses(hidden, targets)
    chunks = zip(hidden.split(HEAD_TOKENS), targets.split(HEAD_TOKENS), strict=True)
    return torch.cat([checkpoint(losses, states, wanted, use_reentrant=False) for states, wanted in chunks])
