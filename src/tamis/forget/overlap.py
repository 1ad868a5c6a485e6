"""Examples that a model was trained on, among those that it is said not to have seen."""

from __future__ import annotations

from collections.abc import Mapping

from tamis.errors import DataError
from tamis.train.labelled import LabelledExamples


def overlap(trained_on: LabelledExamples, others: LabelledExamples, role: str) -> str | None:
    """Say how many of other examples have inputs that were trained on; None if none has.

    Parameters
    ----------
    trained_on, others : LabelledExamples
    role : str
        What the others are.

    Raises
    ------
    DataError
        If all have.

    Examples
    --------
    >>> import numpy as np
    >>> data, more = LabelledExamples.of(np.eye(3), [0, 1, 2]), LabelledExamples.of(np.eye(3)[1:] * [[1], [2]], [1, 2])
    >>> overlap(data, more, "test")
    '1 of 2 test examples are training examples too, so what they say is too good'
    """
    known = set(_rows(trained_on))
    n = sum(row in known for row in _rows(others))
    if n == len(others):
        raise DataError(
            f"All {n} {role} examples are training examples too; give examples that the model was not trained on."
        )
    return (
        f"{n} of {len(others)} {role} examples are training examples too, so what they say is too good" if n else None
    )


def _rows(examples: LabelledExamples) -> list[bytes]:
    """Inputs of each example as bytes, without padding."""
    if not isinstance(examples.inputs, Mapping):
        return [row.tobytes() for row in examples.inputs.numpy()]
    arrays = {name: each.numpy() for name, each in examples.inputs.items()}
    mask = arrays.pop("attention_mask", None)
    return [
        b"".join((each[i] if mask is None else each[i][mask[i] > 0]).tobytes() for each in arrays.values())
        for i in range(len(examples))
    ]
