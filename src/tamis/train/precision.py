"""The device and the number format of a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any

Arithmetic = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which the network computes."""


@contextmanager
def in_precision(network: Any, precision: str, device: Any) -> Iterator[Arithmetic]:
    """Move a network to ``device`` and to a precision; on leaving, each weight gets its own number format back.

    Parameters
    ----------
    network : torch.nn.Module
    precision : {"auto", "float32", "bfloat16"}
        See :class:`~tamis.train.settings.TrainSettings`.
    device : torch.device

    Yields
    ------
    callable
        ``with arithmetic(): ...`` computes in that precision.
    """
    import torch

    narrow = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    network.to(device)
    formats = [
        (each, each.dtype) for each in chain(network.parameters(), network.buffers()) if each.is_floating_point()
    ]
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        # updates of a few thousandths of a weight would be lost in bfloat16, so weights that learn are float32
        if not narrow or any(parameter.requires_grad for parameter in own):
            for each in chain(own, module.buffers(recurse=False)):
                if each.is_floating_point():
                    each.data = each.data.float()
    try:
        yield lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=narrow)
    finally:
        for each, dtype in formats:
            each.grad = None
            each.data = each.data.to(dtype)
