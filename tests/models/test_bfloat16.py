"""Rounding to bfloat16 must give what bfloat16 gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.data.token_rows import TokenRows
from tamis.models.bfloat16 import in_bfloat16
from tamis.train.token_losses import token_losses


@pytest.fixture
def networks():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = LlamaForCausalLM(config).eval()
    return [made, *(type(made)(config).eval() for _ in range(2))]


def test_the_losses_are_those_of_bfloat16(networks):
    exact, rounded, real = networks
    for twin in (rounded, real):
        twin.load_state_dict(exact.state_dict())
    real.to(torch.bfloat16)
    ids = np.random.default_rng(0).integers(0, 64, (6, 40)).tolist()
    rows = TokenRows.from_lists([str(i) for i in range(6)], ids, [[False] + [True] * 39] * 6)
    with in_bfloat16(rounded):
        found = token_losses(rounded, rows)
    exactly, really = token_losses(exact, rows), token_losses(real, rows)
    off = np.abs(exactly - really)[rows.response].mean()
    assert off > 0.001
    assert np.abs(found - really)[rows.response].mean() < 0.7 * off
    spread = np.abs(found - exactly)[rows.response].mean()
    assert 0.7 * off < spread < 1.4 * off


def test_hooks_are_gone_afterwards(networks):
    network = networks[0]
    with pytest.raises(KeyboardInterrupt), in_bfloat16(network):
        raise KeyboardInterrupt
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
