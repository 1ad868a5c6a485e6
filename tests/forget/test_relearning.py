"""How fast a network learns again what it was made to forget."""

import pytest

from tamis.forget.forget_sets import ForgetSets
from tamis.forget.relearning import relearning


def test_it_begins_where_the_network_is_and_rises(digits):
    world = digits.digits_world(0, "class")
    fresh = digits.perceptron(0)
    sets = ForgetSets.of(fresh, world.examples, world.forget)
    before = [each.clone() for each in fresh.parameters()]
    found = relearning(fresh, sets, learning_rate=0.1, seed=0)
    assert len(found) == 11
    assert found[0] == pytest.approx(100 - world.metrics(fresh)["UA"])
    assert found[-1] > found[0]
    assert all(one.equal(other) for one, other in zip(before, fresh.parameters(), strict=True))
    assert found == relearning(fresh, sets, learning_rate=0.1, seed=0)
