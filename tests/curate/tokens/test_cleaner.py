"""``TokenCleaner``: scores, scopes, baselines, missing losses, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.curate.tokens import TokenCleaner
from tamis.curate.tokens.cleaner import NO_SIGNAL
from tamis.curate.tokens.ranking import n_kept
from tamis.curate.tokens.scores import RANKINGS, token_scores
from tamis.data.token_rows import TokenRows
from tamis.errors import DataError, RecipeError


def fit(rows, losses, **params):
    return TokenCleaner(**params).fit(rows, base=losses[0], reference=losses[1])


def by_id(rows, values):
    """Values of each record's tokens, whatever the order of the records."""
    parts = zip(rows.unit_ids, np.split(values, rows.offsets[1:-1]), strict=True)
    return {unit: part.tolist() for unit, part in parts}


class TestScores:
    def score(self, rank_by, base, reference, seed=0):
        arrays = (np.array(each, dtype=np.float32) for each in (base, reference))
        return token_scores(rank_by, *arrays, rng=np.random.default_rng(seed))

    def test_the_score_is_base_less_reference(self):
        base, reference = [3.0, 1.0, 0.5], [1.0, 1.5, 0.5]
        assert self.score("excess", base, reference).tolist() == [2.0, -0.5, 0.0]
        assert self.score("reverse", base, reference).tolist() == [-2.0, 0.5, 0.0]
        assert self.score("base-high", base, reference).tolist() == base
        assert self.score("base-low", base, reference).tolist() == [-3.0, -1.0, -0.5]

    def test_random_scores_come_from_the_generator_alone(self):
        one, again, other = (self.score("random", [1.0] * 50, [2.0] * 50, seed=s) for s in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()
        assert len(np.unique(one)) > 40

    @pytest.mark.parametrize("rank_by", RANKINGS)
    def test_a_loss_that_is_missing_in_either_model_gives_no_score(self, rank_by):
        score = self.score(rank_by, [np.nan, 1.0, 1.0, 2.0], [1.0, np.nan, 1.0, 3.0])
        assert np.isnan(score).tolist() == [True, True, False, False]
        assert score.dtype == np.float32

    @pytest.mark.parametrize("rank_by", RANKINGS)
    def test_losses_are_left_as_they_were(self, rank_by):
        base, reference = np.array([np.nan, 1.0], dtype=np.float32), np.array([1.0, np.nan], dtype=np.float32)
        before = base.copy(), reference.copy()
        token_scores(rank_by, base, reference, rng=np.random.default_rng(0))
        np.testing.assert_array_equal((base, reference), before)


class TestFit:
    def test_what_it_learns(self, rows, losses):
        cleaner = fit(rows, losses, keep=0.5)
        n = len(rows.ids)
        assert cleaner.score_.shape == cleaner.mask_.shape == cleaner.state_.shape == cleaner.candidate_.shape == (n,)
        assert (cleaner.score_.dtype, cleaner.mask_.dtype, cleaner.state_.dtype) == (np.float32, np.bool_, np.int8)
        np.testing.assert_array_equal(cleaner.candidate_, rows.response)
        gap = losses[0] - losses[1]
        np.testing.assert_array_equal(cleaner.score_, np.where(rows.response, gap, np.nan))
        np.testing.assert_array_equal(cleaner.state_, cleaner.mask_.astype(np.int8))
        assert cleaner.mask_.sum() == n_kept(0.5, int(rows.response.sum()))
        assert cleaner.cut_ == cleaner.score_[cleaner.mask_].min()
        assert np.nanmax(cleaner.score_[~cleaner.mask_]) <= cleaner.cut_
        assert cleaner.warnings_ == []

    @pytest.mark.parametrize("scope", ["global", "sample", "batch"])
    @pytest.mark.parametrize("rank_by", RANKINGS)
    def test_the_order_of_the_records_changes_nothing(self, rows, losses, scope, rank_by):
        order = np.random.default_rng(3).permutation(len(rows))
        places = rows.places(order)
        given = {"keep": 0.5, "scope": scope, "rank_by": rank_by, "batch_rows": 3}
        one = fit(rows, losses, **given)
        other = fit(rows.take(order), (losses[0][places], losses[1][places]), **given)
        for name in ("mask_", "state_", "candidate_"):
            assert by_id(rows, getattr(one, name)) == by_id(rows.take(order), getattr(other, name)), name
        np.testing.assert_array_equal(one.score_[places], other.score_)
        assert one.selection_.frame.sort("unit_id").equals(other.selection_.frame.sort("unit_id"))
        assert one.span_selection_.frame.sort("unit_id").equals(other.span_selection_.frame.sort("unit_id"))

    def test_fitting_twice_forgets_the_first_time(self, rows, losses):
        cleaner = fit(rows, losses)
        first = cleaner.mask_.copy()
        zero = np.zeros(len(rows.ids), dtype=np.float32)
        assert cleaner.fit(rows, base=zero, reference=zero).warnings_ == [NO_SIGNAL]
        cleaner.fit(rows, base=losses[0], reference=losses[1])
        assert cleaner.warnings_ == []
        np.testing.assert_array_equal(cleaner.mask_, first)

    def test_the_input_is_left_as_it_was(self, rows, losses):
        before = [each.copy() for each in (*losses, rows.ids, rows.response)]
        fit(rows, losses, with_prompt_tokens=True, rank_by="reverse")
        for each, old in zip((*losses, rows.ids, rows.response), before, strict=True):
            np.testing.assert_array_equal(each, old)

    def test_a_share_of_numpy(self, rows, losses):
        one, other = (fit(rows, losses, keep=keep) for keep in (0.6, np.float64(0.6)))
        np.testing.assert_array_equal(one.mask_, other.mask_)

    def test_losses_in_float64_are_ranked_in_float32(self, rows, losses):
        wide = tuple(each.astype(np.float64) for each in losses)
        assert fit(rows, wide).score_.dtype == np.float32


class TestScopes:
    def test_sample_keeps_a_share_of_each_record(self, rows, losses):
        cleaner = fit(rows, losses, scope="sample", keep=0.6)
        kept = np.bincount(rows.row_of[cleaner.mask_], minlength=len(rows))
        n = np.bincount(rows.row_of[rows.response], minlength=len(rows))
        assert kept.tolist() == [n_kept(0.6, each) for each in n.tolist()]
        assert np.isnan(cleaner.cut_)
        for row in range(len(rows)):
            own = (rows.row_of == row) & rows.response
            kept_scores, rest = cleaner.score_[own & cleaner.mask_], cleaner.score_[own & ~cleaner.mask_]
            assert not len(kept_scores) or not len(rest) or kept_scores.min() >= rest.max()

    def test_batch_keeps_a_share_of_so_many_records(self, rows, losses):
        cleaner = fit(rows, losses, scope="batch", keep=0.6, batch_rows=len(rows))
        np.testing.assert_array_equal(cleaner.mask_, fit(rows, losses, keep=0.6).mask_)
        one = fit(rows, losses, scope="batch", keep=0.6, batch_rows=1)
        np.testing.assert_array_equal(one.mask_, fit(rows, losses, scope="sample", keep=0.6).mask_)
        some = fit(rows, losses, scope="batch", keep=0.6, batch_rows=4)
        n = int(rows.response.sum())
        assert n_kept(0.6, n) - 5 <= some.mask_.sum() <= n_kept(0.6, n)
        assert (some.mask_ != cleaner.mask_).any()

    def test_batches_are_drawn_by_the_seed(self, rows, losses):
        one, again, other = (fit(rows, losses, scope="batch", batch_rows=3, seed=s).mask_ for s in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()

    def test_a_random_mask_follows_the_seed(self, rows, losses):
        """The published baseline has one mask for three seeds."""
        one, again, other = (fit(rows, losses, rank_by="random", seed=s).mask_ for s in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()
        assert one.sum() == other.sum() == fit(rows, losses).mask_.sum()

    def test_other_rankings_do_not_hang_on_the_seed(self, rows, losses):
        for scope in ("global", "sample"):
            one, other = (fit(rows, losses, scope=scope, seed=s).mask_ for s in (1, 2))
            np.testing.assert_array_equal(one, other)

    def test_with_prompt_tokens(self, rows, losses):
        cleaner = fit(rows, losses, with_prompt_tokens=True, keep=1.0)
        assert not cleaner.candidate_[rows.offsets[:-1]].any(), "nothing predicts the first token"
        assert cleaner.candidate_.sum() == len(rows.ids) - len(rows)
        np.testing.assert_array_equal(cleaner.mask_, cleaner.candidate_)


class TestMissing:
    def test_what_has_no_loss_is_neither_kept_nor_masked(self, rows, losses):
        lost = rows.response & (rows.row_of == 4)
        lost[np.flatnonzero(rows.response)[0]] = True
        base, reference = losses
        base, reference = np.where(lost & (rows.row_of % 2 == 0), np.nan, base), np.where(lost, np.nan, reference)
        cleaner = fit(rows, (base, reference), keep=0.6)
        assert (cleaner.state_ == 2).sum() == lost.sum()
        assert not cleaner.mask_[lost].any()
        assert cleaner.mask_.sum() == n_kept(0.6, int((rows.response & ~lost).sum()))
        own = cleaner.selection_.frame.filter(unit_id=rows.unit_ids[4])
        assert own["decision"].to_list() == [None]
        assert own["score"].to_list() == [None]
        assert own["reason"].item() == "no loss could be measured"

    def test_what_is_no_candidate_is_not_looked_at(self, rows, losses):
        junk = tuple(np.where(rows.response, each, np.nan) for each in losses)
        np.testing.assert_array_equal(fit(rows, junk).mask_, fit(rows, losses).mask_)

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_an_infinite_loss_is_missing(self, rows, losses, value):
        lost = np.flatnonzero(rows.response)[3]
        broken = [each.copy() for each in losses]
        for each in broken:
            each[lost] = value
        assert fit(rows, broken).state_[lost] == 2

    def test_nothing_measured(self, rows, losses):
        nothing = np.full(len(rows.ids), np.nan, dtype=np.float32)
        with pytest.raises(
            DataError, match=r"^No token has a loss by both models, [^\n]* response tokens in 20 records"
        ):
            fit(rows, (losses[0], nothing))

    def test_no_response_at_all(self, rows, losses):
        silent = TokenRows(rows.unit_ids, rows.ids, rows.offsets, np.zeros(len(rows.ids), dtype=bool))
        with pytest.raises(DataError, match=r"^None of the 20 records has an answer token to rank; "):
            fit(silent, losses)


class TestWarnings:
    def test_equal_scores_are_no_signal(self, rows, losses):
        cleaner = fit(rows, (losses[0], losses[0]))
        assert cleaner.warnings_ == [NO_SIGNAL]
        assert (cleaner.score_[rows.response] == 0).all()

    def test_where_all_is_kept_nothing_hangs_on_it(self, rows, losses):
        assert fit(rows, (losses[0], losses[0]), keep=1.0).warnings_ == []


class TestRefused:
    @pytest.mark.parametrize(
        ("params", "words"),
        [({"keep": 0}, "(0, 1]"), ({"keep": 1.01}, "(0, 1]"), ({"keep": -0.6}, "(0, 1]"), ({"keep": True}, "(0, 1]"),
         ({"keep": "0.6"}, "(0, 1]"), ({"keep": float("nan")}, "(0, 1]"), ({"keep": None}, "(0, 1]"),
         ({"scope": "row"}, "'global', 'sample' or 'batch'"), ({"rank_by": "loss"}, "'excess'"),
         ({"with_prompt_tokens": 1}, "a bool"), ({"batch_rows": 0}, "an int in [1, inf)"),
         ({"batch_rows": 1.0}, "an int in [1, inf)"), ({"seed": 0.5}, "an int"), ({"seed": None}, "an int")],
        ids=lambda v: "-".join(f"{k}={x}" for k, x in v.items()) if isinstance(v, dict) else "",
    )  # fmt: skip
    def test_parameters(self, rows, losses, params, words):
        with pytest.raises(RecipeError) as caught:
            fit(rows, losses, **params)
        said = str(caught.value)
        name = next(iter(params))
        assert said.startswith(f"The '{name}' parameter of TokenCleaner must be ")
        assert words in said
        assert said.endswith(f"Got {params[name]!r} instead.")

    @pytest.mark.parametrize("which", ["base", "reference"])
    def test_losses_of_another_length(self, rows, losses, which):
        given = dict(zip(("base", "reference"), losses, strict=True))
        given[which] = given[which][:-1]
        n = len(rows.ids)
        with pytest.raises(DataError, match=rf"^The {which} losses must be one a token, {n} in all\. Got shape"):
            TokenCleaner().fit(rows, **given)

    def test_one_record_is_no_ranking(self, rows, losses):
        one = rows.take([0])
        with pytest.raises(DataError, match=r"at least two records\. Got 1 instead\.$"):
            TokenCleaner().fit(one, base=losses[0][: len(one.ids)], reference=losses[1][: len(one.ids)])
