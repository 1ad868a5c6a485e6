"""What a model is to forget, and what it is to keep: positions of labelled examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError
from tamis.train.labelled import LabelledExamples, require_logits


@dataclass(frozen=True, eq=False)
class ForgetSets:
    """Training examples of a classifier, cut into those to forget and those to retain.

    Attributes
    ----------
    examples : LabelledExamples
        All training examples.
    forget, retain : ndarray of int
        Their positions, ascending; each is in one of them.
    n_classes : int
        Of the network's output.
    kind : {"class", "sample"}
        ``"class"`` if no example of a forgotten class is retained: a model trained anew never predicts it then.
    """

    examples: LabelledExamples
    forget: NDArray[np.int64]
    retain: NDArray[np.int64]
    n_classes: int
    kind: str

    @classmethod
    def of(
        cls, network: Any, examples: LabelledExamples, forget: ArrayLike, retain: ArrayLike | None = None
    ) -> ForgetSets:
        """Check a request against the data and the network.

        Parameters
        ----------
        network : torch.nn.Module
            Puts out logits.
        examples : LabelledExamples
        forget : array-like of bool, shape (N,), or of int
            A mask, or positions.
        retain : array-like, optional
            Likewise. Default: all others.

        Raises
        ------
        DataError
            If one is empty, they overlap, a position is none of the data's, or the network does not fit.

        Examples
        --------
        >>> import torch
        >>> examples = LabelledExamples.of(np.eye(4, dtype=np.float32), [0, 0, 1, 1])
        >>> sets = ForgetSets.of(torch.nn.Linear(4, 2), examples, [1])
        >>> sets.retain.tolist(), sets.kind
        ([0, 2, 3], 'sample')
        """
        n = len(examples)
        chosen = _positions("forget", forget, n)
        kept = np.setdiff1d(np.arange(n), chosen) if retain is None else _positions("retain", retain, n)
        if len(both := np.intersect1d(chosen, kept)):
            raise DataError(
                f"{len(both)} examples are to be forgotten and retained, the first at position {both[0]}; leave them "
                "out of one of the two."
            )
        if not len(kept):
            raise DataError(
                f"All {n} examples are to be forgotten, and nothing is left to retain; forget fewer, or start anew "
                "with an untrained model."
            )
        n_classes = require_logits(network, examples)
        return cls(examples, chosen, kept, n_classes, kind_of(examples.labels.numpy(), chosen, kept))

    @property
    def sizes(self) -> tuple[str, int, int]:
        """Kind of the request, and how many examples are retained and forgotten."""
        return self.kind, len(self.retain), len(self.forget)


def kind_of(labels: NDArray[np.int64], forget: NDArray[np.int64], retain: NDArray[np.int64]) -> str:
    """``"class"`` if no retained example has a class of the forgotten ones, else ``"sample"``.

    Examples
    --------
    >>> kind_of(np.array([0, 0, 1]), np.array([2]), np.array([0, 1]))
    'class'
    """
    return "sample" if np.isin(labels[forget], labels[retain]).any() else "class"


def class_positions(labels: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Positions of the examples of a class.

    Raises
    ------
    DataError
        If there is none.

    Examples
    --------
    >>> class_positions(np.array([0, 3, 3]), 3)
    array([1, 2])
    """
    found: NDArray[np.int64] = np.flatnonzero(np.asarray(labels) == wanted)
    if not len(found):
        known = ", ".join(map(str, np.unique(labels)[:20]))
        raise DataError(f"No example has the class {wanted!r}, so there is nothing to forget; the data have {known}.")
    return found


def random_positions(n: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random share of n positions, at least one, ascending.

    Examples
    --------
    >>> len(random_positions(50, 0.1, np.random.default_rng(0)))
    5
    """
    return np.sort(rng.permutation(n)[: max(1, round(share * n))]).astype(np.int64)


def _positions(name: str, given: ArrayLike, n: int) -> NDArray[np.int64]:
    found = np.asarray(given)
    if found.dtype == np.bool_:
        if found.shape != (n,):
            raise DataError(
                f"The mask {name!r} must have one flag for each of the {n} examples. Got shape {found.shape}."
            )
        found = np.flatnonzero(found)
    if not len(found):
        raise DataError(f"No example is to be {'forgotten' if name == 'forget' else 'retained'}; name at least one.")
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise DataError(
            f"The positions {name!r} must be whole numbers, or a mask. Got {found.dtype} of shape {found.shape}."
        )
    if found.min() < 0 or found.max() >= n:
        wrong = found[(found < 0) | (found >= n)][0]
        raise DataError(f"The positions {name!r} name example {wrong}; there are {n}, 0 to {n - 1}.")
    return np.unique(found).astype(np.int64)
