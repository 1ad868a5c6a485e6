"""A small grid of UGradSL's parameters, chosen among by held-out examples and never by the model trained anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from tamis.errors import RecipeError
from tamis.forget.forget_sets import ForgetSets
from tamis.forget.forgetter import Forgotten
from tamis.runs import Step, atomic_write_text
from tamis.train.labelled import LabelledExamples, logits_of

ALPHAS = (-0.1, -0.5, -1.0)
DESCENTS = (0.9, 0.97)


def grid(given: Mapping[str, Any], *, rate: float) -> list[dict[str, float]]:
    """Parameters of each point; what is given stays as it is. Rates are the usual one and a third of it.

    Examples
    --------
    >>> len(grid({}, rate=0.015)), grid({"alpha": -0.5, "p": 0.9}, rate=0.015)
    (12, [{'alpha': -0.5, 'p': 0.9, 'learning_rate': 0.005}, {'alpha': -0.5, 'p': 0.9, 'learning_rate': 0.015}])
    """
    axes = {"alpha": ALPHAS, "p": DESCENTS, "learning_rate": (round(rate / 3, 6), rate)}
    values = [[given[name]] if name in given else list(axis) for name, axis in axes.items()]
    return [dict(zip(axes, point, strict=True)) for point in product(*values)]


def swept(
    step: Step,
    points: Sequence[dict[str, float]],
    forget: Callable[[dict[str, float]], Forgotten],
    *,
    progress: Callable[[str, int, int], None] | None,
) -> list[dict[str, Any]]:
    """Try each point, keep what it did, and go on where an interrupted sweep stopped.

    Parameters
    ----------
    step : Step
    points : sequence of dict
    forget : callable
        Forgets with these parameters.
    progress : callable, optional

    Returns
    -------
    list of dict
        The parameters, ``distance`` (of the stop rule; None if the run diverged), ``UA``, ``RA``, ``seconds``,
        ``diverged`` and whether it is ``chosen``: the smallest distance, the first of equal ones.
    """
    rows = []
    for number, point in enumerate(points):
        path = step.folder / f"point-{number:02d}.json"
        if not path.exists():
            done = forget(point)
            row = {**point, "distance": done.distance, "seconds": done.seconds, "diverged": done.diverged,
                   **_accuracies(done.network, done.sets)}  # fmt: skip
            atomic_write_text(path, json.dumps(row) + "\n")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
        if progress is not None:
            progress(step.name, number + 1, len(points))
    if not step.complete:
        step.finish()
    best = chosen(rows)
    return [{**row, "chosen": i == best} for i, row in enumerate(rows)]


def chosen(rows: Sequence[Mapping[str, Any]]) -> int:
    """Index of the row with the smallest distance.

    Raises
    ------
    RecipeError
        If all diverged.

    Examples
    --------
    >>> chosen([{"distance": 2.0}, {"distance": None}, {"distance": 1.0}])
    2
    """
    known = [i for i, row in enumerate(rows) if row["distance"] is not None]
    if not known:
        raise RecipeError("Every point of the sweep diverged; give smaller learning rates, or a p nearer 1.")
    return min(known, key=lambda i: float(rows[i]["distance"]))


def _accuracies(network: Any, sets: ForgetSets) -> dict[str, float]:
    def right(positions: Any) -> float:
        part: LabelledExamples = sets.examples.take(positions)
        return 100 * float(np.mean(logits_of(network, part).argmax(axis=1) == part.labels.numpy()))

    return {"UA": 100 - right(sets.forget), "RA": right(sets.retain)}
