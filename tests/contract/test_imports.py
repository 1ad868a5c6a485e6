"""Imports run one way (surfaces -> methods -> primitives -> kernel), cheaply, and every public name resolves."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tamis

SOURCE = Path(tamis.__file__).parent
LEVELS = {
    "kernel": {"data", "runs", "recipe", "engine", "models", "select", "errors", "registry", "estimator", "cache"},
    "primitive": {"noise", "neighbors", "influence", "train", "evidence"},
    "method": {"curate", "people", "fairness", "series", "federated", "forget", "prune"},
    "surface": {"report", "serve", "cli", "__main__", "toy"},
}
ORDER = list(LEVELS)
LEVEL_OF = {room: level for level, rooms in LEVELS.items() for room in rooms}
FACADE = "__init__"
"""``tamis/__init__.py`` names everything and imports lazily; only surfaces may import it."""

PUBLIC = [
    "DS2",
    "DataError",
    "Evidence",
    "LayerPruner",
    "LayerScores",
    "NeighborGraph",
    "PeerPrediction",
    "Recipe",
    "RecipeError",
    "Rubric",
    "Run",
    "Selection",
    "Signal",
    "Table",
    "TamisError",
    "TokenCleaner",
    "TokenRows",
    "TransitionMatrix",
    "UGradSL",
    "__version__",
    "encode_chats",
    "estimate_transition",
    "knn_graph",
    "rate",
    "read",
    "read_answers",
    "read_llm_labels",
    "self_evolving",
    "token_losses",
    "write",
    "write_report",
]
HEAVY = ("torch", "sklearn", "transformers", "sentence_transformers", "ray", "faiss", "numpy", "scipy", "pyarrow")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path, source: Path = SOURCE) -> str:
    """Package or top-level module that a file belongs to."""
    return path.relative_to(source).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST, package: list[str]) -> set[str]:
    """Rooms of tamis that a module imports, wherever it does so: in functions and under TYPE_CHECKING too.

    ``package`` holds the parts of the package the module lies in, e.g. ``["tamis", "curate"]``.
    """
    targets: list[list[str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            targets += [[*base, alias.name] for alias in node.names] if base == ["tamis"] else [base]
    rooms = {parts[1] if len(parts) > 1 else FACADE for parts in targets if parts[0] == "tamis"}
    return {room if room in LEVEL_OF else FACADE for room in rooms}


def forbidden(room: str, imported: str) -> str | None:
    """Why ``room`` may not import ``imported``, None where it may."""
    if room in (imported, FACADE):
        return None
    if imported == FACADE:
        return None if LEVEL_OF[room] == "surface" else "only surfaces import the package itself"
    here, there = LEVEL_OF[room], LEVEL_OF[imported]
    if here == there == "method":
        return "a method never imports another method"
    return "imports run surfaces -> methods -> primitives -> kernel" if ORDER.index(there) > ORDER.index(here) else None


def test_every_room_has_a_level():
    rooms = {room_of(path) for path in modules()} - {FACADE}
    assert rooms <= LEVEL_OF.keys(), "place new rooms in LEVELS"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    package = ["tamis", *path.relative_to(SOURCE).parts[:-1]]
    found = imported_rooms(ast.parse(path.read_text(encoding="utf-8")), package)
    wrong = {imported: reason for imported in found if (reason := forbidden(room, imported))}
    assert not wrong


@pytest.mark.parametrize(
    ("room", "code", "allowed"),
    [
        ("noise", "from tamis.curate import DS2", False),
        ("noise", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tamis.report.page", False),
        ("runs", "def f():\n    from tamis import noise", False),
        ("runs", "import tamis", False),
        ("data", "from ..curate.ds2 import DS2", False),
        ("forget", "from tamis.curate import DS2", False),
        ("curate", "from tamis.cli.app import main", False),
        ("curate", "from tamis.noise import rank_rule\nfrom tamis.errors import DataError", True),
        ("cli", "import tamis\nfrom tamis.curate import DS2\nfrom tamis.report import write_report", True),
        ("noise", "from tamis.evidence import Evidence\nfrom . import agreement\nimport numpy", True),
    ],
)
def test_the_rule_itself_tells_right_from_wrong(room, code, allowed):
    found = imported_rooms(ast.parse(code), ["tamis", room])
    assert any(forbidden(room, imported) for imported in found) is not allowed


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after ``code``."""
    script = f"import json, sys\n{code}\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def verb(*arguments: str) -> str:
    return (
        f"sys.argv = {['tamis', *arguments]!r}\n"
        "from tamis.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lazy")
    (folder / "pool.jsonl").write_text("{}\n")
    from tamis.recipe import Recipe
    from tamis.runs import Run

    recipe = Recipe(method="ds2", inputs={"pool": str(folder / "pool.jsonl")}, params={"budget": 1})
    with Run.start(folder / "run", recipe, command="") as run:
        run.step("neighbors").finish()
        run.finish("complete", {})
    return folder / "run"


@pytest.mark.parametrize(
    "code",
    [
        "import tamis; dir(tamis); tamis.DataError",
        verb("--help"),
        verb("--version"),
        verb("methods"),
        verb("curate", "--help"),
        verb("rate", "--help"),
        verb("plan", "--help"),
        verb("peers", "--help"),
        verb("peers", "audit", "--help"),
    ],
    ids=["import", "help", "version", "methods", "curate-help", "rate-help", "plan-help", "peers-help", "audit-help"],
)
def test_listing_names_loads_no_numerical_library(code):
    assert not loaded_after(code) & {*HEAVY, "polars"}


def test_status_loads_no_numerical_library(finished_run):
    assert not loaded_after(verb("status", str(finished_run))) & {*HEAVY, "polars"}


def test_the_public_names_are_these():
    assert sorted(PUBLIC) == PUBLIC
    assert tamis.__all__ == PUBLIC
    assert dir(tamis) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_resolves(name):
    assert getattr(tamis, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'DS3'"):
        tamis.DS3


PACKAGES = sorted(m.name for m in pkgutil.walk_packages([str(SOURCE)], prefix="tamis.") if m.ispkg)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for_and_exports_what_it_says(name):
    package = import_module(name)
    assert package.__doc__
    assert package.__all__
    assert len(set(package.__all__)) == len(package.__all__)
    for exported in package.__all__:
        assert hasattr(package, exported), exported


def test_registered_names_resolve():
    from tamis import registry

    for entries in (registry.JOBS, registry.ENGINES, registry.EMBEDDERS, registry.JUDGES):
        for name, entry in entries.items():
            assert callable(entry.load()), name
            assert entry.summary


def test_a_job_resolves_with_all_its_parts():
    from tamis.registry import JOBS

    for name, entry in JOBS.items():
        parts = (entry.load_job(), entry.load_section(), entry.load_outcome(), *entry.load_plan())
        assert all(map(callable, parts)), name


def test_a_plan_of_an_endpoint_loads_no_model_library(tmp_path):
    (tmp_path / "pool.jsonl").write_text('{"prompt": "1+1?", "response": "2"}\n')
    planned = verb("rate", str(tmp_path / "pool.jsonl"), "--rater", "openai:gpt-4o-mini", "--dry-run")
    assert not loaded_after(planned) & {"torch", "transformers", "sentence_transformers", "ray"}
