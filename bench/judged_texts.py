"""Rated texts with their neighbour graph, and what a matrix estimated on it says in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pools import embedded

from tamis.data import Table
from tamis.neighbors import NeighborGraph, knn_graph
from tamis.noise import TransitionMatrix, estimate_transition

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class RatedTexts:
    """Distinct texts with their graph, the rows they come from, and which of them answer the same instruction."""

    rows: list[dict[str, Any]]
    graph: NeighborGraph
    instruction: Labels

    def apart(self) -> Labels:
        """Neighbours with answers to the record's own instruction taken out, -1 at the end of a row instead."""
        idx = self.graph.idx.astype(np.int64)
        same = self.instruction[idx] == self.instruction[:, None]
        order = np.argsort(same, axis=1, kind="stable")
        return np.take_along_axis(np.where(same, -1, idx), order, axis=1)

    def sibling_share(self) -> float:
        """Share of first neighbours that answer the same instruction."""
        return float((self.instruction[self.graph.idx[:, 0]] == self.instruction).mean())


def rated_texts(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> RatedTexts:
    """Embed the named columns and build the graph; of exact copies the first row is kept."""
    table = Table.from_records([{name: row[name] for name in columns} for row in rows])
    graph = knn_graph(embedded(table), k=40)
    kept = [rows[i] for i in graph.first]
    _, instruction = np.unique([row["instruction"] for row in kept], return_inverse=True)
    return RatedTexts(kept, graph, instruction.astype(np.int64))


def estimate(labels: Labels, idx: Labels, names: tuple[str, ...], *, draws: int) -> TransitionMatrix:
    """T from neighbours; two classes are a yes or no, more are ordered scores."""
    return estimate_transition(
        labels, idx, len(names), n_bootstrap=draws, class_names=names, ordinal=len(names) > 2, seed=0
    )


def matrix_row(who: str, matrix: TransitionMatrix) -> dict[str, Any]:
    """Verdict, excess agreement and level of a matrix as one row of a table."""
    found = matrix.diagnostics.agreement
    return {
        "labels": who,
        "verdict": matrix.verdict,
        "kappa to 1st neighbour": found.kappa,
        "z": float(found.z or 0.0),
        "prior-weighted diagonal": float(matrix.p @ np.diagonal(matrix.T)),
        "usable classes": " ".join(matrix.class_names[c] for c in matrix.usable_classes) or "none",
        "warnings": len(matrix.warnings()),
    }
