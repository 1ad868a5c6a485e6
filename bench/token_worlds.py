"""Texts whose tokens are of known kinds, and small language models trained from scratch, for the token benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.runs.digests import derive_seed
from tamis.train.loop import train
from tamis.train.masked_lm import MaskedTokens
from tamis.train.settings import TrainSettings

BOILERPLATE, TASK, NOISE = 0, 1, 2
KINDS = ("boilerplate", "task", "noise")
N_KEYS, N_VALUES, N_WORDS, N_PHRASES = 48, 60, 60, 8
START, KEYS = 0, 1
VALUES = KEYS + N_KEYS
WORDS = VALUES + N_VALUES
VOCABULARY = WORDS + N_WORDS


@dataclass(frozen=True, eq=False)
class KnownTokens:
    """Records with the kind of each token; -1 in the prompt."""

    rows: TokenRows
    kind: NDArray[np.int8]


def known_tokens(n: int, rng: np.random.Generator, *, task: str, noise: bool) -> KnownTokens:
    """Records ``start key | phrase answer noise phrase``: only the answer depends on the key.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator
        Phrases and answers themselves are the same in every world.
    task : {"right", "random"}
        Whether the answer is the key's, or values at random (a base that has not learned the task).
    noise : bool
        Whether there are tokens that nothing predicts.
    """
    fixed = np.random.default_rng(0)
    phrases = WORDS + fixed.integers(0, N_WORDS, (N_PHRASES, 5))
    answers = VALUES + fixed.integers(0, N_VALUES, (N_KEYS, 4))
    ids, kinds = [], []
    for _ in range(n):
        key = int(rng.integers(N_KEYS))
        answer = answers[key] if task == "right" else VALUES + rng.integers(0, N_VALUES, 4)
        lost = VALUES + rng.integers(0, N_VALUES, 4) if noise else np.zeros(0, np.int64)
        first, last = phrases[rng.integers(N_PHRASES)], phrases[rng.integers(N_PHRASES)]
        ids.append(np.concatenate([[START, KEYS + key], first, answer, lost, last]).astype(np.int32))
        sizes = ((BOILERPLATE, 5), (TASK, 4), (NOISE, len(lost)), (BOILERPLATE, 5))
        kinds.append(np.concatenate([[-1, -1], *(np.full(size, kind) for kind, size in sizes)]).astype(np.int8))
    flat = np.concatenate(kinds)
    rows = TokenRows.from_lists([f"r{i:05d}" for i in range(n)], ids, [kind >= 0 for kind in kinds])
    return KnownTokens(rows, flat)


def small_llama(vocabulary: int, *, width: int, layers: int, seed: int, context: int = 1024) -> Any:
    """A llama with random weights and tied embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32), num_key_value_heads=max(1, width // 32), tie_word_embeddings=True,
        max_position_embeddings=context, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "weights"))
        return LlamaForCausalLM(config)


def taught(network: Any, rows: TokenRows, mask: NDArray[np.bool_], settings: TrainSettings) -> Any:
    """The network, trained in place with all of its weights."""
    network.requires_grad_(True)
    train(network, MaskedTokens(rows, mask, pad_id=0), settings)
    return network


def copy_of(network: Any) -> Any:
    """A copy that can be trained on its own."""
    twin = type(network)(network.config)
    twin.load_state_dict(network.state_dict())
    return twin.eval()


def small_tokenizer(texts: list[str], *, size: int, folder: Path) -> Any:
    """A byte-level BPE with a ChatML template, trained on texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|im_start|>", "<|im_end|>"]
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|end|>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
