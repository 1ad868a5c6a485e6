"""An embedder without a model: cheap, deterministic, and known to other processes by value."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def letters():
    """Class of the fake embedder; it is loaded from a file so that worker processes can import it too."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)  # handed on to spawned workers
    try:
        name = "letter_embedder"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, Path(folder) / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        yield sys.modules[name].LetterEmbedder
    finally:
        sys.path.remove(folder)
