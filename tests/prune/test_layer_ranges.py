"""Layers as people write them."""

from __future__ import annotations

import pytest

from tamis.errors import RecipeError
from tamis.prune.layer_ranges import layer_id, read_ranges, runs_of, write_ranges


@pytest.mark.parametrize(
    ("text", "layers"),
    [("0", (0,)), ("7", (7,)), ("2-4", (2, 3, 4)), ("4,2-3", (2, 3, 4)), (" 1 , 3-3 ", (1, 3)),
     ("1,1-2,2", (1, 2)), ("0-7", tuple(range(8))), ("007", (7,))],
)  # fmt: skip
def test_reads(text, layers):
    assert read_ranges(text, 8) == layers


@pytest.mark.parametrize("text", ["", ",", "1,", "-1", "3-1", "a", "1-", "1 2", "1--2", "1.5", "0x3", "1;2", "²"])
def test_refuses_what_is_no_range(text, one_sentence):
    with one_sentence(RecipeError, "'22-28,30'", repr(text)):
        read_ranges(text, 8)


@pytest.mark.parametrize("text", ["8", "7-8", "0,99", "3-1000000"])
def test_refuses_layers_that_the_model_has_not(text, one_sentence):
    with one_sentence(RecipeError, "8 layers, 0 to 7", "the first one is 0"):
        read_ranges(text, 8)


def test_an_absurd_range_is_refused_at_once(one_sentence):
    with one_sentence(RecipeError, "names layer"):
        read_ranges("0-99999999999999", 8)


@pytest.mark.parametrize("layers", [(0,), (0, 1, 2), (0, 2, 4), (5, 6, 9, 11, 12), ()])
def test_what_is_written_is_read_as_the_same(layers):
    written = write_ranges(layers)
    assert (read_ranges(written, 13) if layers else written) == (layers or "none")


def test_runs_do_not_depend_on_the_order():
    assert runs_of([5, 0, 2, 1]) == [(0, 2), (5, 5)]


def test_ids_sort_as_layers_do():
    assert sorted(layer_id(i) for i in (100, 20, 3)) == ["layer-003", "layer-020", "layer-100"]
