"""Baselines that teach wrong labels for what goes: random labels, on all weights or on salient ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.forget.baselines.baseline import Baseline
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.pairing import cycled
from tamis.forget.soft_and_hard import SoftAndHard
from tamis.train.labelled import BATCH, LabelledExamples


class RandomLabels(Baseline):
    """Train on all examples, with a wrong class at random for those to be forgotten (RL; arXiv 1911.04933)."""

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> SoftAndHard:
        """Cross-entropy, an epoch passing over all examples in random order."""
        import torch

        labels = sets.examples.labels.clone()
        wrong = other_classes(labels[torch.as_tensor(sets.forget)].numpy(), sets.n_classes, rng)
        labels[torch.as_tensor(sets.forget)] = torch.as_tensor(wrong)
        used = np.concatenate([sets.retain, sets.forget])
        positions = used[cycled(len(used), max(1, round(self.epochs_for(*sets.sizes) * len(used))), rng)]
        relabelled = LabelledExamples(sets.examples.inputs, labels)
        return SoftAndHard(relabelled, positions, hard=np.ones(len(positions)), soft=np.zeros(len(positions)))


class SalUn(RandomLabels):
    """Random labels on the weights that matter most for what goes (SalUn; Fan et al., arXiv 2310.12508).

    Only the half of all weights where the loss of the forgotten examples has the largest absolute gradient learns.
    """

    usual_rate: ClassVar[float] = 0.013
    share: ClassVar[float] = 0.5

    def around(self, network: Any, sets: ForgetSets) -> AbstractContextManager[Any]:
        """Gradients of all other weights are 0."""
        return only_salient(network, sets, self.share)


def other_classes(labels: NDArray[np.int64], n_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw for each label one of the other classes.

    Examples
    --------
    >>> bool((other_classes(np.zeros(9, dtype=int), 3, np.random.default_rng(0)) > 0).all())
    True
    """
    return np.asarray((labels + rng.integers(1, n_classes, len(labels))) % n_classes, dtype=np.int64)


@contextmanager
def only_salient(network: Any, sets: ForgetSets, share: float) -> Iterator[None]:
    """Let only the share of the weights learn that matters most for the forgotten examples, while the block runs."""
    import torch

    parameters = [each for each in network.parameters() if each.requires_grad]
    network.eval()
    for start in range(0, len(sets.forget), BATCH):
        batch = sets.examples.take(sets.forget[start : start + BATCH])
        logits = batch.logits(network).float()
        torch.nn.functional.cross_entropy(logits, batch.labels.to(logits.device), reduction="sum").backward()
    size = torch.cat([each.grad.abs().flatten() if each.grad is not None else each.new_zeros(each.numel())
                      for each in parameters])  # fmt: skip
    ranks = size.argsort(descending=True, stable=True)
    salient = torch.zeros_like(size)
    salient[ranks[: round(share * len(size))]] = 1
    masks = [
        mask.view_as(each)
        for mask, each in zip(salient.split([p.numel() for p in parameters]), parameters, strict=True)
    ]
    network.zero_grad()
    hooks = [
        each.register_hook(lambda grad, mask=mask: grad * mask.to(grad.device))
        for each, mask in zip(parameters, masks, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
