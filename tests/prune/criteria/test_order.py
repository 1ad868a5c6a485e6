"""Scores without a model, and scores that are no sort key."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria.order import random_scores, require_finite, reverse_scores


def test_reverse_prunes_from_the_end():
    assert np.argsort(reverse_scores(7), kind="stable").tolist() == [6, 5, 4, 3, 2, 1, 0]


def test_random_is_one_permutation_a_seed():
    scores = random_scores(30)
    assert sorted(scores.tolist()) == list(range(30))
    np.testing.assert_array_equal(scores, random_scores(30, seed=42))
    first = {int(random_scores(5, seed=seed).argmin()) for seed in range(80)}
    assert first == {0, 1, 2, 3, 4}


def test_no_layers():
    for make in (reverse_scores, random_scores):
        with pytest.raises(RecipeError, match=f"'n' parameter of {make.__name__} must be an int >= 1"):
            make(0)


def test_scores_that_are_not_finite_are_named_by_layer():
    scores = np.array([1.0, np.nan, np.inf])
    assert require_finite("ppl", scores[:1]) is not None
    with pytest.raises(DataError, match=r"'ppl' gives no finite score for the layers \[7, 9\]"):
        require_finite("ppl", scores, [5, 7, 9])
