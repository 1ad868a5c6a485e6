"""The self-adaptive smoothing rate of UGradSL: from how many retained examples lie close to a forgotten one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tamis.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

DIRECTIONS = ("paper", "deniability")
QUANTILE = 0.1
"""Share of a batch's pairs that count as close; the paper gives neither distance nor threshold."""


def adaptive_rates(retain: Tensor, forget: Tensor, *, direction: str, quantile: float = QUANTILE) -> Tensor:
    """Rate of each forgotten example of a batch, in [-R / F, 0] (paper) or [-1, 0], shape (F,).

    Parameters
    ----------
    retain, forget : Tensor of shape (R, H) and (F, H)
        Penultimate features of the batches.
    direction : {"paper", "deniability"}
        With c_j the number of retained examples closer to example j than the ``quantile`` of all distances of the
        batch: ``"paper"`` is ``-c_j / F``, ``"deniability"`` is ``-(1 - c_j / R)``. The paper's text argues that what
        lies in a dense neighbourhood needs less forgetting, while its formula gives it more.
    quantile : float, default=0.1

    Notes
    -----
    The distance ``(1 - cos) / 2``, the layer and the threshold are our reconstruction. The paper's printed rate is not
    negative; as negative smoothing it has to be.

    Examples
    --------
    >>> import torch
    >>> near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.1]])
    >>> adaptive_rates(near.repeat(4, 1), torch.cat([near, far]), direction="deniability", quantile=0.6)
    tensor([-0., -1.])
    """
    import torch

    cosine = torch.nn.functional.normalize(retain, dim=1) @ torch.nn.functional.normalize(forget, dim=1).T
    distance = (1 - cosine) / 2
    closer = (distance < torch.quantile(distance.flatten(), quantile)).sum(0).to(retain.dtype)
    if direction == "paper":
        return -closer / len(forget)
    return -(1 - closer / len(retain))


@contextmanager
def read_by_the_head(network: Any, features: list[Tensor]) -> Iterator[None]:
    """Collect what the last linear layer of a network reads while the block runs, without gradient.

    Raises
    ------
    DataError
        If it has none.
    """
    import torch

    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        raise DataError(
            f"The adaptive rate reads what the last linear layer of {type(network).__name__} reads, and there is none; "
            "give a number as alpha."
        )
    handle = linear[-1].register_forward_pre_hook(lambda module, args: features.append(args[0].detach().float()))
    try:
        yield
    finally:
        handle.remove()
