"""UGradSL on scikit-learn's digits: the relations that the specification measured, three seeds.

Absolute gaps depend on how the network was trained; ``tests/forget/digits_world.py`` has our recipe.
"""

from __future__ import annotations

import numpy as np
import pytest

from tamis.evidence.forgetting import average_gap
from tamis.forget.baselines.pairs import FineTune, GradientAscent
from tamis.forget.baselines.retrain import Retrain
from tamis.forget.ugradsl import UGradSL

SEEDS = range(3)


@pytest.fixture(scope="module", params=["sample", "class"])
def gaps(request, digits):
    """From a way to forget, by seed, to its average gap and its share of the time of training anew."""
    worlds = [digits.digits_world(seed, request.param) for seed in SEEDS]
    originals = [digits.trained(world.examples, seed=seed) for seed, world in zip(SEEDS, worlds, strict=True)]

    def run(make):
        found = [make(seed).apply(network, world.examples, world.forget)
                 for seed, network, world in zip(SEEDS, originals, worlds, strict=True)]  # fmt: skip
        metrics = [world.metrics(each.network) for world, each in zip(worlds, found, strict=True)]
        return {name: [each[name] for each in metrics] for name in metrics[0]}, sum(each.seconds for each in found)

    retrained, seconds = run(lambda seed: Retrain(training=digits.RECIPE, seed=50 + seed))

    def gap(make):
        metrics, took = run(make)
        return average_gap(metrics, retrained), took / seconds

    gap.kind, gap.retrained = request.param, retrained
    return gap


def test_relations(gaps):
    measured = {"schedule": "constant", "repair": 0, "alpha": -0.1 if gaps.kind == "sample" else -0.5, "epochs": 5,
                "learning_rate": 0.01 if gaps.kind == "sample" else 0.002}  # fmt: skip
    ours, share = gaps(lambda seed: UGradSL(**measured, seed=seed))
    tune, _ = gaps(lambda seed: FineTune(seed=seed))
    ascent = min(
        gaps(lambda seed, rate=rate: GradientAscent(learning_rate=rate, seed=seed))[0] for rate in (0.001, 0.01)
    )
    assert ours < tune
    assert ours < ascent
    assert share < 0.5
    if gaps.kind == "class":
        assert np.mean(gaps.retrained["UA"]) == 100
        assert ours < 5
        assert tune > 40
        assert gaps(lambda seed: UGradSL(**{**measured, "alpha": 0.0}, seed=seed))[0] > 40
    else:
        assert ours < 2
