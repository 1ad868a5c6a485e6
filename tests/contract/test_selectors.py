"""What every method that ends in a Selection promises: determinism, and what it does with bad or missing input."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.data import read, write
from tamis.errors import DataError, RunStateError, TamisError
from tamis.registry import METHODS
from tamis.select import Selection

SELECTORS = sorted(name for name, entry in METHODS.items() if hasattr(entry.load(), "select"))
pytestmark = pytest.mark.parametrize("method", SELECTORS, indirect=True)


@pytest.fixture(scope="module")
def given(world):
    return world.given()


@pytest.fixture(scope="module")
def fitted(world, given):
    return world.make().fit(**given)


class TestFit:
    def test_select_before_fit_is_refused(self, world, one_sentence):
        with pytest.raises(RunStateError, match="not fitted yet") as caught:
            world.make().select()
        one_sentence(caught.value)

    def test_fit_returns_self_and_ends_in_a_selection_of_every_unit(self, world, given):
        made = world.make()
        assert made.fit(**given) is made
        selection = made.select()
        assert isinstance(selection, Selection)
        assert sorted(selection.frame["unit_id"]) == sorted(world.units(given))
        assert selection.frame["reason"].null_count() == 0
        assert selection.frame["step"].null_count() == 0

    def test_fit_changes_neither_parameters_nor_its_input(self, world):
        given = world.given()
        frames = {k: v.frame.clone() for k, v in given.items() if hasattr(v, "frame")}
        arrays = {k: v.copy() for k, v in given.items() if isinstance(v, np.ndarray)}
        made = world.make()
        before = made.get_params()
        made.fit(**given)
        assert made.get_params() == before
        for name, frame in frames.items():
            assert given[name].frame.equals(frame)
        for name, array in arrays.items():
            np.testing.assert_array_equal(given[name], array)

    def test_learned_state_ends_in_an_underscore(self, world, fitted):
        learned = vars(fitted).keys() - set(world.estimator.parameter_names())
        assert learned
        assert all(name.endswith("_") for name in learned), learned

    def test_the_same_seed_gives_the_same_bytes(self, world, given, fitted, tmp_path, bytes_by_id):
        again = world.make().fit(**given)
        assert bytes_by_id(again.select(), tmp_path / "a") == bytes_by_id(fitted.select(), tmp_path / "b")

    def test_fitting_again_is_fitting_anew(self, world, given, fitted):
        used = world.make(seed=4).fit(**given)
        assert used.set_params(seed=world.make().seed).fit(**given).select() == fitted.select()

    def test_no_global_random_state_is_read_or_moved(self, world, given, fitted):
        np.random.seed(123)
        state = np.random.get_state()[1].copy()
        assert world.make().fit(**given).select() == fitted.select()
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    @pytest.mark.parametrize("content_ids", [False, True])
    def test_the_order_of_the_rows_changes_nothing(self, world, content_ids, tmp_path, bytes_by_id):
        given = world.given(content_ids=content_ids)
        straight = bytes_by_id(world.make().fit(**given).select(), tmp_path / "straight")
        n = world.size(given)
        for number, order in enumerate((np.arange(n)[::-1], np.random.default_rng(1).permutation(n))):
            shuffled = world.take(given, order)
            assert world.order(shuffled) != world.order(given)
            found = world.make().fit(**shuffled).select()
            assert bytes_by_id(found, tmp_path / str(number)) == straight


class TestBadInput:
    def test_duplicate_ids_are_refused_by_every_way_in(self, world, given, one_sentence, tmp_path):
        for attempt in world.duplicated(given, tmp_path):
            with pytest.raises(DataError, match=r"must be unique|repeat a task and worker") as caught:
                attempt()
            one_sentence(caught.value)

    @pytest.mark.parametrize("n", [0, 1])
    def test_no_row_and_one_row_are_refused(self, world, given, n, one_sentence):
        fewest = {"budget": 1} if "budget" in world.params else {}
        with pytest.raises(TamisError) as caught:
            world.make(**fewest).fit(**world.take(given, np.arange(n)))
        one_sentence(caught.value)


class TestMissingMeasurements:
    """The rule that sets tamis apart: what was not measured is neither kept nor dropped."""

    @pytest.mark.parametrize("status", ["missing", "refused", "unparsed"])
    def test_they_decide_nothing(self, world, given, fitted, status):
        decided = fitted.select().frame.filter(pl.col("decision").is_not_null())
        first = decided.sort("unit_id").group_by("decision").head(15)
        assert first["decision"].n_unique() >= 2
        gone = first["unit_id"].to_list()
        found = world.make().fit(**world.hidden(given, gone, status)).select()
        rows = found.frame.filter(pl.col("unit_id").is_in(gone))
        assert rows.height == len(gone)
        for column in ("decision", "score", "rank"):
            assert rows[column].null_count() == len(gone), column
        assert rows["reason"].null_count() == 0
        assert set(gone) <= set(found.undecided)
        assert not set(gone) & set(found.chosen)

    def test_how_a_measurement_failed_changes_nothing_for_others(self, world, given):
        gone = world.units(given)[5:45]
        found = [
            world.make().fit(**world.hidden(given, gone, status)).select()
            for status in ("missing", "refused", "unparsed")
        ]
        assert found[0] == found[1] == found[2]

    def test_what_needs_no_measurement_stays_as_it_is(self, world, given, fitted):
        gone = world.units(given)[5:45]
        without = world.untouched(world.make().fit(**world.hidden(given, gone, "refused")))
        for name, values in world.untouched(fitted).items():
            np.testing.assert_array_equal(without[name], values, err_msg=name)

    def test_the_rest_is_still_decided(self, world, given):
        gone = world.units(given)[5:45]
        found = world.make().fit(**world.hidden(given, gone, "missing")).select()
        never = set(world.make().fit(**given).select().undecided)
        assert set(found.undecided) == never | set(gone)
        assert found.counts()["keep"] == world.params.get("budget", found.counts()["keep"])

    def test_no_measurement_at_all_is_refused(self, world, given, one_sentence):
        nothing = world.hidden(given, world.units(given), "refused")
        with pytest.raises(DataError) as caught:
            world.make().fit(**nothing)
        one_sentence(caught.value)


class TestSelection:
    def test_a_selection_survives_the_disk(self, fitted, tmp_path):
        fitted.select().write(tmp_path / "selection.parquet")
        assert Selection.read(tmp_path / "selection.parquet") == fitted.select()

    def test_a_selection_applies_to_its_table(self, world, given, fitted, tmp_path):
        kept, n = world.applied(fitted, given)
        assert len(kept) == n > 0
        write(kept, tmp_path / "selected.jsonl", with_ids=True)
        assert read(tmp_path / "selected.jsonl").ids.to_list() == kept.ids.to_list()
