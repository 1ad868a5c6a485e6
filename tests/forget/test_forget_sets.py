"""Which examples go and which stay, and every request that makes no sense."""

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.forget.adaptive import adaptive_rates
from tamis.forget.forget_sets import ForgetSets, class_positions, random_positions
from tamis.forget.pairing import cycled, paired
from tamis.train.labelled import LabelledExamples


@pytest.fixture
def linear():
    import torch

    return torch.nn.Linear(4, 2)


@pytest.fixture
def four():
    return LabelledExamples.of(np.eye(4, dtype=np.float32), [0, 0, 1, 1])


def test_a_mask_or_positions(linear, four):
    for forget in ([3, 1], np.array([False, True, False, True])):
        sets = ForgetSets.of(linear, four, forget)
        assert (sets.forget.tolist(), sets.retain.tolist(), sets.kind, sets.n_classes) == ([1, 3], [0, 2], "sample", 2)
    assert ForgetSets.of(linear, four, [0], retain=[3]).retain.tolist() == [3]


def test_whole_classes(linear, four):
    assert ForgetSets.of(linear, four, [0, 1]).kind == "class"
    assert ForgetSets.of(linear, four, [0, 1, 2]).kind == "sample"


@pytest.mark.parametrize(
    ("forget", "retain", "words"),
    [([], None, "No example is to be forgotten"), (range(4), None, "All 4 examples"), ([4], None, "name example 4"),
     ([-1], None, "name example -1"), ([True, False], None, "one flag for each of the 4"),
     ([0.5], None, "whole numbers"),
     ([0], [0, 1], "forgotten and retained, the first at position 0"), ([0], [], "to be retained")],
)  # fmt: skip
def test_requests_that_make_no_sense(linear, four, forget, retain, words):
    forget = np.array(forget) if not isinstance(forget, range) else np.arange(4)
    with pytest.raises(DataError, match=words):
        ForgetSets.of(linear, four, forget, retain)


def test_a_class_that_is_absent():
    with pytest.raises(DataError, match=r"No example has the class 7.*the data have 0, 2"):
        class_positions(np.array([0, 2, 2]), 7)


def test_a_random_share_is_as_large_as_asked():
    assert [len(random_positions(50, share, np.random.default_rng(0))) for share in (0.001, 0.1, 1)] == [1, 5, 50]


def test_pairs_cover_what_an_epoch_passes_over():
    retain, forget = np.arange(100, 110), np.arange(3)
    for plus, total in ((True, 20), (False, 6)):
        one, other = paired(retain, forget, plus=plus, epochs=2, rng=np.random.default_rng(0))
        assert len(one) == len(other) == total
        passed, per = (one, 10) if plus else (other, 3)
        assert all(len(set(passed[start : start + per])) == per for start in range(0, total, per))
        assert set(one) <= set(retain)
        assert set(other) <= set(forget)


def test_rounds_differ():
    found = cycled(20, 40, np.random.default_rng(0))
    assert found[:20].tolist() != found[20:].tolist()


def test_adaptive_rates_count_close_neighbours():
    import torch

    retain = torch.tensor([[1.0, 0], [1, 0.01], [-1, 0], [-1, 0.01]])
    forget = torch.tensor([[1.0, 0], [0, 1]])
    papers = adaptive_rates(retain, forget, direction="paper", quantile=0.3)
    ours = adaptive_rates(retain, forget, direction="deniability", quantile=0.3)
    assert papers.tolist() == [-1.0, 0.0], "two of the four retained lie close to the first, over two forgotten"
    assert ours.tolist() == [-0.5, -1.0]
