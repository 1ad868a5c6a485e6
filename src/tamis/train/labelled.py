"""Labelled examples of a classifier: in memory as tensors, and what a network makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 512
BATCH_OF_MANY = 64
"""Of models of transformers, an example of which is hundreds of tokens or patches."""
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class LabelledExamples:
    """Inputs of a classifier with their classes.

    Parameters
    ----------
    inputs : Tensor of shape (N, ...) or mapping of str to such
        One tensor is the only argument of the network; a mapping is its keyword arguments, as for models of
        ``transformers`` (``pixel_values``, or ``input_ids`` and ``attention_mask``).
    labels : Tensor of int64, shape (N,)

    Raises
    ------
    DataError
        If lengths differ, or labels are no non-negative whole numbers.

    Examples
    --------
    >>> import torch
    >>> LabelledExamples.of(np.eye(3, dtype=np.float32), [0, 1, 1]).take([2]).labels
    tensor([1])
    """

    inputs: Tensor | Mapping[str, Tensor]
    labels: Tensor

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.labels.ndim != 1 or self.labels.dtype.is_floating_point or self.labels.dtype.is_complex:
            raise DataError(
                f"Labels must be whole numbers, one an example. Got {self.labels.dtype} of shape "
                f"{tuple(self.labels.shape)} instead."
            )
        for name, each in self._tensors().items():
            if len(each) != n:
                raise DataError(f"There are {n} labels, but {len(each)} inputs ({name}).")
        if n and int(self.labels.min()) < 0:
            at = int((self.labels < 0).nonzero()[0])
            raise DataError(
                f"Labels must be classes from 0. Got {int(self.labels[at])} at position {at} instead; leave examples "
                "without a label away."
            )

    @classmethod
    def of(cls, inputs: Any, labels: Any) -> LabelledExamples:
        """Take arrays, lists or tensors.

        Raises
        ------
        DataError
            As above; a label that is no whole number is named.
        """
        import torch

        found = np.asarray(labels)
        if found.dtype.kind == "f" and np.isfinite(found).all() and (found == np.floor(found)).all():
            found = found.astype(np.int64)
        if found.dtype.kind not in "iu":
            raise DataError(f"Labels must be whole numbers from 0, one an example. Got {found.dtype} instead.")
        tensors = (
            {name: torch.as_tensor(each) for name, each in inputs.items()}
            if isinstance(inputs, Mapping)
            else torch.as_tensor(inputs)
        )
        return cls(tensors, torch.as_tensor(found.astype(np.int64)))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> LabelledExamples:
        """Return some of the examples, in the order given."""
        import torch

        at = torch.as_tensor(np.asarray(positions, dtype=np.int64))
        if isinstance(self.inputs, Mapping):
            return LabelledExamples({name: each[at] for name, each in self.inputs.items()}, self.labels[at])
        return LabelledExamples(self.inputs[at], self.labels[at])

    def logits(self, network: Any) -> Tensor:
        """Run the network on all examples at once; shape (N, K)."""
        device = next(network.parameters()).device
        if isinstance(self.inputs, Mapping):
            made = network(**{name: each.to(device) for name, each in without_padding(self.inputs).items()})
        else:
            made = network(self.inputs.to(device))
        logits: Tensor = getattr(made, "logits", made)
        return logits

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self.inputs) if isinstance(self.inputs, Mapping) else {"inputs": self.inputs}


def without_padding(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the last columns of tokens, where ``attention_mask`` is 0 in all rows.

    Examples
    --------
    >>> import torch
    >>> mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    >>> without_padding({"input_ids": torch.arange(6).reshape(2, 3), "attention_mask": mask})["input_ids"].tolist()
    [[0, 1], [3, 4]]
    """
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2 or not mask.any():
        return dict(inputs)
    width = int(mask.any(0).nonzero()[-1]) + 1
    return {name: each[:, :width] if each.shape == mask.shape else each for name, each in inputs.items()}


def logits_of(network: Any, examples: LabelledExamples, *, batch: int | None = None) -> NDArray[np.float32]:
    """Run a network in evaluation mode.

    Parameters
    ----------
    network : torch.nn.Module
        Its modules are in their own modes again afterwards.
    examples : LabelledExamples
    batch : int, optional
        Examples at a time. Default: 512, or 64 where inputs are a mapping.

    Returns
    -------
    ndarray of float32, shape (N, K)
    """
    import torch

    modes = {module: module.training for module in network.modules()}
    network.eval()
    batch = batch or (BATCH_OF_MANY if isinstance(examples.inputs, Mapping) else BATCH)
    with torch.inference_mode():
        parts = [
            examples.take(np.arange(start, min(start + batch, len(examples)))).logits(network).float().cpu().numpy()
            for start in range(0, len(examples), batch)
        ]
    for module, mode in modes.items():
        module.training = mode
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def require_logits(network: Any, examples: LabelledExamples) -> int:
    """Return the number of classes of a network, if it puts out logits and knows all labels.

    Raises
    ------
    DataError
        If its output is no matrix of finite numbers, are probabilities, or a label is no class of it.
    """
    found = logits_of(network, examples.take(np.arange(min(len(examples), BATCH))))
    name = type(network).__name__
    if found.ndim != 2 or found.shape[1] < 2:
        raise DataError(
            f"{name} must put out logits of at least 2 classes an example. Got shape {found.shape} instead."
        )
    if not np.isfinite(found).all():
        raise DataError(f"{name} puts out numbers that are not finite; look at its weights and at the inputs.")
    if found.min() >= 0 and np.abs(found.sum(axis=1) - 1).max() < _ROUNDING:
        raise DataError(
            f"{name} puts out probabilities (they are not negative and add up to 1), and logits are needed; leave its "
            "last softmax away."
        )
    most = int(examples.labels.max()) if len(examples) else 0
    if most >= found.shape[1]:
        at = int((examples.labels >= found.shape[1]).nonzero()[0])
        raise DataError(
            f"{name} has {found.shape[1]} classes, but the label at position {at} is {int(examples.labels[at])}; "
            f"expected 0 to {found.shape[1] - 1}."
        )
    return int(found.shape[1])


class CrossEntropy:
    """Objective: cross-entropy of a classifier on some labelled examples, summed.

    Parameters
    ----------
    examples : LabelledExamples

    Examples
    --------
    >>> CrossEntropy(LabelledExamples.of(np.eye(2), [0, 1])).weights.tolist()
    [1.0, 1.0]
    """

    def __init__(self, examples: LabelledExamples) -> None:
        self.examples = examples
        self.weights: NDArray[np.float64] = np.ones(len(examples))
        self.lengths: NDArray[np.int64] = np.ones(len(examples), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def loss(self, network: Any, positions: Sequence[int]) -> Tensor:
        """Return the summed loss, in nats."""
        import torch

        batch = self.examples.take(positions)
        logits = batch.logits(network).float()
        return torch.nn.functional.cross_entropy(logits, batch.labels.to(logits.device), reduction="sum")
