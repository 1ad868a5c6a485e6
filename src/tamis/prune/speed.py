"""How fast two models read a prompt and write behind it, timed in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from tamis.evidence.resampling import Estimate, student_interval

PROMPT_TOKENS, NEW_TOKENS, ROUNDS = 256, 32, 5


def time_models(networks: Mapping[str, Any], *, seed: int) -> list[dict[str, Any]]:
    """Time reading a prompt of 256 tokens (fewer if a model takes no more) and writing 32, one sequence at a time.

    The models take turns, so that whatever else the machine does meets all of them; the first round warms up and does
    not count. Loading and tokenising are not in the times.

    Parameters
    ----------
    networks : mapping of str to transformers.PreTrainedModel
    seed : int
        Of the token ids read.

    Returns
    -------
    list of dict
        ``model, round, prefill, decode``, tokens a second; none where a model takes less than what is to be written.
    """
    import torch

    found = []
    rng = np.random.default_rng(seed)
    prompt = min(PROMPT_TOKENS, *(_context(network) - NEW_TOKENS for network in networks.values()))
    if prompt < 1:
        return []
    for number in range(ROUNDS + 1):
        for name, network in networks.items():
            vocabulary = network.get_input_embeddings().weight.shape[0]
            ids = torch.from_numpy(rng.integers(0, vocabulary, (1, prompt))).to(network.device)
            with torch.inference_mode():
                started = _now(network)
                out = network(input_ids=ids, use_cache=True, logits_to_keep=1)
                read = _now(network)
                key = "cache" if "cache" in out else "past_key_values"  # transformers 5.24 renamed it
                cache = {key: out.get(key)}
                for _ in range(NEW_TOKENS):
                    token = out.logits[:, -1:].argmax(-1)
                    out = network(input_ids=token, use_cache=True, **cache)
                written = _now(network)
            if number:
                found.append({"model": name, "round": number, "prefill": prompt / (read - started),
                              "decode": NEW_TOKENS / (written - read)})  # fmt: skip
    return found


def _context(network: Any) -> int:
    """Tokens that a model takes."""
    config = network.config.get_text_config(decoder=True)
    return getattr(config, "max_position_embeddings", None) or PROMPT_TOKENS + NEW_TOKENS


def _now(network: Any) -> float:
    import torch

    if network.device.type == "cuda":
        torch.cuda.synchronize(network.device)
    return time.perf_counter()


def mean_over_rounds(values: list[float]) -> Estimate:
    """Geometric mean with a Student interval over rounds, of logarithms: a speed is never negative."""
    value, low, high = np.exp(student_interval(np.log(values).tolist())).tolist()
    return value, low, high
