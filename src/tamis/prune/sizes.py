"""How large a model is: parameters, bytes on disk, and what a token costs in the cache of keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.prune.surgery.checkpoint import Checkpoint

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def sizes(folder: Path) -> dict[str, Any]:
    """Return layers, parameters, bytes of the weights and, where the configuration tells, cache bytes a token.

    Parameters
    ----------
    folder : Path
        Of safetensors.
    """
    checkpoint = Checkpoint.open(folder)
    return {
        "layers": checkpoint.n_layers,
        "parameters": checkpoint.n_parameters(),
        "bytes": checkpoint.n_bytes,
        "cache_bytes_per_token": _cache_bytes(checkpoint),
    }


def _cache_bytes(checkpoint: Checkpoint) -> int | None:
    """Keys and values of one token in all layers, in the dtype of the weights; None where heads are not said."""
    config = checkpoint.config.get("text_config") or checkpoint.config
    heads = config.get("num_key_value_heads") or config.get("num_attention_heads") or config.get("n_head")
    width = config.get("hidden_size") or config.get("n_embd")
    queries = config.get("num_attention_heads") or config.get("n_head")
    size = config.get("head_dim") or (width // queries if width and queries else None)
    dtypes = {place.dtype for place in checkpoint.tensors.values()} & BYTES.keys()
    if not isinstance(heads, int) or not size or not dtypes:
        return None
    return 2 * checkpoint.n_layers * heads * int(size) * max(BYTES[each] for each in dtypes)
