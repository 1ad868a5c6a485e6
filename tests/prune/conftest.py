"""Tiny models, records and runs for the tests of pruning."""

from __future__ import annotations

import importlib.util
import json
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    """The module ``tiny_models.py``."""
    spec = importlib.util.spec_from_file_location("tiny_models", Path(__file__).with_name("tiny_models.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_model(tiny, tmp_path_factory):
    """Find a tiny llama of 8 layers; each kind is made once."""
    from tamis.models.causal_lm import find_model

    made = {}

    def make(**changes):
        key = json.dumps(changes, sort_keys=True)
        if key not in made:
            made[key] = find_model(str(tiny.tiny_llama(tmp_path_factory.mktemp("tiny"), **changes)))
        return made[key]

    return make


@pytest.fixture
def one_sentence():
    """Expect an error of one sentence that says all these words."""

    @contextmanager
    def expecting(kind, *words):
        with pytest.raises(kind) as error:
            yield
        said = str(error.value)
        assert "\n" not in said
        assert 20 < len(said) < 500
        assert said.endswith((".", "?")), said
        assert [word for word in words if word not in said] == [], said

    return expecting


@pytest.fixture
def steps(tmp_path):
    """Open steps of a run of its own."""
    from tamis.recipe import Recipe
    from tamis.runs import Run

    with Run.start(
        tmp_path / "alone" / "run", Recipe(method="prune", inputs={}, params={"model": "x"}), command=""
    ) as run:
        yield run.step
