"""Masks to compare a run's with: as many tokens, other ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.curate.tokens import TokenCleaner
from tamis.curate.tokens.ranking import n_kept
from tamis.curate.tuning.arms import ARMS, arm_mask, simplest_share
from tamis.data.token_rows import TokenRows
from tamis.errors import RecipeError


def make_rows(lengths, *, prompt=2):
    """Records with so many answer tokens each, behind ``prompt`` others."""
    flags = [[False] * prompt + [True] * n for n in lengths]
    return TokenRows.from_lists([f"r{i:03d}" for i in range(len(lengths))], [[7] * len(f) for f in flags], flags)


def cleaned(rows, *, keep=0.6, lost=(), **params):
    """Mask and scores as a run leaves them."""
    rng = np.random.default_rng(1)
    base = rng.gamma(2.0, 1.0, len(rows.ids)).astype(np.float32)
    base[list(lost)] = np.nan
    cleaner = TokenCleaner(keep=keep, **params).fit(
        rows, base=base, reference=base * rng.random(len(base)).astype("f4")
    )
    return cleaner.mask_, cleaner.score_


@pytest.fixture
def rows():
    return make_rows([5, 9, 12, 3, 20, 1, 7, 5, 5, 8])


def test_the_runs_own_mask_is_left_as_it_is(rows):
    keep, score = cleaned(rows)
    np.testing.assert_array_equal(arm_mask("kept", rows, keep, score, seed=0), keep)


def test_all_answer_tokens(rows):
    keep, score = cleaned(rows)
    np.testing.assert_array_equal(arm_mask("all", rows, keep, score, seed=0), rows.response)
    keep, score = cleaned(rows, with_prompt_tokens=True)
    mask = arm_mask("all", rows, keep, score, seed=0)
    assert (mask >= keep).all(), "a run that trains on prompt tokens is compared with what trains on them too"
    assert (mask >= rows.response).all()


@pytest.mark.parametrize("arm", ["random", "reverse"])
def test_as_many_tokens_as_the_run_kept(rows, arm):
    keep, score = cleaned(rows, lost=[4, 5, 40])
    mask = arm_mask(arm, rows, keep, score, seed=0)
    assert mask.sum() == keep.sum()
    assert not mask[np.isnan(score)].any()
    assert not mask[~rows.response].any()
    assert (mask != keep).any()


def test_another_random_mask_for_each_seed(rows):
    keep, score = cleaned(rows)
    one, again, other = (arm_mask("random", rows, keep, score, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    share = np.mean([arm_mask("random", rows, keep, score, seed=s) for s in range(300)], axis=0)[rows.response]
    assert np.abs(share - keep.sum() / rows.response.sum()).max() < 0.15, "each token has the same chance"


def test_the_lowest_scores_first(rows):
    keep, score = cleaned(rows)
    mask = arm_mask("reverse", rows, keep, score, seed=0)
    assert score[mask].max() <= np.nanmin(score[~mask & rows.response])


def test_a_share_of_each_record_by_score():
    rows = make_rows([5, 10, 20, 5])
    keep, score = cleaned(rows, keep=0.6)
    mask = arm_mask("sample", rows, keep, score, seed=0)
    assert np.bincount(rows.row_of[mask], minlength=4).tolist() == [3, 6, 12, 3]
    for row in range(4):
        own = (rows.row_of == row) & rows.response
        assert score[own & mask].min() >= score[own & ~mask].max()


def test_the_share_of_each_record_is_the_one_that_the_run_was_asked_for():
    """Of 1001 tokens a run keeps 600; that share, 0.5994 of 5, would be 2 of each record and not 3."""
    rows = make_rows([5] * 200 + [1])
    keep, score = cleaned(rows, keep=0.6)
    assert keep.sum() == n_kept(0.6, 1001) == 600
    mask = arm_mask("sample", rows, keep, score, seed=0)
    assert set(np.bincount(rows.row_of[mask], minlength=201)[:200]) == {3}


@pytest.mark.parametrize("arm", ["random", "reverse", "sample"])
def test_what_was_kept_without_a_rank_belongs_to_every_arm(rows, arm):
    """After self-evolving cleaning the first slice is kept whole and has no scores."""
    keep, score = cleaned(rows)
    first = (rows.row_of < 4) & rows.response
    keep, score = np.where(first, True, keep), np.where(first, np.float32(np.nan), score)
    mask = arm_mask(arm, rows, keep, score, seed=0)
    assert mask[first].all()
    assert abs(int(mask.sum()) - int(keep.sum())) <= (0 if arm != "sample" else len(rows))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 100), st.integers(1, 20_000))
def test_the_share_is_found_back_from_what_it_kept(percent, n):
    share, kept = percent / 100, n_kept(percent / 100, n)
    found = simplest_share(kept, n)
    assert n_kept(found, n) == kept
    assert len(repr(found)) <= len(repr(share))
    if n > 10_000:
        assert found == share


@pytest.mark.parametrize("arm", ["random", "sample", "reverse"])
def test_without_scores_there_is_nothing_to_rank(rows, arm):
    nothing = np.full(len(rows.ids), np.nan, dtype=np.float32)
    with pytest.raises(RecipeError, match=rf"^The arm '{arm}' needs scores, [^\n]*; use 'kept' or 'all'\.$"):
        arm_mask(arm, rows, rows.response, nothing, seed=0)
    arm_mask("all", rows, rows.response, nothing, seed=0)


def test_an_unknown_arm(rows):
    with pytest.raises(RecipeError, match=r"^There is no arm called 'kep'\. Did you mean 'kept'\?$"):
        arm_mask("kep", rows, *cleaned(rows), seed=0)


@pytest.mark.parametrize("arm", ARMS)
def test_the_input_is_left_as_it_was(rows, arm):
    keep, score = cleaned(rows)
    before = keep.copy(), score.copy()
    arm_mask(arm, rows, keep, score, seed=0)
    np.testing.assert_array_equal(keep, before[0])
    np.testing.assert_array_equal(score, before[1])
