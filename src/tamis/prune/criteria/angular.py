"""Angular distance across a block of layers, and the contiguous block that turns hidden states least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, RecipeError
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.criteria.flow import layer_flow
from tamis.prune.criteria.order import free_layers
from tamis.prune.criteria.windows import BATCH_WINDOWS, counted_tokens, window_batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AngularBlocks:
    """Blocks of k layers, how far each turns the hidden states, and which one is to go.

    Attributes
    ----------
    start : int
        First layer of the best block.
    distances : ndarray of float64, shape (N - k + 1,)
        Of the block that starts at each layer, from 0 to 1; nan where a layer of it is protected.
    scores : ndarray of float64, shape (N,)
        Of each layer the smallest distance of a block that holds it, so that the k lowest are the best block. A layer
        of another block that is just as good is one float above. Layers that no block holds follow at the end, in
        order: the largest distance and 1, 2, ... more.
    """

    start: int
    distances: NDArray[np.float64]
    scores: NDArray[np.float64]


def angular_block(
    network: Any,
    windows: NDArray[np.int64],
    k: int,
    *,
    allowed: NDArray[np.bool_],
    mask: NDArray[np.bool_] | None = None,
    batch_size: int = BATCH_WINDOWS,
) -> AngularBlocks:
    """Find the block of ``k`` layers in a row that turns the last token of each window least.

    With ``x_l`` the input of layer l at the last token that is no padding (``x_N``: the output of the last layer)::

        distance of the block at l = mean over windows of arccos(cos(x_l, x_(l + k))) / pi

    Parameters
    ----------
    network : transformers.PreTrainedModel
    windows : ndarray of int, shape (n, seq_len)
    k : int
        Layers of a block.
    allowed : ndarray of bool, shape (N,)
        Whether a layer may be pruned.
    mask : ndarray of bool, shape (n, seq_len), optional
        False where padding is.
    batch_size : int, default=4
        Windows that the network reads at a time; the distances do not depend on it.

    Raises
    ------
    DataError
        If windows or mask are not what they must be, or a distance is not finite.
    RecipeError
        If a parameter is wrong, no ``k`` layers in a row are free, or the layers cannot be measured.

    Notes
    -----
    Gromov et al., "The Unreasonable Ineffectiveness of the Deeper Layers" (arXiv 2403.17887), equation 7. Angles are
    computed in float64, as ``2 arctan(|u - v| / |u + v|)`` of the unit vectors, which keeps its digits near 0.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=4,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> allowed = np.array([False, True, True, False])
    >>> found = angular_block(LlamaForCausalLM(config), np.array([[3, 4, 5]]), 2, allowed=allowed)
    >>> found.start, np.isnan(found.distances).tolist(), found.scores.argsort().tolist()
    (1, [True, False, True], [1, 2, 0, 3])
    """
    n = len(decoder_layers(network).layers)
    free_layers("angular_block", allowed, n, k)
    open_blocks = np.array([bool(allowed[start : start + k].all()) for start in range(n - k + 1)])
    if not open_blocks.any():
        raise RecipeError(
            f"The criterion 'angular_block' needs {k} free layers in a row, and the layers "
            f"{np.flatnonzero(~allowed).tolist()} of {n} are protected; prune fewer or protect fewer."
        )
    states = _last_token_states(network, windows, n, mask, batch_size)
    measured = np.array([_angle(states[start], states[start + k]).mean() / np.pi for start in range(n - k + 1)])
    broken = np.flatnonzero(~np.isfinite(measured) & open_blocks)
    if len(broken):
        named = [f"{start}-{start + k - 1}" for start in broken.tolist()]
        raise DataError(
            f"The criterion 'angular_block' gives no finite distance for the layers {', '.join(named)}; compute in "
            "float32 (dtype='float32'), and if that does not help, look for damaged weights."
        )
    distances = np.where(open_blocks, measured, np.nan)
    start = int(np.nanargmin(distances))
    return AngularBlocks(start, distances, _layer_scores(distances, start, n, k))


def _last_token_states(
    network: Any, windows: NDArray[np.int64], n: int, mask: NDArray[np.bool_] | None, batch_size: int
) -> NDArray[np.float64]:
    """Hidden states at the last token of each window: input of each of the n layers, output of the last one.

    Shape (n + 1, windows, H).
    """
    batches = window_batches("angular_block", network, windows, batch_size)
    counted = counted_tokens("angular_block", windows, mask)
    last = windows.shape[1] - 1 - counted[:, ::-1].argmax(axis=1)
    found: list[list[NDArray[np.float64]]] = [[] for _ in range(n + 1)]
    for positions in batches:
        places = np.arange(len(positions)), last[positions]

        def receive(
            layer: int, entering: Tensor, leaving: Tensor, places: tuple[NDArray[np.int64], NDArray[np.int64]] = places
        ) -> None:
            found[layer].append(_rows(entering, places))
            if layer == n - 1:
                found[n].append(_rows(leaving, places))

        layer_flow(network, windows[positions], receive, mask=None if mask is None else counted[positions])
    return np.array([np.concatenate(parts) for parts in found])


def _rows(states: Tensor, places: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = states[places].float().cpu().numpy().astype(np.float64)
    return rows


def _angle(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles between the rows of two matrices, in radians."""
    with np.errstate(invalid="ignore"):  # what is no number is refused by the caller, with the layers' names
        u, v = (rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in (x, y))
    angles: NDArray[np.float64] = 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))
    return angles


def _layer_scores(distances: NDArray[np.float64], start: int, n: int, k: int) -> NDArray[np.float64]:
    """Scores of :class:`AngularBlocks`."""
    held_by = [distances[max(layer - k + 1, 0) : layer + 1] for layer in range(n)]
    scores = np.array([np.min(held[np.isfinite(held)], initial=np.inf) for held in held_by])
    outside = np.ones(n, dtype=np.bool_)
    outside[start : start + k] = False
    scores[outside] = np.maximum(scores[outside], np.nextafter(distances[start], np.inf))
    nowhere = np.flatnonzero(np.isinf(scores))
    scores[nowhere] = np.nanmax(distances) + 1 + np.arange(len(nowhere))
    return scores
