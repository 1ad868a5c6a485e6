"""What a model can do, cut or not: losses of held-out records, and what it writes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tamis.data.token_rows import TokenRows
from tamis.evidence.arithmetic_probe import REPLY_TOKENS, solved_share, sums
from tamis.evidence.bracket_probe import brackets
from tamis.evidence.lm_tasks import task_scores
from tamis.models.causal_lm import load_tokenizer
from tamis.models.generated_reply import greedy_replies
from tamis.prune.settings import PruneSettings
from tamis.train.tuned_model import TunedModel


def measured(model: TunedModel, rows: TokenRows | None, settings: PruneSettings, *, seed: int) -> dict[str, Any]:
    """Measure one model.

    Parameters
    ----------
    model : TunedModel
    rows : TokenRows, optional
        Held-out records; all tokens but the first of each count.
    settings : PruneSettings
    seed : int
        Of the questions asked.

    Returns
    -------
    dict
        ``sums`` and ``counts`` of each record, ``solved`` by probe, ``questions`` and ``tasks``; JSON values.
    """
    from tamis.train.token_losses import held_out_loss

    found: dict[str, Any] = {"sums": [], "counts": [], "solved": {}, "questions": settings.questions, "tasks": []}
    texts = rows is not None and len(rows)
    if not (texts or settings.questions or settings.tasks):
        return found  # a cut that is not measured needs no memory for a model
    network, tokenizer = model.network(), load_tokenizer(model.model)
    if rows is not None and texts:
        nats, counts = held_out_loss(network, rows, np.ones(len(rows.ids), dtype=bool))
        found["sums"], found["counts"] = nats.tolist(), counts.tolist()
    if settings.questions:
        write = partial(greedy_replies, network, tokenizer, max_tokens=REPLY_TOKENS)
        for name, asked in (("sums", sums), ("brackets", brackets)):
            found["solved"][f"{name} probe"] = list(solved_share(asked(settings.questions, seed=seed), write))
    found["tasks"] = task_scores(
        network, tokenizer, settings.tasks, folder=settings.task_folder, limit=settings.task_limit
    )
    return found
