"""Block influence: how far a layer turns the hidden states that pass through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import parameter_error
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.criteria.flow import layer_flow
from tamis.prune.criteria.order import require_finite
from tamis.prune.criteria.windows import BATCH_WINDOWS, counted_tokens, window_batches

if TYPE_CHECKING:
    from torch import Tensor


def block_influence(
    network: Any,
    windows: NDArray[np.int64],
    *,
    reduction: Literal["token", "flat"] = "token",
    mask: NDArray[np.bool_] | None = None,
    batch_size: int = BATCH_WINDOWS,
) -> NDArray[np.float64]:
    """Return the block influence of each layer; the layer that turns hidden states least is pruned first.

    With ``x`` the input of layer i and ``y`` its output (the last layer's own, not what the final norm makes of it)::

        token:  BI_i = 1 - mean over windows w and tokens t of cos(x[w, t], y[w, t])
        flat:   BI_i = 1 - cos(x, y), each one vector over all windows, tokens and dimensions

    Parameters
    ----------
    network : transformers.PreTrainedModel
    windows : ndarray of int, shape (n, seq_len)
    reduction : {"token", "flat"}, default="token"
        ``token`` is the paper's formula. ``flat`` is what its code computes: a few tokens with a huge norm (attention
        sinks) outweigh all others there, and layers behind them come out as 0 whatever they do.
    mask : ndarray of bool, shape (n, seq_len), optional
        False where padding is.
    batch_size : int, default=4
        Windows that the network reads at a time; the scores do not depend on it.

    Returns
    -------
    ndarray of float64, shape (N,)
        From 0 (unchanged) over 1 (at a right angle) to 2.

    Raises
    ------
    DataError
        If windows or mask are not what they must be, or a score is not finite.
    RecipeError
        If a parameter is wrong, or the layers of this network cannot be measured.

    Notes
    -----
    Men et al., "ShortGPT" (arXiv 2403.03853), equation 1; Lu et al. (arXiv 2411.15558), metric "BI". Sums over the
    dimensions of a token are in float32, all others in float64. ``1 - cos(x, y)`` is computed as
    ``(|x - y|^2 - (|x| - |y|)^2) / (2 |x| |y|)``, which keeps its digits where x and y are almost the same.

    Examples
    --------
    >>> import torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> network = LlamaForCausalLM(config)
    >>> for name, weight in network.model.layers[1].named_parameters():
    ...     if "o_proj" in name or "down_proj" in name:
    ...         _ = torch.nn.init.zeros_(weight)
    >>> scores = block_influence(network, np.array([[3, 4, 5]]))
    >>> bool(scores[0] > 0), float(scores[1])
    (True, 0.0)
    """
    if reduction not in ("token", "flat"):
        raise parameter_error("block_influence", "reduction", "'token' or 'flat'", reduction)
    batches = window_batches("bi", network, windows, batch_size)
    counted = counted_tokens("bi", windows, mask)
    sums = np.zeros((len(decoder_layers(network).layers), 3))  # by layer: of |x - y|^2, |x|^2 and |y|^2
    turned = np.zeros(len(sums))
    for positions in batches:
        here = counted[positions]

        def receive(layer: int, entering: Tensor, leaving: Tensor, here: NDArray[np.bool_] = here) -> None:
            squares = _squares(entering, leaving)[here]
            sums[layer] += squares.sum(axis=0)
            turned[layer] += _turn(squares).sum()

        layer_flow(network, windows[positions], receive, mask=None if mask is None else here)
    scores = turned / counted.sum() if reduction == "token" else _turn(sums)
    return require_finite("bi", scores)


def _squares(entering: Tensor, leaving: Tensor) -> NDArray[np.float64]:
    """``|x - y|^2``, ``|x|^2`` and ``|y|^2`` of each token, shape (B, L, 3)."""
    import torch

    x, y = entering.float(), leaving.float()
    stacked = torch.stack([(vectors * vectors).sum(-1) for vectors in (x - y, x, y)], dim=-1)
    squares: NDArray[np.float64] = stacked.cpu().numpy().astype(np.float64)
    return squares


def _turn(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 - cos(x, y)`` from :func:`_squares`; 0 where x and y are both zero, 1 where only one is."""
    gap, x, y = squares[..., 0], squares[..., 1], squares[..., 2]
    with np.errstate(invalid="ignore"):  # what is no number is refused by the caller, with the layers' names
        product = np.sqrt(x) * np.sqrt(y)
        empty = product == 0
        turn = np.maximum(gap - (np.sqrt(x) - np.sqrt(y)) ** 2, 0.0) / (2 * np.where(empty, 1.0, product))
    return np.where(empty, gap > 0, turn)
