"""Taylor scores: by how much the loss changes, to first order, when weights are set to zero."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import parameter_error
from tamis.models.decoder_layers import decoder_layers
from tamis.prune.criteria.flow import evaluation
from tamis.prune.criteria.magnitude import is_weight, require_floating
from tamis.prune.criteria.order import require_finite
from tamis.prune.criteria.windows import BATCH_WINDOWS, predicted_tokens, window_batches

if TYPE_CHECKING:
    from torch import Tensor


def taylor(
    network: Any,
    windows: NDArray[np.int64],
    *,
    absolute: Literal["total", "window"] = "total",
    batch_size: int = BATCH_WINDOWS,
) -> NDArray[np.float64]:
    """Return the Taylor score of each layer; the layer whose weights matter least to the loss is pruned first.

    With L the mean loss over all predicted tokens of all windows, L_w what window w adds to it, and W the weights of a
    layer (see :func:`tamis.prune.criteria.magnitude.is_weight`)::

        total:   sum over W of |W * dL/dW|
        window:  sum over windows w of the sum over W of |W * dL_w/dW|

    Parameters
    ----------
    network : transformers.PreTrainedModel
        Its weights, their gradients and what of it learns are afterwards as they were.
    windows : ndarray of int, shape (n, seq_len)
    absolute : {"total", "window"}, default="total"
        Where the absolute value is taken: ``total`` as in the paper's code, so that what one window wants larger and
        another smaller cancels out; ``window`` so that it does not.
    batch_size : int, default=4
        Windows that the network reads at a time; the scores do not depend on it. With ``window`` it is 1.

    Returns
    -------
    ndarray of float64, shape (N,)

    Raises
    ------
    DataError
        If the windows are not what they must be, or a score is not finite.
    RecipeError
        If a parameter is wrong.

    Notes
    -----
    Lu et al. (arXiv 2411.15558), metric "Taylor", first order. Gradients are summed over batches in float32: 4 bytes a
    weight of the layers with ``total``. With ``window`` no gradient outlives its tensor's turn.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                      num_attention_heads=1, bos_token_id=1, eos_token_id=2)
    >>> network, windows = LlamaForCausalLM(config), np.array([[3, 4, 5], [5, 8, 3]])
    >>> total, window = taylor(network, windows), taylor(network, windows, absolute="window")
    >>> bool((total > 0).all()), bool((total <= window).all()), network.lm_head.weight.requires_grad
    (True, True, True)
    """
    if absolute not in ("total", "window"):
        raise parameter_error("taylor", "absolute", "'total' or 'window'", absolute)
    batches = window_batches("taylor", network, windows, 1 if absolute == "window" else batch_size)
    kept = predicted_tokens(windows)
    weights = [
        [
            weight
            for name, weight in layer.named_parameters()
            if is_weight(name, require_floating("taylor", name, weight))
        ]
        for layer in decoder_layers(network).layers
    ]
    sums: dict[Tensor, Tensor] = {}  # of gradients, or of |W * gradient| of windows

    def take(weight: Tensor) -> None:
        gradient, weight.grad = weight.grad.float(), None
        added = _change(weight, gradient) if absolute == "window" else gradient
        sums[weight] = sums[weight].add_(added) if weight in sums else added

    with _only_these_learn(network, {weight for layer in weights for weight in layer}, take), evaluation(network):
        for positions in batches:
            kept.loss(network, positions.tolist()).backward()
    changes = {weight: total if absolute == "window" else _change(weight, total) for weight, total in sums.items()}
    scores = np.array([sum(float(changes[weight]) for weight in layer if weight in changes) for layer in weights])
    return require_finite("taylor", scores / kept.weights.sum())


def _change(weight: Tensor, gradient: Tensor) -> Tensor:
    """``sum |W * gradient|``, a number; the gradient is used up."""
    return gradient.mul_(weight.detach()).abs_().sum()


@contextmanager
def _only_these_learn(network: Any, weights: Collection[Tensor], take: Callable[[Tensor], None]) -> Iterator[None]:
    """Backward passes give these weights alone a gradient; ``take`` is called with each that has got its own."""
    import torch

    before = [(weight, weight.requires_grad, weight.grad) for weight in network.parameters()]
    with ExitStack() as hooks, torch.enable_grad():
        try:
            for weight, _, _ in before:
                weight.grad = None
                weight.requires_grad_(weight in weights)
            for weight in weights:
                hooks.callback(weight.register_post_accumulate_grad_hook(take).remove)
            yield
        finally:
            for weight, learned, gradient in before:
                weight.requires_grad_(learned)
                weight.grad = gradient
