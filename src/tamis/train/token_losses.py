"""Losses of single tokens: what each costs a model, in float32, without the logits of a whole batch in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.train.batches import by_length, micro_batches
from tamis.train.masked_lm import MaskedTokens

BATCH_TOKENS = 4096
"""Tokens of a batch with its padding. Fixed: the last bits of a loss depend on the batch it was computed in."""


def token_losses(
    network: Any, rows: TokenRows, *, where: NDArray[np.bool_] | None = None, batch_tokens: int = BATCH_TOKENS
) -> NDArray[np.float32]:
    """Return what each token costs: ``-log P(t_j | t_0 ... t_(j-1))`` in nats.

    The log-softmax is computed in float32 whatever the dtype of the model. Records of similar length share a batch.
    Only tokens that are asked for go through the head, a few at a time.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        In evaluation mode; see :func:`tamis.models.lm_head.require_split`.
    rows : TokenRows
        T tokens.
    where : ndarray of bool, shape (T,), optional
        Tokens to compute. Default: the response.
    batch_tokens : int
        Tokens of a batch with its padding; one longer record is a batch alone.

    Returns
    -------
    ndarray of float32, shape (T,)
        Index j is the token that is predicted. 0 for tokens not asked for and for the first token of a record; nan
        where the model gives no finite loss.

    Examples
    --------
    >>> import torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> network = LlamaForCausalLM(config).eval()
    >>> rows = TokenRows.from_lists(["a"], [[1, 3, 4]], [[False, False, True]])
    >>> losses = token_losses(network, rows)
    >>> own = torch.log_softmax(network(torch.tensor([[1, 3]])).logits[0, -1], dim=-1)[4]
    >>> losses[:2].tolist(), bool(abs(losses[2] + own.item()) < 1e-5)
    ([0.0, 0.0], True)
    """
    import torch

    wanted = MaskedTokens(rows, rows.response if where is None else where, pad_id=0)
    losses = np.zeros(len(rows.ids), dtype=np.float32)
    with torch.inference_mode():
        order = by_length(np.flatnonzero(wanted.weights), wanted.lengths)
        for positions in micro_batches(order, wanted.lengths, batch_tokens):
            found, _ = wanted.token_losses(network, positions)
            places = rows.places(np.array(positions))
            losses[places[wanted.mask[places]]] = found.float().cpu().numpy()
    losses[~np.isfinite(losses)] = np.nan
    return losses


def held_out_loss(
    network: Any, rows: TokenRows, mask: NDArray[np.bool_], *, batch_tokens: int = BATCH_TOKENS
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the summed loss of each record's tokens in the mask, in nats, and how many there are, both of shape (n,).

    The network is in evaluation mode meanwhile. The mean over all tokens is ``sums.sum() / counts.sum()``.
    """
    training = network.training
    network.eval()
    try:
        losses = token_losses(network, rows, where=mask, batch_tokens=batch_tokens)
    finally:
        network.train(training)
    kept = mask.copy()
    kept[rows.offsets[:-1]] = False
    n = len(rows)
    sums = np.bincount(rows.row_of, weights=np.where(kept, losses, 0.0), minlength=n)
    return sums.astype(np.float64), np.bincount(rows.row_of[kept], minlength=n).astype(np.int64)
