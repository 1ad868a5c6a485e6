"""Which tokens are kept, held against a plain stable sort."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.curate.tokens import ranking
from tamis.curate.tokens.ranking import n_kept, top_n, top_share, top_share_by_group

# few different values, so that ties are the rule; both zeros, and the ends of float32
VALUES = [-np.inf, -3.5, -1.0, -1e-38, -1e-45, -0.0, 0.0, 1e-45, 1.0, 1.0000001, 3.4e38]
SCORES = st.lists(st.sampled_from(VALUES[1:]), max_size=40).map(lambda v: np.array(v, dtype=np.float32))
KEEP = st.one_of(st.sampled_from([1e-9, 0.1, 0.29, 0.3, 0.5, 0.6, 0.7, 0.999, 1.0, 1]), st.floats(1e-6, 1.0))


def stable_sort(score, ranked, n):
    """Kept tokens by the definition: a stable sort by falling score, the first n."""
    places = np.flatnonzero(ranked).tolist()
    first = sorted(places, key=lambda i: -float(score[i]))[:n]
    kept = np.zeros(len(score), dtype=bool)
    kept[first] = True
    return kept, float(score[first[-1]]) if first else float("nan")


@st.composite
def ranked_scores(draw):
    score = draw(SCORES)
    ranked = np.array(draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))), dtype=bool)
    return np.where(ranked, score, np.float32(np.nan)), ranked


@st.composite
def grouped_scores(draw):
    score, ranked = draw(ranked_scores())
    steps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=len(score), max_size=len(score)))
    return score, ranked, np.cumsum(np.array(steps, dtype=np.int64))


class TestCounts:
    @given(st.integers(1, 100), st.integers(0, 10_000))
    def test_the_floor_of_the_decimal_number(self, percent, n):
        assert n_kept(percent / 100, n) == percent * n // 100

    def test_binary_rounding_does_not_lose_a_token(self):
        assert int(0.29 * 100) == 28
        assert n_kept(0.29, 100) == 29
        assert [k for k in range(1, 101) if int(k / 100 * 100) != k] == [29, 57, 58]
        assert [n_kept(k / 100, 100) for k in range(1, 101)] == list(range(1, 101))

    def test_ends(self):
        assert n_kept(1, 7) == n_kept(1.0, 7) == 7
        assert n_kept(1e-300, 10**9) == 0
        assert n_kept(0.6, 0) == 0

    def test_a_number_of_numpy(self):
        """Of a sweep over ``np.linspace(0.3, 0.9, 7)``."""
        assert n_kept(np.float64(0.6), 10) == 6


class TestTopShare:
    @settings(max_examples=200, deadline=None)
    @given(ranked_scores(), KEEP)
    def test_equal_to_a_stable_sort(self, given_, keep):
        score, ranked = given_
        expected, cut = stable_sort(score, ranked, int(Fraction(repr(keep)) * int(ranked.sum())))
        kept, found = top_share(score, ranked, keep)
        np.testing.assert_array_equal(kept, expected)
        assert found == cut or np.isnan([found, cut]).all()
        assert kept.dtype == np.bool_

    @settings(max_examples=50, deadline=None)
    @given(ranked_scores(), st.data())
    def test_any_number_of_tokens(self, given_, data):
        score, ranked = given_
        n = data.draw(st.integers(0, int(ranked.sum())))
        np.testing.assert_array_equal(top_n(score, ranked, n)[0], stable_sort(score, ranked, n)[0])

    def test_on_many_tokens_with_ties_at_the_cut(self):
        rng = np.random.default_rng(0)
        score = np.round(rng.normal(size=200_000), 2).astype(np.float32)
        ranked = rng.random(len(score)) < 0.9
        kept, cut = top_share(score, ranked, 0.6)
        order = np.flatnonzero(ranked)[np.argsort(-score[ranked], kind="stable")]
        n = n_kept(0.6, int(ranked.sum()))
        np.testing.assert_array_equal(np.flatnonzero(kept), np.sort(order[:n]))
        assert cut == score[order[n - 1]]
        assert (score[ranked & ~kept] == np.float32(cut)).sum() > 100, "there were no ties to break"

    def test_both_zeros_are_equal(self):
        score = np.array([-0.0, 0.0, -0.0, 0.0], dtype=np.float32)
        assert top_share(score, np.ones(4, dtype=bool), 0.5)[0].tolist() == [True, True, False, False]

    def test_nothing_to_rank(self):
        for score, ranked in ((np.zeros(0), np.zeros(0, bool)), (np.full(3, np.nan), np.zeros(3, bool))):
            kept, cut = top_share(score.astype(np.float32), ranked, 0.6)
            assert not kept.any()
            assert np.isnan(cut)

    def test_the_input_is_left_as_it_was(self):
        score = np.array([1, 3, 2], dtype=np.float32)
        before = score.copy()
        top_share(score, np.ones(3, dtype=bool), 0.6)
        np.testing.assert_array_equal(score, before)


class TestByGroup:
    def expected(self, score, ranked, keep, group):
        kept = np.zeros(len(score), dtype=bool)
        counts = np.zeros(int(group[-1]) + 1 if len(group) else 0, dtype=np.int64)
        for g in np.unique(group):
            own = ranked & (group == g)
            counts[g] = int(Fraction(repr(keep)) * int(own.sum()))
            kept |= stable_sort(score, own, int(counts[g]))[0]
        return kept, counts

    @pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
    def test_equal_to_a_stable_sort_of_each_group_wherever_blocks_end(self, block, monkeypatch):
        monkeypatch.setattr(ranking, "_BLOCK", block)

        @settings(max_examples=100, deadline=None)
        @given(grouped_scores(), KEEP)
        def check(given_, keep):
            score, ranked, group = given_
            kept, counts = top_share_by_group(score, ranked, keep, group)
            expected, n = self.expected(score, ranked, keep, group)
            np.testing.assert_array_equal(kept, expected)
            np.testing.assert_array_equal(counts, n)

        check()

    def test_a_group_larger_than_a_block(self, monkeypatch):
        monkeypatch.setattr(ranking, "_BLOCK", 16)
        rng = np.random.default_rng(1)
        group = np.repeat([0, 1, 2, 5], [3, 100, 1, 40])
        score = np.round(rng.normal(size=len(group)), 1).astype(np.float32)
        ranked = rng.random(len(group)) < 0.8
        kept, counts = top_share_by_group(score, ranked, 0.6, group)
        expected, n = self.expected(score, ranked, 0.6, group)
        np.testing.assert_array_equal(kept, expected)
        assert counts.tolist() == n.tolist()
        assert (counts[3], counts[4]) == (0, 0)

    def test_a_group_of_one_token_keeps_none(self):
        kept, counts = top_share_by_group(
            np.array([9, 1, 2], dtype=np.float32), np.ones(3, dtype=bool), 0.6, np.array([0, 1, 1])
        )
        assert kept.tolist() == [False, False, True]
        assert counts.tolist() == [0, 1]

    def test_one_group_is_the_global_ranking(self):
        rng = np.random.default_rng(2)
        score = np.round(rng.normal(size=500), 1).astype(np.float32)
        ranked = rng.random(500) < 0.7
        one = top_share_by_group(score, ranked, 0.37, np.zeros(500, dtype=np.int64))[0]
        np.testing.assert_array_equal(one, top_share(score, ranked, 0.37)[0])

    def test_nothing(self):
        kept, counts = top_share_by_group(np.zeros(0, np.float32), np.zeros(0, bool), 0.6, np.zeros(0, np.int64))
        assert (len(kept), len(counts)) == (0, 0)
