"""What a model can do before and after: losses of held-out records, and sums that it writes out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.evidence.arithmetic_probe import Sum, solved_share
from tamis.evidence.resampling import Estimate

REPLY_TOKENS = 24


def held_out_sums(network: Any, rows: TokenRows, masks: dict[str, NDArray[np.bool_]]) -> dict[str, list[float]]:
    """Summed loss of each record's tokens, by the name of a mask; the counts are the mask's."""
    from tamis.train.token_losses import token_losses

    losses = token_losses(network, rows, where=np.logical_or.reduce(list(masks.values()))).astype(np.float64)
    n = len(rows)
    return {
        name: np.bincount(rows.row_of[mask], weights=losses[mask], minlength=n).tolist() for name, mask in masks.items()
    }


def solved(network: Any, tokenizer: Any, asked: list[Sum]) -> Estimate:
    """Share of sums that a model solves when it is asked as in a chat."""
    from tamis.models.chat_tokens import prompt_tokens
    from tamis.models.generated_reply import write_replies

    def write(questions: list[str]) -> list[str]:
        texts = [prompt_tokens([{"role": "user", "content": each}], tokenizer) for each in questions]
        seeds = [0] * len(texts)
        replies = write_replies(network, tokenizer, texts, temperature=0, max_tokens=REPLY_TOKENS, seeds=seeds)
        return [reply.text for reply in replies]

    return solved_share(asked, write)
