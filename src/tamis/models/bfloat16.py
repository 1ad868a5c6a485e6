"""What a network would compute in bfloat16, at the speed of float32: many CPUs compute bfloat16 twenty times slower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def in_bfloat16(network: Any) -> Iterator[Any]:
    """Round weights, and what goes into and comes out of every layer, to bfloat16; products stay float32.

    That is what hardware with bfloat16 does: it multiplies rounded numbers and adds the products up in float32.

    Parameters
    ----------
    network : torch.nn.Module
        In float32. Its weights are rounded for good, so give a copy; its layers are as before when the block ends.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.utils.skip_init(torch.nn.Linear, 1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = layer.weight.fill_(1.001)
    >>> with in_bfloat16(layer), torch.no_grad():
    ...     layer(torch.tensor([1.0])).item()
    1.0
    """
    import torch

    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(_rounded(weights))
    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_pre_hook(lambda module, given: _rounded(given)) for module in leaves]
    hooks += [module.register_forward_hook(lambda module, given, out: _rounded(out)) for module in leaves]
    try:
        yield network
    finally:
        for hook in hooks:
            hook.remove()


def _rounded(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(torch.bfloat16).to(value.dtype) if value.dtype == torch.float32 else value
    if isinstance(value, tuple | list):
        return type(value)(_rounded(each) for each in value)
    return value
