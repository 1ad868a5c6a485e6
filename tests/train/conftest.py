"""A random llama of a few thousand weights, token rows for it, and a small classifier that is no language model."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data.token_rows import TokenRows

VOCABULARY = 29


@pytest.fixture
def tiny_llama():
    """Make a random llama; equal arguments give equal weights."""

    def make(*, seed=0, tied=False, layers=3):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=layers,
            num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.3,
            tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture
def rows():
    """Ten records of 2 to 12 tokens."""
    rng = np.random.default_rng(5)
    lengths = [7, 12, 2, 5, 9, 4, 11, 3, 8, 6]
    ids = [rng.integers(3, VOCABULARY, length).tolist() for length in lengths]
    return TokenRows.from_lists([f"r{i}" for i in range(10)], ids, [[i > 0 for i in range(n)] for n in lengths])


@pytest.fixture
def mask(rows):
    """About half of the tokens; none of record 3, and the first of each as a careless caller might mark it."""
    kept = np.random.default_rng(6).random(len(rows.ids)) < 0.5
    kept[rows.offsets[3] : rows.offsets[4]] = False
    kept[rows.offsets[:3]] = True
    return kept


class Classes:
    """Points of three classes, class c around the c-th unit vector; the loss of a linear classifier."""

    def __init__(self, n=24, *, weights=None, spread=0.3):
        import torch

        rng = np.random.default_rng(1)
        self.y = torch.arange(n) % 3
        self.x = torch.eye(4)[self.y] + torch.from_numpy(rng.normal(0, spread, (n, 4))).float()
        self.weights = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
        self.lengths = np.ones(n, dtype=np.int64)

    def __len__(self):
        return len(self.y)

    def loss(self, network, positions):
        import torch

        at = list(positions)
        scale = torch.from_numpy(self.weights[at]).float()
        return (scale * torch.nn.functional.cross_entropy(network(self.x[at]), self.y[at], reduction="none")).sum()


@pytest.fixture
def classes():
    return Classes


@pytest.fixture
def classifier():
    """Make a classifier with dropout, batch normalisation (a buffer) and one frozen layer."""

    def make(*, seed=0, dropout=0.2):
        import torch
        from torch import nn

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))
        network[0].requires_grad_(False)
        return network

    return make
