"""Random decoders over bytes with few weights, and records for them: ``tests/e2e/tiny_llama.py`` with more layers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

LAYERS = 8


def tiny_llama(folder, *, layers=LAYERS, tied=False, dtype="float32", seed=3, **changes):
    """Save a llama with a tokenizer, a chat template and settings to write with."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    path = Path(__file__).parents[1] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = Path(folder)
    module.main(str(folder))
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1,
             "max_position_embeddings": 512, "initializer_range": 0.2}  # fmt: skip
    config = LlamaConfig(vocab_size=259, num_hidden_layers=layers, tie_word_embeddings=tied, bos_token_id=1,
                         eos_token_id=2, **{**sizes, **changes})  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config).to(getattr(torch, dtype))
    network.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.9, eos_token_id=[2, 0], bos_token_id=1
    )
    network.save_pretrained(folder)
    (folder / "LICENSE").write_text("as you like\n")
    return folder


def records(n=130):
    """Short sums, not in the order of their ids."""
    order = np.random.default_rng(0).permutation(n).tolist()
    return [{"id": f"r{i:03d}", "prompt": f"add {i} and {i % 7}", "response": f"it is {i + i % 7}."} for i in order]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
