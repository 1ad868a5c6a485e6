"""World of DS2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tamis.curate import DS2
from tamis.data import Signal, Table, write

from .world import SelectorWorld


class DS2World(SelectorWorld):
    """240 rated records in 16 clusters; three are exact copies of others, rated apart; twelve have no rating."""

    estimator = DS2
    params: ClassVar[dict[str, Any]] = {"budget": 60, "n_bootstrap": 4, "n_restarts": 1}
    small = "tamis.curate.job:BLOCK_SIZE"

    def given(self, *, content_ids: bool = False) -> dict[str, Any]:
        rng = np.random.default_rng(7)
        n, n_clusters = 240, 16
        cluster = rng.integers(0, n_clusters, n)
        vectors = rng.normal(size=(n_clusters, 8))[cluster] + 0.15 * rng.normal(size=(n, 8))
        vectors[[50, 100, 150]] = vectors[[3, 4, 3]]
        truth = rng.integers(1, 6, n_clusters)[cluster]
        ratings = np.where(rng.random(n) < 0.25, rng.integers(1, 6, n), truth).astype(np.float64)
        ratings[::20] = np.nan
        columns = {
            "prompt": [f"question {i}" for i in rng.permutation(n)],
            "response": [f"answer {i}" for i in range(n)],
        }
        if not content_ids:
            columns["id"] = [f"r{i}" for i in rng.permutation(n)]
        table = Table.from_frame(pl.DataFrame(columns))
        signal = Signal.from_frame(pl.DataFrame({"unit_id": table.ids, "value": ratings}), rater="judge")
        return {"table": table, "ratings": signal, "embeddings": vectors.astype(np.float32)}

    def hidden(self, given: dict[str, Any], ids: list[str], status: str) -> dict[str, Any]:
        gone = pl.col("unit_id").is_in(ids)
        frame = given["ratings"].frame.with_columns(
            value=pl.when(~gone).then("value"),
            status=pl.when(gone).then(pl.lit(status)).otherwise(pl.col("status").cast(pl.String)),
        )
        if status == "missing":  # not in the file at all
            frame = frame.filter(~gone)
        return {**given, "ratings": Signal.from_frame(frame)}

    def applied(self, fitted: Any, given: dict[str, Any]) -> tuple[Table, int]:
        return fitted.select().apply(given["table"]), self.params["budget"]

    def untouched(self, fitted: Any) -> dict[str, np.ndarray]:
        return {"rarity": fitted.longtail_, "neighbours": fitted.graph_.idx[fitted.graph_.group]}

    def files(self, folder: Path, given: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        write(given["table"], folder / "pool.jsonl")
        given["ratings"].write(folder / "ratings.parquet")
        np.save(folder / "vectors.npy", given["embeddings"])
        inputs = {"pool": "pool.jsonl", "ratings": "ratings.parquet", "embeddings": "vectors.npy"}
        return {role: str(folder / name) for role, name in inputs.items()}, dict(self.params)
