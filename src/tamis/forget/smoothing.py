"""Generalised label smoothing: the loss of UGradSL, and what its rate says about label privacy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tamis.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


def smoothed_targets(labels: Tensor, alpha: float | Tensor, n_classes: int) -> Tensor:
    """Targets ``(1 - alpha) * onehot(y) + alpha / K``, shape (B, K).

    Parameters
    ----------
    labels : Tensor of int64, shape (B,)
    alpha : float or Tensor of shape (B,)
        Above 0 usual label smoothing, 0 one-hot, below 0 negative label smoothing: the true class gets more than 1 and
        every other one less than 0. Rows add up to 1 whatever it is.
    n_classes : int
        K.

    Notes
    -----
    "Label Smoothing Improves Machine Unlearning" (arXiv 2406.07698), generalised label smoothing.

    Examples
    --------
    >>> import torch
    >>> smoothed_targets(torch.tensor([0]), -0.5, 4)
    tensor([[ 1.3750, -0.1250, -0.1250, -0.1250]])
    """
    import torch

    rate = torch.as_tensor(alpha, dtype=torch.float32, device=labels.device).reshape(-1, 1)
    onehot = torch.nn.functional.one_hot(labels, n_classes).float()
    return (1 - rate) * onehot + rate / n_classes


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, alpha: float | Tensor) -> Tensor:
    """Cross-entropy to :func:`smoothed_targets`, in nats, shape (B,), without building them.

    It is ``(1 + (1 - K) / K * alpha) * l(y) + alpha / K * sum of l(y') over all other classes``, with l(y) the
    cross-entropy to class y. For ``alpha < 0`` it has no lower bound.

    Parameters
    ----------
    logits : Tensor of shape (B, K)
    labels : Tensor of int64, shape (B,)
    alpha : float or Tensor of shape (B,)

    Notes
    -----
    The gradient with respect to the logits is ``softmax - targets``. Where the softmax is one-hot on y, ascent lowers
    the true logit at the constant rate ``|alpha| (K - 1) / K`` for alpha < 0; at 0 it is stuck, above 0 it reinforces.

    Examples
    --------
    >>> import torch
    >>> logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    >>> by_targets = -(smoothed_targets(labels, -0.5, 3) * logits.log_softmax(1)).sum(1)
    >>> bool(torch.isclose(smoothed_cross_entropy(logits, labels, -0.5), by_targets).all())
    True
    """
    log_probabilities = logits.log_softmax(1)
    own = log_probabilities.gather(1, labels[:, None])[:, 0]
    return -(1 - alpha) * own - alpha / logits.shape[1] * log_probabilities.sum(1)


def label_privacy(alpha: float, n_classes: int, descent_over_ascent: float) -> float:
    """Epsilon of label-level local differential privacy that the paper's Theorem 3 gives the forget labels.

    ``|log(K / alpha * (1 - g) + 1 - K)|`` with g the weight of descent over that of ascent.

    Parameters
    ----------
    alpha : float
        In [1 - g, 0).
    n_classes : int
        K.
    descent_over_ascent : float
        g > 1; ``p / (1 - p)`` for :class:`~tamis.forget.ugradsl.UGradSL`.

    Raises
    ------
    RecipeError
        If the theorem says nothing of these numbers.

    Notes
    -----
    It is about labels of the forget set, under the theorem's conditions. It is no (epsilon, delta) certificate of
    unlearning.

    Examples
    --------
    >>> round(label_privacy(-0.5, 10, 10), 2), round(label_privacy(-8.9, 10, 10), 2)
    (5.14, 0.11)
    """
    if not descent_over_ascent > 1:
        raise RecipeError(
            f"Theorem 3 needs more weight on descent than on ascent. Got a ratio of {descent_over_ascent}; raise p "
            "above 0.5."
        )
    bound = 1 - descent_over_ascent
    if not bound <= alpha < 0:
        raise RecipeError(f"Theorem 3 holds for alpha in [{bound:g}, 0). Got {alpha} instead.")
    return abs(math.log(n_classes / alpha * bound + 1 - n_classes))
