"""Pools whose true ratings are known: records in tight clusters, one true rating a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from tamis.data import Table


@dataclass(frozen=True)
class Pool:
    """n records with vectors, true ratings 1-5 and a judge's ratings, a known share of which is wrong."""

    table: Table
    vectors: np.ndarray
    truth: np.ndarray
    ratings: np.ndarray

    def take(self, rows) -> Pool:
        rows = np.asarray(rows)
        return replace(
            self,
            table=self.table.take(rows),
            vectors=self.vectors[rows],
            truth=self.truth[rows],
            ratings=self.ratings[rows],
        )


@pytest.fixture(scope="session")
def make_pool():
    def make(n_clusters=40, per_cluster=15, wrong=0.2, seed=0, d=12):
        rng = np.random.default_rng(seed)
        n = n_clusters * per_cluster
        cluster = np.repeat(np.arange(n_clusters), per_cluster)
        # all cosines stay positive, so that distances lie below 1 as those of sentence embeddings do
        centres = np.abs(rng.normal(size=(n_clusters, d))) + 0.2
        vectors = np.abs(centres[cluster] + 0.02 * rng.normal(size=(n, d))).astype(np.float32)
        truth = (rng.permutation(n_clusters) % 5 + 1)[cluster].astype(np.float64)
        other = (truth - 1 + rng.integers(1, 5, n)) % 5 + 1
        ratings = np.where(rng.random(n) < wrong, other, truth)
        frame = pl.DataFrame(
            {
                "id": [f"r{i:04d}" for i in range(n)],
                "prompt": [f"question {i}" for i in range(n)],
                "response": [f"answer {i} of {c}" for i, c in enumerate(cluster)],
                "group": [f"g{c % 3}" for c in cluster],
            }
        )
        return Pool(Table.from_frame(frame), vectors, truth, ratings)

    return make
