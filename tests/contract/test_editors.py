"""What every method that changes a network promises: a copy that the seed decides, and what it refuses."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch

from tamis.errors import DataError, TamisError
from tamis.registry import METHODS

EDITORS = sorted(name for name, entry in METHODS.items() if hasattr(entry.load(), "apply"))
pytestmark = pytest.mark.parametrize("method", EDITORS, indirect=True)


def bits(network):
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def edit(world):
    """Apply the method to a world of its own; returns the bits of the new weights."""

    def edit(made=None, **given):
        return bits((made or world.make()).apply(**{**world.given(), **given}).network)

    return edit


@pytest.fixture(scope="module")
def edited(edit):
    return edit()


class TestApply:
    def test_it_changes_neither_parameters_nor_the_network_nor_the_examples(self, world, edited):
        given, made = world.given(), world.make()
        given["network"].train()[0].requires_grad_(False)
        before, params = copy.deepcopy(given), made.get_params()
        done = made.apply(**given)
        assert bits(done.network) == edited != bits(given["network"])
        assert vars(made) == params
        assert bits(given["network"]) == bits(before["network"])
        assert all(each.training for each in given["network"].modules())
        flags = [[each.requires_grad for each in world["network"].parameters()] for world in (given, before)]
        assert flags[0] == flags[1]
        for name in ("examples", "held_out"):
            assert torch.equal(given[name].inputs, before[name].inputs)
            assert torch.equal(given[name].labels, before[name].labels)
        np.testing.assert_array_equal(given["forget"], before["forget"])

    def test_the_seed_decides(self, world, edit, edited):
        assert edit() == edited
        assert edit(world.make(seed=1)) != edited

    def test_applying_again_is_applying_anew(self, world, edit, edited):
        made = world.make(seed=4)
        assert edit(made) != edited
        assert edit(made.set_params(seed=world.make().seed)) == edited

    def test_no_global_random_state_is_read_or_moved(self, world, edited):
        given = world.given()
        random.seed(123)
        np.random.seed(123)
        torch.manual_seed(123)
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        assert bits(world.make().apply(**given).network) == edited
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states

    def test_how_the_request_is_written_changes_nothing(self, world, edit, edited):
        given = world.given()
        mask = np.isin(np.arange(len(given["examples"])), given["forget"])
        assert edit(forget=given["forget"][::-1].tolist()) == edit(forget=mask) == edited


class TestBadInput:
    @pytest.mark.parametrize("n", [0, 1])
    def test_no_row_and_one_row_are_refused(self, world, n, one_sentence):
        given = world.given()
        with pytest.raises(TamisError) as caught:
            world.make().apply(**{**given, "examples": given["examples"].take(range(n)), "forget": range(n)})
        one_sentence(caught.value)

    def test_nothing_and_everything_to_forget_are_refused(self, world, one_sentence):
        given = world.given()
        n = len(given["examples"])
        for forget, words in (([], "No example is to be forgotten"), (np.zeros(n, dtype=bool), "No example"),
                              (range(n), "nothing is left to retain"), ([n], "there are")):  # fmt: skip
            with pytest.raises(DataError, match=words) as caught:
                world.make().apply(**{**given, "forget": forget})
            one_sentence(caught.value)

    def test_duplicate_ids_are_refused_by_every_way_in(self, world, one_sentence, tmp_path):
        for attempt in world.duplicated(world.given(), tmp_path):
            with pytest.raises(DataError, match="must be unique") as caught:
                attempt()
            one_sentence(caught.value)
