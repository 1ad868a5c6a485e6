"""Baselines that weigh descent on what stays against ascent on what goes: special cases of ``ForgettingPairs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tamis.forget.baselines.baseline import Baseline
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetting_pairs import ForgettingPairs
from tamis.forget.pairing import paired

if TYPE_CHECKING:
    from torch import Tensor


class FineTune(Baseline):
    """Fine-tuning on what stays, and nothing else (FT): catastrophic forgetting has to do the rest."""

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> ForgettingPairs:
        """Cross-entropy of the retained examples."""
        retain, forget = paired(sets.retain, sets.forget, plus=True, epochs=self.epochs_for(*sets.sizes), rng=rng)
        return ForgettingPairs(sets.examples, retain, forget, p=1.0)


class GradientAscent(Baseline):
    """Ascent on the cross-entropy of what goes, and nothing else (GA; Thudi et al., arXiv 2109.13398)."""

    usual_rate: ClassVar[float] = 0.001
    usual_epochs: ClassVar[float] = 5

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> ForgettingPairs:
        """Cross-entropy of the forgotten examples, with the sign turned."""
        retain, forget = paired(sets.retain, sets.forget, plus=False, epochs=self.epochs_for(*sets.sizes), rng=rng)
        return ForgettingPairs(sets.examples, retain, forget, p=0.0)


class NegGradPlus(Baseline):
    """Descent on what stays and ascent on what goes, labels as they are (NegGrad+; arXiv 2302.09880)."""

    descent: ClassVar[float] = 0.95
    usual_epochs: ClassVar[float] = 5

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> ForgettingPairs:
        """Pairs without smoothing; an epoch passes over what stays."""
        retain, forget = paired(sets.retain, sets.forget, plus=True, epochs=self.epochs_for(*sets.sizes), rng=rng)
        return ForgettingPairs(sets.examples, retain, forget, p=self.descent)

    def rows_of_an_example(self) -> int:
        """A pair is two rows."""
        return 2


class SparsePairs(ForgettingPairs):
    """Pairs with a penalty on the sum of absolute weights that falls to 0 over the run.

    Parameters
    ----------
    gamma : float
        Weight of the penalty at the beginning.
    """

    def __init__(self, *args: Any, gamma: float, **more: Any) -> None:
        super().__init__(*args, **more)
        self.gamma = gamma

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the summed loss, penalty included."""
        left = 1 - min(positions) / len(self)
        penalty: Tensor = sum(each.abs().sum() for each in network.parameters() if each.requires_grad)
        return super().loss(network, positions) + len(positions) * self.gamma * left * penalty


class L1Sparse(Baseline):
    """Fine-tuning on what stays with an l1 penalty that falls linearly (Jia et al., arXiv 2304.04934)."""

    gamma: ClassVar[float] = 5e-4

    def objective(self, network: Any, sets: ForgetSets, rng: np.random.Generator) -> SparsePairs:
        """Cross-entropy of the retained examples and the penalty."""
        retain, forget = paired(sets.retain, sets.forget, plus=True, epochs=self.epochs_for(*sets.sizes), rng=rng)
        return SparsePairs(sets.examples, retain, forget, p=1.0, gamma=self.gamma)
