from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis.registry import METHODS


def _worlds() -> Any:
    """Load ``worlds/`` by its path: test folders are no packages."""
    name, folder = "tamis_contract_worlds", Path(__file__).with_name("worlds")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def worlds():
    return _worlds().WORLDS


@pytest.fixture(scope="module", params=sorted(METHODS))
def method(request):
    """Name of each registered method in turn."""
    return request.param


@pytest.fixture(scope="module")
def world(method, worlds):
    if method not in worlds:
        pytest.fail(f"{method} has no world in tests/contract/worlds/: add one, the suite then tests it")
    return worlds[method]()


@pytest.fixture(scope="session")
def one_sentence():
    def one_sentence(error: BaseException) -> None:
        text = str(error)
        assert "\n" not in text
        assert 20 < len(text) < 500
        assert text[-1] in ".)?"
        assert "Traceback" not in text

    return one_sentence


@pytest.fixture(scope="session")
def bytes_by_id():
    def bytes_by_id(selection, path: Path) -> bytes:
        """Bytes of the selection's Parquet file, rows in order of their ids."""
        type(selection)(selection.frame.sort("unit_id")).write(path)
        return path.read_bytes()

    return bytes_by_id
