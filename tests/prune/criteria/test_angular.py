"""Angular distances against arccos by hand, and the best block of layers that are all free."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria import angular
from tamis.prune.criteria.angular import angular_block

EVERY = np.ones(6, dtype=bool)


def distances_by_hand(states, k, last):
    rows = [each[np.arange(len(each)), last] for each in states]

    def distance(x, y):
        cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        return (np.arccos(cosines) / np.pi).mean()

    return [distance(rows[start], rows[start + k]) for start in range(6 - k + 1)]


@pytest.mark.parametrize("k", [1, 2, 4, 6])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_arccos_by_hand(decoder, by_hand, windows, k, batch_size):
    network = decoder("llama")
    found = angular_block(network, windows, k, allowed=EVERY, batch_size=batch_size)
    expected = distances_by_hand(by_hand(network, windows), k, np.full(7, 11))
    np.testing.assert_allclose(found.distances, expected, atol=1e-6)
    assert found.start == int(np.argmin(expected))
    assert sorted(np.argsort(found.scores, kind="stable")[:k].tolist()) == list(range(found.start, found.start + k))
    smallest = [min(expected[max(layer - k + 1, 0) : layer + 1]) for layer in range(6)]
    np.testing.assert_allclose(found.scores, smallest, atol=1e-6)


def test_the_last_token_that_is_no_padding(decoder, by_hand, windows):
    network = decoder("llama")
    lengths = np.array([12, 9, 12, 5, 1, 12, 7])
    found = angular_block(network, windows, 2, allowed=EVERY, mask=np.arange(12) < lengths[:, None], batch_size=4)
    np.testing.assert_allclose(found.distances, distances_by_hand(by_hand(network, windows), 2, lengths - 1), atol=1e-6)


def test_layers_that_do_nothing_are_the_block(silenced, windows):
    found = angular_block(silenced([2, 3, 4]), windows, 3, allowed=EVERY)
    assert found.start == 2
    assert found.distances[2] == 0
    assert found.scores[2:5].tolist() == [0, 0, 0]
    assert found.scores[[0, 1, 5]].min() > 1e-3


def test_of_equal_blocks_the_first(silenced, windows):
    found = angular_block(silenced([1, 2, 3, 4]), windows, 2, allowed=EVERY)
    assert found.distances[1:4].tolist() == [0, 0, 0]
    assert found.start == 1
    assert found.scores[[1, 2]].tolist() == [0, 0]
    assert 0 < found.scores[3] == found.scores[4] < 1e-300


def test_a_block_holds_no_protected_layer(silenced, windows):
    allowed = np.array([False, True, False, True, True, True])
    found = angular_block(silenced([1, 2]), windows, 2, allowed=allowed)
    assert np.isnan(found.distances).tolist() == [True, True, True, False, False]
    assert found.start in (3, 4)
    best = found.distances[found.start]
    assert found.scores[[found.start, found.start + 1]].tolist() == [best, best]
    np.testing.assert_allclose(found.scores[:3] - np.nanmax(found.distances), [1, 2, 3])


def test_no_such_block(decoder, windows):
    network = decoder("llama")
    apart = np.array([True, False, True, True, False, True])
    with pytest.raises(RecipeError, match=r"needs 3 free layers in a row, and the layers \[1, 4\] of 6 are protected"):
        angular_block(network, windows, 3, allowed=apart)
    with pytest.raises(RecipeError, match=r"is to prune 5 layers, and only 4 of the 6 are free: \[0, 2, 3, 5\]"):
        angular_block(network, windows, 5, allowed=apart)
    with pytest.raises(RecipeError, match="'allowed' parameter of angular_block must be one bool for each of the 6"):
        angular_block(network, windows, 1, allowed=EVERY[1:])
    with pytest.raises(RecipeError, match="'k' parameter"):
        angular_block(network, windows, 0, allowed=EVERY)


def test_what_is_no_number_is_refused(decoder, windows):
    import torch

    network = decoder("llama")
    with torch.no_grad():
        network.model.layers[3].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(DataError, match="no finite distance for the layers 2-3, 3-4, 4-5; compute in float32"):
        angular_block(network, windows, 2, allowed=EVERY)


def test_small_angles_keep_their_digits():
    x, y = np.array([[1.0, 0.0]]), np.array([[1.0, 1e-9]])
    assert angular._angle(x, y)[0] == pytest.approx(1e-9, rel=1e-9)
    assert angular._angle(x, -x)[0] == pytest.approx(np.pi)
