"""One task of ``bench_tokens`` in a process of its own, so that its peak memory is its own.

``python bench/tokens_child.py TASK SIZE`` prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DOLLY = Path(__file__).resolve().parents[1] / "examples" / "dolly.jsonl"
PADDED_ROWS = 16


def peak() -> float:
    """Peak memory so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def speed(size: int) -> dict[str, Any]:
    """Seconds to score Dolly records with SmolLM2, beside two other ways of running the same model over them."""
    import torch

    from tamis.data import read
    from tamis.models.causal_lm import find_model, load
    from tamis.models.chat_tokens import encode_chats
    from tamis.train.batches import by_length, micro_batches
    from tamis.train.token_losses import BATCH_TOKENS, token_losses

    network, tokenizer = load(find_model("smollm2"), dtype="float32", device="cpu")
    table = read(DOLLY)
    table = table.take(np.random.default_rng(0).permutation(len(table))[:size])
    rows = encode_chats(table.chats(), table.ids, tokenizer, max_length=2048).rows

    def padded(batch: list[int]) -> Any:
        width = int(rows.lengths[batch].max())
        ids = np.zeros((len(batch), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(batch):
            own = rows.ids[rows.offsets[row] : rows.offsets[row + 1]]
            ids[i, : len(own)], mask[i, : len(own)] = own, 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def ours() -> None:
        token_losses(network, rows)

    def bare() -> None:
        order = by_length(np.arange(len(rows)), rows.lengths)
        with torch.inference_mode():
            for batch in micro_batches(order, rows.lengths, BATCH_TOKENS):
                network(input_ids=padded(batch)[0], use_cache=False)

    def fixed_batches() -> None:
        with torch.inference_mode():
            for start in range(0, len(rows), PADDED_ROWS):
                ids, mask = padded(list(range(start, min(start + PADDED_ROWS, len(rows)))))
                logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits
                logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None])

    ways: dict[str, Callable[[], None]] = {"scoring": ours, "bare": bare, "padded": fixed_batches}
    ours()  # warm
    passes = []
    for number in range(2):  # in turn, so that a change of load meets all
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            passes.append({"pass": number, "way": name, "seconds": time.perf_counter() - start})
    best = {name: min(each["seconds"] for each in passes if each["way"] == name) for name in ways}
    return {"passes": passes, "rows": len(rows), "tokens": len(rows.ids), "answers": int(rows.response.sum()),
            "of bare": best["bare"] / best["scoring"], "of padded": best["padded"] / best["scoring"]}  # fmt: skip


def memory(size: int) -> dict[str, Any]:
    """Peak memory of scoring rows of 2,048 tokens with a vocabulary of 131,072, less the weights."""
    import torch  # noqa: F401
    from token_worlds import small_llama

    from tamis.data.token_rows import TokenRows
    from tamis.train.token_losses import token_losses

    before = peak()
    network = small_llama(131_072, width=512, layers=4, seed=0, context=2048).eval()
    weights = sum(each.numel() * each.element_size() for each in network.parameters()) / 1e9
    ids = np.random.default_rng(0).integers(0, 131_072, (size, 2048))
    rows = TokenRows.from_lists([str(i) for i in range(size)], list(ids), [[False] + [True] * 2047] * size)
    token_losses(network, rows)
    return {"before GB": before, "weights GB": weights, "peak GB": peak(), "extra GB": peak() - weights - before}


def mask(size: int) -> dict[str, Any]:
    """Seconds from scores to a mask; the peak memory holds the scores, and Python with NumPy."""
    from tamis.curate.tokens.ranking import top_share, top_share_by_group

    score = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    ranked = np.ones(size, dtype=bool)
    start = time.perf_counter()
    top_share(score, ranked, 0.6)
    seconds, highest = time.perf_counter() - start, peak()
    group = np.repeat(np.arange(size // 250, dtype=np.int32), 250)
    start = time.perf_counter()
    top_share_by_group(score, ranked, 0.6, group)
    return {"tokens": size, "seconds": seconds, "peak GB": highest, "by record": time.perf_counter() - start}


TASKS: dict[str, Callable[[int], dict[str, Any]]] = {"speed": speed, "memory": memory, "mask": mask}


def main() -> None:
    task, size = sys.argv[1:]
    print(json.dumps(TASKS[task](int(size))))


if __name__ == "__main__":
    main()
