import json
import subprocess
import sys

import pytest

from tamis.errors import RunStateError
from tamis.recipe import Recipe
from tamis.runs import Run, derive_seed, digest_file, digest_json


def recipe(pool, **params):
    return Recipe(method="ds2", inputs={"pool": str(pool)}, params={"budget": 3, **params}, seed=1)


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text('{"text": "a"}\n')
    return path


@pytest.fixture
def begin():
    runs = []

    def begin(folder, pool, **params):
        clock = "2026-01-01T00:00:00+00:00".__str__
        runs.append(Run.start(folder, recipe(pool, **params), command="tamis curate", clock=clock))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def test_manifest_records_what_the_result_depends_on(tmp_path, pool, begin):
    run = begin(tmp_path / "r", pool)
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["identity"] == {
        "method": "ds2", "inputs": {"pool": digest_file(pool)}, "params": {"budget": 3}, "seed": 1,
    }  # fmt: skip
    assert manifest["packages"]["numpy"]
    assert manifest["status"] == "running"
    run.finish("complete", {"keep": 3})
    assert Run.open(tmp_path / "r").status == "complete"
    assert [e["event"] for e in run.ledger.events()] == ["started", "finished"]


def test_paths_are_not_part_of_the_identity(tmp_path, pool, begin):
    run = begin(tmp_path / "r", pool)
    run.step("x").finish()
    run.close()
    moved = tmp_path / "moved.jsonl"
    pool.rename(moved)
    begin(tmp_path / "r", moved)


def test_another_recipe_is_refused_and_named(tmp_path, pool, begin):
    run = begin(tmp_path / "r", pool)
    run.step("x").finish()
    run.close()
    with pytest.raises(RunStateError, match=r"differs in params\.budget \(3 -> 4\)"):
        begin(tmp_path / "r", pool, budget=4)
    pool.write_text('{"text": "b"}\n')
    with pytest.raises(RunStateError, match=r"differs in inputs\.pool\."):
        begin(tmp_path / "r", pool)


def test_a_run_that_never_began_may_be_corrected(tmp_path, pool, begin):
    begin(tmp_path / "r", pool).close()
    run = begin(tmp_path / "r", pool, budget=4)
    assert run.manifest["identity"]["params"] == {"budget": 4}


def test_a_folder_with_other_things_is_left_alone(tmp_path, pool, begin):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.tex").write_text("precious")
    with pytest.raises(RunStateError, match="not empty and not a run"):
        begin(tmp_path / "r", pool)
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["thesis.tex"]


def test_a_kill_at_the_very_beginning_does_not_lock_the_folder_out(tmp_path, pool, begin):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".lock").write_text("123")
    (tmp_path / "r" / ".tmp-123-recipe.yaml").write_text("meth")
    begin(tmp_path / "r", pool)
    assert not list((tmp_path / "r").glob(".tmp-*"))


def test_unwritable_folder(tmp_path, pool, begin):
    with pytest.raises(RunStateError, match="cannot be written"):
        begin(pool / "r", pool)


def test_a_run_in_use_is_refused_until_its_process_ends(tmp_path, pool, begin):
    begin(tmp_path / "r", pool).close()
    code = (
        "import sys, time; from tamis.runs import Run; from tamis.recipe import Recipe\n"
        f"recipe = Recipe.from_yaml({str(tmp_path / 'r' / 'recipe.yaml')!r})\n"
        f"run = Run.start({str(tmp_path / 'r')!r}, recipe, command='')\n"
        "print('locked', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunStateError, match=f"in use by another process \\(pid {other.pid}\\)"):
            begin(tmp_path / "r", pool)
    finally:
        other.kill()
        other.communicate()
    begin(tmp_path / "r", pool).close()


def test_open_explains_what_is_wrong(tmp_path, pool, begin):
    with pytest.raises(RunStateError, match="not a run directory"):
        Run.open(tmp_path)
    begin(tmp_path / "r", pool).close()
    (tmp_path / "r" / "manifest.json").write_text("{")
    with pytest.raises(RunStateError, match="not valid JSON"):
        Run.open(tmp_path / "r")
    (tmp_path / "r" / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(RunStateError, match="newer tamis"):
        Run.open(tmp_path / "r")


def test_a_torn_ledger_line_is_skipped(tmp_path, pool, begin):
    run = begin(tmp_path / "r", pool)
    with run.ledger.path.open("a") as stream:
        stream.write('{"time": "x", "eve')
    run.ledger.add("after")
    assert [e["event"] for e in run.ledger.events()] == ["started", "after"]


def test_digests_and_seeds():
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})
    assert digest_json([1]) != digest_json([2])
    assert derive_seed(0, "a") != derive_seed(1, "a")
    assert 0 <= derive_seed(2**63, "x", 5) < 2**60
