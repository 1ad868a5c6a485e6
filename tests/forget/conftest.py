"""The digits of scikit-learn, a small network for them, and a trained one."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    """What is promised to the bit is promised for the CPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture(scope="session")
def digits():
    path = Path(__file__).with_name("digits_world.py")
    spec = importlib.util.spec_from_file_location("digits_world", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
