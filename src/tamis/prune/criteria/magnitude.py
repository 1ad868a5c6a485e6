"""Magnitude: how large the weights of a layer are. It needs no forward pass and no model in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from tamis.errors import DataError, parameter_error

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 1 << 20
"""Numbers that are held in float64 at a time."""
_REDUCTIONS = ("norm_sum", "pow_sum", "concat")


def layer_magnitude(
    tensors: Iterable[tuple[str, Tensor]],
    *,
    reduction: Literal["norm_sum", "pow_sum", "concat"] = "norm_sum",
    p: Literal[1, 2] = 1,
) -> float:
    """Return the magnitude of one layer; the layer with the smallest weights is pruned first.

    With W_1 to W_m the weights of the layer (see :func:`is_weight`)::

        norm_sum:  sum_j (sum |W_j|^p)^(1/p)     the paper's formula
        pow_sum:   sum_j  sum |W_j|^p            what its code computes: for p=2 a sum of squares, without a root
        concat:   (sum_j  sum |W_j|^p)^(1/p)     the norm of all weights as one vector

    Parameters
    ----------
    tensors : iterable of (str, Tensor)
        Names and tensors of the layer, of any floating-point dtype. They are taken one at a time, so that a generator
        that reads them from a file never holds more than one.
    reduction : {"norm_sum", "pow_sum", "concat"}, default="norm_sum"
    p : {1, 2}, default=1

    Returns
    -------
    float
        Summed in float64; nan if a weight is not finite.

    Raises
    ------
    DataError
        If no tensor is a weight, or one is no floating-point tensor.
    RecipeError
        If a parameter is wrong.

    Notes
    -----
    Lu et al. (arXiv 2411.15558), metrics "Magnitude-l1" and "Magnitude-l2". With p=2, ``norm_sum`` depends on how a
    family cuts its weights into tensors: query, key and value in one, the experts in one; the others do not.

    Examples
    --------
    >>> import torch
    >>> layer = [("mlp.weight", torch.tensor([3.0, -4.0])), ("norm.weight", torch.ones(4)), ("mlp.bias", torch.ones(2))]
    >>> layer_magnitude(layer), layer_magnitude(layer, p=2), layer_magnitude(layer, reduction="pow_sum", p=2)
    (11.0, 7.0, 29.0)
    """
    if reduction not in _REDUCTIONS:
        raise parameter_error("layer_magnitude", "reduction", f"one of {', '.join(map(repr, _REDUCTIONS))}", reduction)
    if p not in (1, 2):
        raise parameter_error("layer_magnitude", "p", "1 or 2", p)
    powers = [
        _power_sum(tensor, p)
        for name, tensor in tensors
        if is_weight(name, require_floating("magnitude", name, tensor))
    ]
    if not powers:
        raise DataError("The criterion 'magnitude' finds no weight in a layer; give the tensors of one layer by name.")
    if reduction == "norm_sum":
        return math.fsum(power ** (1 / p) for power in powers)
    total = math.fsum(powers)
    return total ** (1 / p) if reduction == "concat" else total


def is_weight(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor of a layer counts for magnitude and Taylor scores.

    It does if "weight" is in its name and "embed_tokens" is not, as in the paper's code: weights of norms count, biases
    do not. So do matrices of another name, such as the experts that transformers keeps in one tensor.

    Examples
    --------
    >>> import torch
    >>> vector, matrix = torch.ones(2), torch.ones(2, 2)
    >>> is_weight("input_layernorm.weight", vector), is_weight("mlp.experts.down_proj", matrix)
    (True, True)
    >>> is_weight("attn.bias", vector), is_weight("mlp.experts.down_proj_bias", matrix)
    (False, False)
    """
    if "bias" in name.rpartition(".")[2] or "embed_tokens" in name:
        return False
    return "weight" in name or tensor.dim() > 1


def require_floating(criterion: str, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor of floating-point numbers; raise DataError for one of a quantised model."""
    if not tensor.is_floating_point():
        raise DataError(
            f"The criterion {criterion!r} needs floating-point weights, and {name!r} is {tensor.dtype}; use the model "
            "before it was quantised."
        )
    return tensor


def _power_sum(tensor: Tensor, p: int) -> float:
    """``sum |w|^p``; nan if it is not finite."""
    sums = [float(chunk.double().abs().pow(p).sum()) for chunk in tensor.detach().reshape(-1).split(_CHUNK)]
    return math.fsum(sums) if all(map(math.isfinite, sums)) else math.nan
