import os

import pytest

from tamis.engine import get_engine
from tamis.errors import IncompleteError, RecipeError


def negate(x):
    return -x


def die(x):
    os._exit(9)


def fail(x):
    raise ValueError(f"shard {x}")


@pytest.mark.parametrize("name", ["inline", "process"])
def test_every_shard_once(name):
    found = dict(get_engine(name, workers=2).map(negate, list(range(9))))
    assert found == {i: -i for i in range(9)}
    assert dict(get_engine(name).map(negate, [])) == {}


@pytest.mark.parametrize("name", ["inline", "process"])
def test_the_error_of_a_task_reaches_the_caller(name):
    with pytest.raises(ValueError, match="shard 1"):
        list(get_engine(name).map(fail, [1]))


def test_a_dead_worker_is_an_incomplete_run_not_a_hang():
    with pytest.raises(IncompleteError, match="worker process died"):
        list(get_engine("process", workers=1).map(die, [1, 2]))


def test_bad_choices():
    with pytest.raises(RecipeError, match="Did you mean 'process'"):
        get_engine("proces")
    with pytest.raises(RecipeError, match="'workers' parameter of ProcessEngine"):
        get_engine("process", workers=0)
