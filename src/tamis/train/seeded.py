"""Torch's random numbers under a seed of our own; the caller's generators are put back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def seeded(seed: int, device: Any) -> Iterator[None]:
    """Draw torch's random numbers from ``seed`` within the block, on the CPU and on ``device``.

    Examples
    --------
    >>> import torch
    >>> state = torch.get_rng_state()
    >>> with seeded(1, torch.device("cpu")):
    ...     first = torch.rand(2)
    >>> with seeded(1, torch.device("cpu")):
    ...     torch.equal(first, torch.rand(2))
    True
    >>> torch.equal(state, torch.get_rng_state())
    True
    """
    import torch

    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # torch.manual_seed would move every GPU's generator, not only the one that is put back
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
