"""The self-evolving order of work, with a model that is a list of what it was taught."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.curate.tokens import TokenCleaner
from tamis.curate.tokens.outcome import FIRST_SLICE
from tamis.curate.tokens.ranking import n_kept
from tamis.curate.tokens.stages import self_evolving
from tamis.errors import DataError


class Taught:
    """Trains by remembering; its loss of a token falls by a fixed amount for each stage that it has seen."""

    def __init__(self, rows, base):
        self.base = dict(zip(rows.unit_ids, np.split(base, rows.offsets[1:-1]), strict=True))
        self.trained, self.scored, self.log = [], [], []

    def train(self, stage, rows, mask):
        self.log.append(f"train {stage}")
        self.trained.append((stage, rows, mask.copy()))

    def losses(self, stage, rows):
        self.log.append(f"score {stage} after {len(self.trained)} trainings")
        taught = np.concatenate([self.base[unit] for unit in rows.unit_ids])
        drop = (np.arange(len(taught)) * 7 % 11) / 11
        found = (taught - len(self.trained) * drop).astype(np.float32)
        self.scored.append((stage, rows, found))
        return found


@pytest.fixture
def go(rows, losses):
    """Run the stages; returns the outcome and what the model was asked."""

    def go(*, given=None, base=None, **options):
        params = {name: options.pop(name) for name in ("keep", "scope", "rank_by", "seed", "batch_rows")
                  if name in options}  # fmt: skip
        given, base = rows if given is None else given, losses[0] if base is None else base
        model = Taught(given, base)
        cleaner = TokenCleaner(**params)
        outcome = self_evolving(given, base, cleaner, train=model.train, losses=model.losses, **options)
        return outcome, model

    return go


def test_each_slice_is_scored_by_what_the_slices_before_it_have_trained(go):
    _, model = go(slices=4)
    assert model.log == [
        "train 0", "score 1 after 1 trainings", "train 1", "score 2 after 2 trainings", "train 2",
        "score 3 after 3 trainings", "train 3",
    ]  # fmt: skip


def test_the_first_slice_trains_on_all_of_its_answers(go, rows):
    outcome, model = go(slices=4)
    _, part, mask = model.trained[0]
    np.testing.assert_array_equal(mask, part.response)
    places = rows.places(np.flatnonzero(outcome.stage_of == 0))
    np.testing.assert_array_equal(outcome.mask[places], rows.response[places])
    assert np.isnan(outcome.score[places]).all()
    assert np.isnan(outcome.reference[places]).all()


def test_the_base_is_fixed_and_the_latest_model_is_the_reference(go, rows, losses):
    outcome, model = go(slices=4)
    np.testing.assert_array_equal(outcome.base, losses[0])
    for stage, part, found in model.scored:
        positions = np.flatnonzero(outcome.stage_of == stage)
        order = np.concatenate([np.flatnonzero(rows.unit_ids == unit) for unit in part.unit_ids])
        assert sorted(order) == positions.tolist()
        places = rows.places(order)
        np.testing.assert_array_equal(outcome.reference[places], found)
        expected = np.where(part.response, losses[0][places] - found, np.nan)
        np.testing.assert_array_equal(outcome.score[places], expected)


def test_each_later_slice_keeps_its_share_and_trains_with_that_mask(go, rows):
    outcome, model = go(slices=4, keep=0.3)
    for stage, part, mask in model.trained[1:]:
        assert mask.sum() == n_kept(0.3, int(part.response.sum()))
        assert outcome.mask[np.isin(rows.row_of, np.flatnonzero(outcome.stage_of == stage))].sum() == mask.sum()
        assert not mask[~part.response].any()
    kept = [each["kept"] for each in outcome.stages]
    assert kept == [int(mask.sum()) for _, _, mask in model.trained]
    assert [each["tokens"] for each in outcome.stages] == [int(part.response.sum()) for _, part, _ in model.trained]
    assert outcome.stages[0]["cut"] is None
    for each, (_, part, mask) in zip(outcome.stages[1:], model.trained[1:], strict=True):
        own = outcome.score[np.isin(rows.row_of, np.flatnonzero(rows.unit_ids.is_in(part.unit_ids.implode())))]
        assert each["cut"] == np.sort(own[~np.isnan(own)])[::-1][mask.sum() - 1]


@pytest.mark.parametrize("slicing", ["shuffled", "contiguous"])
def test_no_record_is_lost_or_taken_twice(go, rows, slicing):
    outcome, model = go(slices=3, slicing=slicing)
    seen = [unit for _, part, _ in model.trained for unit in part.unit_ids]
    assert sorted(seen) == sorted(rows.unit_ids)
    # 20 records in 3 slices: the remainder, which the published recipe drops, goes to the first ones
    assert [each["records"] for each in outcome.stages] == [7, 7, 6]
    assert np.bincount(outcome.stage_of).tolist() == [7, 7, 6]


def test_contiguous_slices_follow_the_order_of_the_rows(go, rows):
    outcome, model = go(slices=4, slicing="contiguous")
    assert outcome.stage_of.tolist() == sorted(outcome.stage_of.tolist())
    assert [unit for _, part, _ in model.trained for unit in part.unit_ids] == rows.unit_ids.to_list()


def test_shuffled_slices_follow_the_seed(go):
    one, again, other = (go(slices=4, seed=s)[0].stage_of.tolist() for s in (1, 1, 2))
    assert one == again != other
    assert one != sorted(one)
    assert go(slices=4, seed=1, slicing="contiguous")[0].stage_of.tolist() == sorted(one)


def test_random_masks_of_the_slices_are_not_the_same(go, rows):
    """With one seed for all slices, records of equal lengths would get equal masks."""
    equal = make_rows_of_equal_length(20)
    base = np.ones(len(equal.ids), dtype=np.float32)
    _, model = go(given=equal, base=base, rank_by="random", slices=4)
    masks = [mask.tolist() for _, _, mask in model.trained[1:]]
    assert masks[0] != masks[1] != masks[2] != masks[0]
    _, again = go(given=equal, base=base, rank_by="random", slices=4)
    assert [mask.tolist() for _, _, mask in again.trained[1:]] == masks


def make_rows_of_equal_length(n):
    from tamis.data.token_rows import TokenRows

    return TokenRows.from_lists([f"r{i:02d}" for i in range(n)], [[5] * 6] * n, [[False] + [True] * 5] * n)


@pytest.mark.parametrize("scope", ["sample", "batch"])
def test_the_scope_holds_within_a_slice(go, scope):
    outcome, model = go(slices=3, scope=scope, keep=0.5, batch_rows=2)
    for _, part, mask in model.trained[1:]:
        n = np.bincount(part.row_of[part.response], minlength=len(part))
        kept = np.bincount(part.row_of[mask], minlength=len(part))
        if scope == "sample":
            assert kept.tolist() == [each // 2 for each in n.tolist()]
        else:
            assert 0 < kept.sum() <= n.sum() // 2
    assert [each["cut"] for each in outcome.stages] == [None, None, None]


def test_a_model_that_learns_nothing_is_told_by_slice(go, rows, losses):
    base = np.zeros_like(losses[0])
    assert go(slices=3, base=base)[0].warnings == (), "this one does learn"
    still = self_evolving(
        rows, base, TokenCleaner(), slices=3, train=lambda *_: None,
        losses=lambda _, part: np.zeros(len(part.ids), dtype=np.float32),
    )  # fmt: skip
    assert [each.split(":")[0] for each in still.warnings] == ["slice 1", "slice 2"]


def test_selections_say_why_the_first_slice_is_kept(go, rows):
    import polars as pl

    outcome, _ = go(slices=4)
    lost = pl.DataFrame({"unit_id": ["x"], "reason": ["is refused"]})
    records, spans = outcome.selections(lost)
    first = rows.unit_ids[np.flatnonzero(outcome.stage_of == 0)].to_list()
    answered = rows.unit_ids[np.unique(rows.row_of[rows.response])].to_list()
    own = records.frame.filter(pl.col("unit_id").is_in(first) & pl.col("unit_id").is_in(answered))
    assert set(own["decision"]) == {"keep"}
    assert set(own["reason"]) == {FIRST_SLICE}
    assert own["score"].null_count() == len(own), "nothing was ranked there"
    assert records.frame.filter(unit_id="x").select("decision", "reason").row(0) == (None, "the row is refused")
    assert len(records) == len(rows) + 1
    assert not spans.frame["unit_id"].str.starts_with("x").any()


def test_fewer_than_two_records_a_slice_are_refused(go, rows):
    with pytest.raises(DataError, match=r"^11 slices need at least 22 records\. Got 20 instead; use fewer slices\.$"):
        go(slices=11)
    equal = make_rows_of_equal_length(20)
    outcome, _ = go(given=equal, base=np.ones(len(equal.ids), dtype=np.float32), slices=10)
    assert [each["records"] for each in outcome.stages] == [2] * 10


class TestSlicesThatTeachNothing:
    """They are passed over: a pool in order of quality may have them, and hours of work are not lost."""

    def world(self, silent):
        equal = make_rows_of_equal_length(20)
        flags = equal.response & ~np.isin(equal.row_of, silent)
        return type(equal)(equal.unit_ids, equal.ids, equal.offsets, flags)

    def test_no_answers(self, go):
        given = self.world(range(10, 15))
        base = np.ones(len(given.ids), dtype=np.float32)
        outcome, model = go(given=given, base=base, slices=4, slicing="contiguous")
        assert [each["tokens"] for each in outcome.stages] == [25, 25, 0, 25]
        assert all(mask.any() for _, _, mask in model.trained)

    def test_no_token_kept(self, go):
        given = self.world([])
        base = np.ones(len(given.ids), dtype=np.float32)
        outcome, model = go(given=given, base=base, slices=4, keep=0.01)
        assert [each["kept"] for each in outcome.stages] == [25, 0, 0, 0]
        assert all(mask.any() for _, _, mask in model.trained), "a training on nothing is refused by the loop"
