"""What a curation will read, embed and hold in memory, before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.curate.pool import read_pool
from tamis.data import Signal, text_digests
from tamis.models import VectorStore, get_embedder
from tamis.recipe import Recipe

FLOAT_BYTES, INDEX_BYTES = 4, 4
BASE_BYTES = 400_000_000
ASSUMED_WIDTH = 384
"""Width of the vectors where none is known yet: MiniLM's."""


def plan_curation(recipe: Recipe) -> dict[str, Any]:
    """Plan a curation: rows, ratings, texts to embed, share in the cache, memory. Nothing is embedded.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    dict
        JSON values.

    Raises
    ------
    RecipeError, DataError, MissingExtraError
        If the recipe cannot run.
    """
    table = read_pool(recipe)
    given = recipe.inputs.get("ratings")
    signal = Signal.read(Path(given)) if given else Signal.from_column(table, str(recipe.params["ratings"]))
    rated = signal.frame.filter(pl.col("status") == "ok")["unit_id"].n_unique()
    distinct, missing, embedder = 0, 0, None
    if "embeddings" not in recipe.inputs:
        embedder = str(recipe.params.get("embedder", "minilm"))
        digests = sorted(set(text_digests(table.texts())))
        distinct = len(digests)
        missing = len(VectorStore.of_model(get_embedder(embedder).fingerprint).missing(digests))
    k = int(recipe.params.get("graph_neighbors", 40))  # type: ignore[arg-type]
    vectors = len(table) * ASSUMED_WIDTH * FLOAT_BYTES
    return {
        "rows": len(table),
        "rejected": len(table.rejects),
        "raters": signal.raters,
        "rated": rated,
        "budget": recipe.params.get("budget"),
        "embedder": embedder,
        "texts": distinct,
        "to_embed": missing,
        "memory_bytes": BASE_BYTES + 2 * vectors + len(table) * k * (FLOAT_BYTES + INDEX_BYTES),
    }


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_curation` returns it.
    """
    raters = ", ".join(plan["raters"])
    lines = [f"{plan['rows']:,} rows, {plan['rated']:,} of them rated by {raters}; budget {plan['budget']}"]
    if plan["embedder"] is not None:
        lines.append(
            f"embedder {plan['embedder']}: {plan['to_embed']:,} of {plan['texts']:,} distinct texts to embed, "
            "the others are in the cache"
        )
    lines.append(f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB")
    return "\n".join(lines)
