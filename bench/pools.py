"""Pools with planted truth, and real rated pools, that the benchmarks share."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from data import clustered_unit_vectors
from numpy.typing import NDArray

from tamis.data import Table, read
from tamis.engine import get_engine
from tamis.models import embed_texts, get_embedder

DOLLY = Path(__file__).resolve().parents[1] / "examples" / "dolly.jsonl"
K = 6
"""Classes of the planted scores, 0 (worst) to 5."""
_GOOD_SCORE = {
    "open_qa": 4, "classification": 3, "general_qa": 4, "brainstorming": 5, "information_extraction": 4,
    "closed_qa": 4, "summarization": 5, "creative_writing": 5,
}  # fmt: skip
"""True score of an untouched Dolly row, by category: an assumption of the benchmark, not a judgement of the rows."""
_PLANTED_LOSS = 3


@dataclass(frozen=True)
class PlantedPool:
    """A pool of which the bad rows and the true scores are known.

    Attributes
    ----------
    table : Table
        n rows.
    vectors : ndarray of shape (n, d), float32
        Unit rows.
    truth : ndarray of shape (n,), int64
        True score, 0 to 5; planted rows have 0 to 2, others 3 to 5.
    planted : ndarray of shape (n,), bool
    """

    table: Table
    vectors: NDArray[np.float32]
    truth: NDArray[np.int64]
    planted: NDArray[np.bool_]


def json_rows(path: Path) -> list[dict[str, Any]]:
    """Objects of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def embedded(table: Table) -> NDArray[np.float32]:
    """MiniLM vectors of a table's texts, from the vector cache where they are in it."""

    def progress(_: str, done: int, total: int) -> None:
        if done == total or done % 2048 == 0:
            print(f"embedded {done}/{total}", flush=True)

    return embed_texts(table.texts(), embedder=get_embedder("minilm"), engine=get_engine("inline"), progress=progress)


def shuffled_dolly(seed: int, *, share: float = 0.3, rows: int | None = None) -> PlantedPool:
    """Dolly rows, of which a share carries another row's response; vectors of prompt and response together.

    The true score is that of the row's category, and three less if the response was exchanged. So clusterability holds
    in part: categories are visible to an embedding, an exchanged response hardly is.

    Parameters
    ----------
    seed : int
        Draws the planted rows and who gets whose response.
    share : float
        Share of planted rows.
    rows : int, optional
        Only the first so many rows.
    """
    rng = np.random.default_rng(seed)
    frame = read(DOLLY).frame.head(rows or 10**9)
    records = frame.select("instruction", "input", "output", "category").to_dicts()
    chosen = rng.permutation(len(records))[: round(share * len(records))]
    donors = np.roll(chosen, 1)
    outputs = [record["output"] for record in records]
    planted = np.zeros(len(records), dtype=bool)
    for row, donor in zip(chosen, donors, strict=True):
        records[row]["output"] = outputs[donor]
        planted[row] = outputs[donor] != outputs[row]
    good = np.array([_GOOD_SCORE[record["category"]] for record in records], dtype=np.int64)
    table = Table.from_records([{"id": f"dolly-{i:04d}", **record} for i, record in enumerate(records)])
    return PlantedPool(table, embedded(table), good - _PLANTED_LOSS * planted, planted)


def clustered_pool(seed: int, *, rows: int = 3000, n_clusters: int = 75, share: float = 0.3) -> PlantedPool:
    """Rows around cluster centres, with one true score a cluster: clusterability holds by construction.

    A share of the clusters is planted (scores 0 to 2), the others have 3 to 5.
    """
    rng = np.random.default_rng(seed)
    centres = clustered_unit_vectors(n_clusters, 384, n_clusters, seed)
    cluster = rng.integers(n_clusters, size=rows)
    noise = rng.standard_normal((rows, 384), dtype=np.float32) / np.float32(np.sqrt(384))
    X = np.float32(0.8) * centres[cluster] + np.float32(0.6) * noise
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    bad = np.zeros(n_clusters, dtype=bool)
    bad[rng.permutation(n_clusters)[: round(share * n_clusters)]] = True
    score = rng.integers(3, K, size=n_clusters) - _PLANTED_LOSS * bad
    table = Table.from_records([{"id": f"row-{i:05d}", "text": f"row {i}"} for i in range(rows)])
    return PlantedPool(table, X, score[cluster].astype(np.int64), bad[cluster])
