"""``Objective``: what the training loop asks of a loss and its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


class Objective(Protocol):
    """A summed loss over n examples, of which the loop takes some at a time.

    Language models, classifiers, distillation and unlearning differ here and nowhere else in training.
    """

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    @property
    def weights(self) -> NDArray[np.float64]:
        """What each example adds to the denominator, shape (n,): its kept tokens for a language model, 1 for a class.

        An example of weight 0 is never trained on.
        """
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, shape (n,): examples of like length share a micro-batch."""
        ...

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the sum of the losses of these examples: a float32 scalar with a gradient.

        It is called under the loop's seed and precision, with the network in training mode and on its device.
        """
        ...
