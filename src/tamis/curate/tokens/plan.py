"""What a token run will read and compute, before it begins."""

from __future__ import annotations

from typing import Any

from tamis.curate.tokens.pool import pool_and_warmup
from tamis.curate.tokens.ranking import n_kept
from tamis.curate.tokens.settings import TokenRecipe
from tamis.models.causal_lm import context_length, find_model, load_tokenizer, weights_bytes
from tamis.models.chat_tokens import encode_chats
from tamis.recipe import Recipe

BACKWARD = 2
"""A backward pass costs about two forward passes."""
BASE_BYTES = 700_000_000


def plan_tokens(recipe: Recipe) -> dict[str, Any]:
    """Plan a token run: records, tokens, passes over them, memory. The pool is encoded, no model is run.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    dict
        JSON values. ``forward_tokens`` counts tokens that go forward through a model, a training step as three.

    Raises
    ------
    RecipeError, DataError, MissingExtraError, BackendError
        If the recipe cannot run.
    """
    parts = TokenRecipe.of(recipe)
    settings, training = parts.settings, parts.training
    base = find_model(settings.base)
    reference = None if settings.reference is None else find_model(settings.reference).title
    pool, warm = pool_and_warmup(recipe, settings)
    tokenizer, context = load_tokenizer(base), context_length(base)
    length = settings.max_length if context is None else min(context, settings.max_length)
    encoded = encode_chats(pool.chats(), pool.ids, tokenizer, max_length=length)
    tokens, response = len(encoded.rows.ids), int(encoded.rows.response.sum())
    warm_tokens = 0
    if warm is not None:
        warm_tokens = len(encode_chats(warm.chats(), warm.ids, tokenizer, max_length=length).rows.ids)
    trained = tokens if settings.mode == "self-evolving" else warm_tokens
    scored = 2 * tokens
    return {
        "rows": len(pool),
        "rejected": len(pool.rejects),
        "unencoded": len(encoded.problems),
        "truncated": int(encoded.truncated.sum()),
        "template": encoded.template,
        "mode": settings.mode,
        "base": base.title,
        "reference": reference,
        "warmup": 0 if warm is None else len(warm),
        "tokens": tokens,
        "response_tokens": response,
        "longest": int(encoded.rows.lengths.max(initial=0)),
        "kept": n_kept(float(parts.cleaner.keep), response),
        "forward_tokens": scored + round((1 + BACKWARD) * trained * training.epochs),
        "memory_bytes": BASE_BYTES + (3 if trained else 1) * weights_bytes(base),
    }


def plan_text(plan: dict[str, Any]) -> str:
    """Write a plan for people.

    Parameters
    ----------
    plan : dict
        As :func:`plan_tokens` returns it.
    """
    source = f"reference {plan['reference']}" if plan["reference"] else f"{plan['warmup']} warm-up records"
    if plan["mode"] == "self-evolving":
        source = "references from the slices"
    lines = [
        f"{plan['rows']:,} records, {plan['tokens']:,} tokens, {plan['response_tokens']:,} of them answers; about "
        f"{plan['kept']:,} to keep",
        f"base {plan['base']}, {source}; answers found by: {plan['template']}",
        f"compute  {plan['forward_tokens']:,} tokens forward through the model (a training step counts three times)",
        f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB",
    ]
    if plan["truncated"] or plan["unencoded"]:
        lines.append(f"{plan['truncated']} records will be cut, {plan['unencoded']} cannot be encoded")
    return "\n".join(lines)
