"""The digits of scikit-learn, a small network for them, and a trained one."""

from __future__ import annotations

import copy

import pytest


@pytest.fixture(scope="session")
def _trained(digits):
    world = digits.digits_world(0, "sample")
    return world, digits.trained(world.examples, seed=0)


@pytest.fixture
def world(_trained):
    """Training and test digits, and positions to forget."""
    return _trained[0]


@pytest.fixture
def network(_trained):
    """A copy of a network that was trained on them."""
    return copy.deepcopy(_trained[1])
