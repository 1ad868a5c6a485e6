"""Why a run decided as it did about the tokens of one record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tamis.curate.tokens.token_classes import token_texts
from tamis.errors import BackendError, RecipeError
from tamis.models.causal_lm import find_model, load_tokenizer
from tamis.runs import Run
from tamis.select.decided import decided

SHOWN = 8


def explain(folder: str | Path, unit_id: str) -> dict[str, Any]:
    """Decision about a record, and text, score and decision of each of its tokens.

    Parameters
    ----------
    folder : str or Path
        Run directory.
    unit_id : str
        Id of the record, or a beginning of it that no other id shares.

    Raises
    ------
    DataError, RunStateError
        See :func:`tamis.select.decided.decided`.
    """
    row, tokens = decided(folder, unit_id, step="decide")
    own = tokens.filter(pl.col("unit_id") == row["unit_id"])
    if own.is_empty():  # it could not be encoded
        return {**row, "tokens": []}
    ids, response, keep, score = (own[name][0].to_list() for name in ("input_ids", "response", "keep", "score"))
    texts = _texts(str(Run.open(folder).recipe.params["base"]), ids)
    listed = [
        {"text": text, "response": r, "keep": k, "score": None if s is None or s != s else s}
        for text, r, k, s in zip(texts, response, keep, score, strict=True)
    ]
    return {**row, "tokens": listed}


def _texts(base: str, ids: list[int]) -> list[str]:
    """Texts of the tokens; their ids in angle brackets where the base is gone, which alone can tell."""
    try:
        return token_texts(load_tokenizer(find_model(base)), ids)
    except (RecipeError, BackendError):
        return [f"<{i}>" for i in ids]


def explain_text(found: dict[str, Any]) -> str:
    """Write an explanation as text: the answer with masked tokens in brackets, and the tokens at both ends.

    Parameters
    ----------
    found : dict
        As :func:`explain` returns it.
    """
    score = "" if found["score"] is None else f", mean score {found['score']:.4f}"
    lines = [
        f"{found['unit_id']}: {found['decision'] or 'undecided'}{score}",
        f"  {found['reason']}  [{found['step']}]",
    ]
    answer = [each for each in found["tokens"] if each["response"]]
    if answer:
        lines.append("  [masked] and kept tokens of the answer:")
        text = "".join(each["text"] if each["keep"] else f"[{each['text']}]" for each in answer).replace("][", "")
        lines += [f"    {line}" for line in text.splitlines()]
    ranked = sorted((each for each in found["tokens"] if each["score"] is not None), key=lambda each: -each["score"])
    for name, some in (("highest", ranked[:SHOWN]), ("lowest", ranked[::-1][:SHOWN])):
        if some:
            lines.append(f"  {name} scores: " + ", ".join(f"{each['text']!r} {each['score']:+.3f}" for each in some))
    return "\n".join(lines)
