"""What every method's run promises: interrupted anywhere, resumed by any engine, it ends in the same bytes."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tamis.engine import get_engine
from tamis.recipe import Recipe
from tamis.registry import ENGINES, METHODS
from tamis.runs import Run
from tamis.select import Selection

SELECTORS, EDITORS = (
    sorted(name for name, entry in METHODS.items() if hasattr(entry.load(), verb)) for verb in ("select", "apply")
)


class Stopper:
    """Progress that raises KeyboardInterrupt at its n-th report."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, step: str, done: int, total: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


class Counter:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def __call__(self, step: str, done: int, total: int) -> None:
        self.seen.append((step, done, total))


@pytest.fixture(scope="module")
def recipe(method, world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    inputs, params = world.files(folder, world.given())
    return Recipe(method=method, inputs=inputs, params=params)


@pytest.fixture(scope="module", autouse=True)
def small_shards(world):
    """Lower the method's shard size, or the distance of its checkpoints, so that a small world has several."""
    with pytest.MonkeyPatch.context() as patch:
        if world.small:
            module, _, name = world.small.partition(":")
            patch.setattr(importlib.import_module(module), name, world.small_size)
        yield


def go(recipe, folder, *, engine="inline", progress=None):
    """Execute the recipe in a run directory that has no sibling to borrow finished steps from."""
    folder.parent.mkdir(exist_ok=True)
    with Run.start(folder, recipe, command="") as run:
        job = METHODS[recipe.method].load_job()
        return job(run, engine=get_engine(engine, workers=2), progress=progress)


@pytest.fixture(scope="module")
def ends(world):
    return lambda folder: {name: (folder / name).read_bytes() for name in world.ends}


@pytest.fixture(scope="module")
def straight(recipe, ends, tmp_path_factory):
    """A run in one go: its results, and how often it reported progress."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    counter = Counter()
    summary = go(recipe, folder, progress=counter)
    return folder, ends(folder), counter.seen, summary


def test_there_are_several_shards_to_lose(straight):
    assert len(straight[2]) >= 4


def test_resume_equals_a_straight_run_wherever_it_was_stopped(recipe, straight, ends, tmp_path):
    for at in range(len(straight[2])):
        folder = tmp_path / f"at-{at}" / "run"
        with pytest.raises(KeyboardInterrupt):
            go(recipe, folder, progress=Stopper(at))
        assert not (folder / "selection.parquet").exists()
        go(recipe, folder)
        assert ends(folder) == straight[1], f"stopped at report {at}: {straight[2][at]}"


def test_resume_computes_no_finished_shard_again(world, recipe, straight, tmp_path):
    folder = tmp_path / "lone" / "run"
    at = len(straight[2]) - 1
    with pytest.raises(KeyboardInterrupt):
        go(recipe, folder, progress=Stopper(at))
    parts = {p: p.stat().st_mtime_ns for p in folder.glob(world.shards)}
    assert parts
    go(recipe, folder)
    assert {p: p.stat().st_mtime_ns for p in parts} == parts


def test_resuming_a_finished_run_changes_nothing(recipe, straight, ends):
    folder, before, _, summary = straight
    assert go(recipe, folder) == summary
    assert ends(folder) == before


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_every_engine_gives_the_same_bytes(recipe, straight, ends, tmp_path, engine):
    folder = tmp_path / engine / "run"
    go(recipe, folder, engine=engine)
    assert ends(folder) == straight[1]


def test_any_engine_resumes_the_work_of_another(recipe, straight, ends, tmp_path):
    for first, second in (("inline", "process"), ("process", "inline")):
        folder = tmp_path / first / "run"
        with pytest.raises(KeyboardInterrupt):
            go(recipe, folder, engine=first, progress=Stopper(2))
        go(recipe, folder, engine=second)
        assert ends(folder) == straight[1]


@pytest.mark.parametrize("method", SELECTORS, indirect=True)
def test_a_run_is_as_good_as_the_python_call(world, straight, tmp_path, bytes_by_id):
    called = world.make().fit(**world.given()).select()
    ran = Selection.read(straight[0])
    assert bytes_by_id(ran, tmp_path / "ran") == bytes_by_id(called, tmp_path / "called")


@pytest.mark.parametrize("method", EDITORS, indirect=True)
def test_a_run_gives_the_weights_of_the_python_call(world, straight):
    from safetensors.numpy import load_file

    called = world.make().apply(**world.given()).network.state_dict()
    ran = load_file(straight[0] / "model" / "model.safetensors")
    assert ran.keys() == called.keys()
    for name, weights in ran.items():
        np.testing.assert_array_equal(weights, called[name].numpy(), err_msg=name)


@pytest.mark.parametrize("method", EDITORS, indirect=True)
@pytest.mark.parametrize("content_ids", [False, True])
def test_the_order_of_the_rows_of_files_changes_nothing(method, world, ends, content_ids, tmp_path):
    found = []
    for shuffled in (False, True):
        folder = tmp_path / str(shuffled)
        folder.mkdir()
        inputs, params = world.files(folder, world.given(), content_ids=content_ids, shuffled=shuffled)
        go(Recipe(method=method, inputs=inputs, params=params), folder / "run")
        found.append(ends(folder / "run"))
    assert found[0] == found[1]


@pytest.mark.parametrize("method", SELECTORS, indirect=True)
def test_unmeasured_units_make_the_run_incomplete(straight):
    folder, _, _, summary = straight
    assert summary["undecided"] > 0
    assert Run.open(folder).status == "incomplete"


def test_the_section_of_the_report_is_drawn_from_the_run_alone(method, straight):
    sections = METHODS[method].load_section()(straight[0])
    assert len(sections) >= 3
    assert all(section.html for section in sections)
