"""Records of random tokens with losses by two models, and models of a few thousand weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tamis.data.token_rows import TokenRows

VOCABULARY = 30


def make_rows(n=20, seed=0, longest=12):
    """Records of 2 to ``longest`` tokens; the first one to three of each are the prompt."""
    rng = np.random.default_rng(seed)
    ids, flags = [], []
    for _ in range(n):
        length = int(rng.integers(2, longest + 1))
        prompt = min(int(rng.integers(1, 4)), length)
        ids.append(rng.integers(3, VOCABULARY, length).tolist())
        flags.append([i >= prompt for i in range(length)])
    return TokenRows.from_lists([f"r{i:02d}" for i in rng.permutation(n)], ids, flags)


def make_losses(rows, seed=0):
    """Losses in eighths, so that scores tie exactly; those of the reference are lower on the whole."""
    rng = np.random.default_rng(seed)
    base = np.round(8 * rng.gamma(2.0, 1.0, len(rows.ids))) / 8
    reference = base + np.round(8 * rng.normal(-0.1, 0.3, len(base))) / 8
    return base.astype(np.float32), reference.astype(np.float32)


@pytest.fixture
def rows():
    return make_rows()


@pytest.fixture
def losses(rows):
    return make_losses(rows)


@pytest.fixture(scope="session")
def write_model():
    """Write the byte llama of the end-to-end tests to a folder."""
    path = Path(__file__).parents[2] / "e2e" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def write(folder):
        module.main(str(folder))
        return folder

    return write
