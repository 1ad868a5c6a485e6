"""Every example once an epoch, in steps of equal size, cut into micro-batches by length."""

from itertools import chain

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.train import TrainSettings
from tamis.train.batches import Batches


class Sized:
    def __init__(self, weights, lengths=None):
        self.weights = np.asarray(weights, dtype=float)
        self.lengths = np.ones(len(weights), dtype=int) if lengths is None else np.asarray(lengths)

    def __len__(self):
        return len(self.weights)

    def loss(self, network, positions):
        raise NotImplementedError


def drawn(batches):
    return [batches.of_step(step).tolist() for step in range(batches.steps)]


def test_every_epoch_is_a_fresh_permutation_of_the_examples_with_weight():
    weights = np.ones(11)
    weights[[2, 7]] = 0
    steps = drawn(Batches(Sized(weights), TrainSettings(batch_rows=4, epochs=2)))
    assert list(map(len, steps)) == [4, 4, 4, 4, 2]
    order = list(chain(*steps))
    first, second = order[:9], order[9:]
    assert sorted(first) == sorted(second) == [0, 1, 3, 4, 5, 6, 8, 9, 10]
    assert first != second


def test_the_order_follows_the_seed():
    draws = [drawn(Batches(Sized(np.ones(20)), TrainSettings(batch_rows=4, seed=seed))) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_micro_batches_hold_the_step_in_the_memory_given():
    lengths = np.random.default_rng(0).integers(1, 40, 30)
    batches = Batches(Sized(np.ones(30), lengths), TrainSettings(batch_rows=16, micro_tokens=50))
    micro = batches.micro_batches(0)
    assert sorted(chain(*(each.positions for each in micro))) == sorted(batches.of_step(0).tolist())
    assert all(len(each.positions) * lengths[each.positions].max() <= 50 for each in micro)
    assert {each.denominator for each in micro} == {16.0}


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("normalise", ["step", "micro"])
def test_processes_share_a_step(processes, normalise):
    lengths = np.random.default_rng(0).integers(1, 40, 30)
    settings = TrainSettings(batch_rows=16, micro_tokens=50, normalise=normalise)
    batches = Batches(Sized(lengths, lengths), settings)
    shares = [batches.micro_batches(1, process=each, processes=processes) for each in range(processes)]
    together = [micro for share in shares for micro in share]
    assert sorted(chain(*(each.positions for each in together))) == sorted(batches.of_step(1).tolist())
    # a loss of 1 a unit of weight is a loss of 1 over all, however it is shared
    assert sum(lengths[each.positions].sum() / each.denominator for each in together) == pytest.approx(1.0)


def test_an_example_longer_than_the_memory_goes_alone():
    batches = Batches(Sized(np.ones(3), [100, 2, 3]), TrainSettings(micro_tokens=8))
    assert [each.positions for each in batches.micro_batches(0)] == [[1, 2], [0]]


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Sized([0.0, 0.0]), "nothing to train on: none of the 2 examples has any weight"),
        (Sized([]), "nothing to train on: none of the 0 examples"),
        (Sized([1.0, -1.0]), "weights of Sized must be finite and not negative"),
        (Sized([1.0, np.nan]), "weights of Sized must be finite and not negative"),
        (Sized([1.0, 1.0], [1, 2, 3]), r"one weight and one length for each of its 2 examples.*\(2,\) and \(3,\)"),
    ],
)
def test_an_objective_that_cannot_be_used_is_refused(objective, message):
    with pytest.raises(DataError, match=message):
        Batches(objective, TrainSettings())
