import polars as pl
import pytest

from tamis.engine import get_engine
from tamis.recipe import Recipe
from tamis.runs import Run, atomic_path


def square(shard):
    return pl.DataFrame({"x": [v * v for v in shard]})


class Interrupting:
    """Squares, but fails on a shard until told otherwise; counts what it computes."""

    def __init__(self, fail_at):
        self.fail_at, self.seen = fail_at, []

    def __call__(self, shard):
        if shard[0] == self.fail_at:
            raise KeyboardInterrupt
        self.seen.append(shard[0])
        return square(shard)


SHARDS = [[0, 1], [2, 3], [4]]
SIZES = [2, 2, 1]


@pytest.fixture
def start(tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text("{}\n")

    runs = []

    def start(name="r", **params):
        recipe = Recipe(method="ds2", inputs={"pool": str(pool)}, params=params)
        runs.append(Run.start(tmp_path / name, recipe, command=""))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def values(step):
    return pl.concat(step.parts())["x"].to_list()


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_parts_come_back_in_shard_order(start, engine):
    step = start().step("square")
    seen = []
    step.map(square, SHARDS, engine=get_engine(engine), sizes=SIZES, progress=lambda *a: seen.append(a))
    assert values(step) == [0, 1, 4, 9, 16]
    assert step.complete
    assert seen[0] == ("01-square", 0, 5)
    assert seen[-1] == ("01-square", 5, 5)


def test_resume_computes_only_what_is_missing(start):
    run = start()
    task = Interrupting(fail_at=4)
    with pytest.raises(KeyboardInterrupt):
        run.step("square").map(task, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    run.close()
    again, step = Interrupting(fail_at=None), start().step("square")
    assert not step.complete
    step.map(again, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    assert (task.seen, again.seen) == ([0, 2], [4])
    assert values(step) == [0, 1, 4, 9, 16]


def test_a_part_without_its_marker_is_computed_again(start):
    step = start().step("square")
    step.map(square, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    (step.folder / "_DONE" / "00001").unlink()
    (step.folder / "part-00001.parquet").write_bytes(b"half a fi")
    step.map(square, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    assert values(step) == [0, 1, 4, 9, 16]


def test_another_key_empties_the_folder(start):
    run = start()
    run.step("square", version=1).map(square, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    run.close()
    again = start()
    assert again.step("square", version=1).complete
    again.close()
    changed = start().step("square", version=2)
    assert not changed.complete
    assert list(changed.parts()) == []


def test_a_finished_step_is_taken_over_from_a_run_beside_it(start):
    first = start().step("square", n=3)
    first.map(square, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    sibling = start("other", budget=9)
    step = sibling.step("square", n=3)
    assert step.complete
    assert values(step) == [0, 1, 4, 9, 16]
    assert [e["event"] for e in sibling.ledger.events()] == ["started", "reused"]


def test_it_is_taken_over_wherever_it_came_there(start):
    first = start()
    first.step("square", n=3).map(square, SHARDS, engine=get_engine("inline"), sizes=SIZES)
    sibling = start("other", budget=9)
    sibling.step("first-square", n=3)
    step = sibling.step("square", n=3)
    assert step.name == "02-square"
    assert values(step) == [0, 1, 4, 9, 16]
    assert not sibling.step("square-root", n=3).complete


def test_atomic_path_leaves_no_half_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with atomic_path(target) as path:
            path.write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
