"""What a curation will read, embed and hold in memory, before it begins."""

from __future__ import annotations

from typing import Any

import polars as pl

from tamis.curate.job import ds2_of, ratings_of
from tamis.data import text_digests
from tamis.models import VectorStore, get_embedder
from tamis.recipe import Recipe
from tamis.recipe.pool import read_pool

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
    ds2 = ds2_of(recipe)
    table = read_pool(recipe)
    ds2.validate(n_rows=len(table))
    signal = ratings_of(recipe, table)
    rated = signal.frame.filter(pl.col("status") == "ok")["unit_id"].n_unique()
    distinct, missing, embedder = 0, 0, None
    if "embeddings" not in recipe.inputs:
        embedder = ds2.embedder
        digests = sorted(set(text_digests(table.texts())))
        distinct = len(digests)
        missing = len(VectorStore.of_model(get_embedder(embedder).fingerprint).missing(digests))
    vectors = len(table) * ASSUMED_WIDTH * FLOAT_BYTES
    return {
        "rows": len(table),
        "rejected": len(table.rejects),
        "raters": signal.raters,
        "rated": rated,
        "budget": ds2.budget,
        "embedder": embedder,
        "texts": distinct,
        "to_embed": missing,
        "memory_bytes": BASE_BYTES + 2 * vectors + len(table) * ds2.graph_neighbors * (FLOAT_BYTES + INDEX_BYTES),
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
