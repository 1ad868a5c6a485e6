"""The interval of a speed; no speed itself is asserted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from tamis.prune.speed import NEW_TOKENS, ROUNDS, mean_over_rounds, time_models


def test_the_mean_is_geometric_and_the_interval_is_students():
    values = [80.0, 100.0, 125.0, 100.0]
    mean, low, high = mean_over_rounds(values)
    logs = np.log(values)
    assert mean == pytest.approx(100.0)
    half = t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    assert np.log([low, high]) == pytest.approx([logs.mean() - half, logs.mean() + half])
    assert low * high == pytest.approx(mean**2)


def test_equal_rounds_and_wild_ones():
    assert mean_over_rounds([50.0] * 5) == pytest.approx((50.0, 50.0, 50.0))
    mean, low, high = mean_over_rounds([1.0, 1000.0])
    assert 0 < low < mean < high < np.inf


def test_both_models_are_timed_in_turn_however_little_they_take(tiny_model):
    from tamis.models.causal_lm import load_own

    networks = {"dense": load_own(tiny_model(max_position_embeddings=NEW_TOKENS + 8)), "cut": load_own(tiny_model())}
    found = time_models(networks, seed=0)
    assert [(each["model"], each["round"]) for each in found] == [
        (name, number) for number in range(1, ROUNDS + 1) for name in ("dense", "cut")
    ]
    assert all(each["prefill"] > 0 and each["decode"] > 0 for each in found)
    assert time_models({"dense": load_own(tiny_model(max_position_embeddings=NEW_TOKENS))}, seed=0) == []
