"""Every test trains on the CPU; worlds that tests of several folders use."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _on_the_cpu():
    """What is promised to the bit is promised for the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield


@pytest.fixture(scope="session")
def digits():
    """The module ``tests/forget/digits_world.py``."""
    path = Path(__file__).parent / "forget" / "digits_world.py"
    spec = importlib.util.spec_from_file_location("digits_world", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
