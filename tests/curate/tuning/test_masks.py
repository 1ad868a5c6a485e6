"""Reading a mask file, and the records that are held out to measure with."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tamis.curate.tuning.masks import read_masks, split_records
from tamis.data.token_rows import TokenRows
from tamis.errors import DataError
from tamis.recipe import Recipe


@pytest.fixture
def rows():
    names = [f"r{i:02d}" for i in np.random.default_rng(0).permutation(20)]
    return TokenRows.from_lists(names, [[5, 6, 7]] * 20, [[False, True, i != 3] for i in range(20)])


def read(frame, tmp_path):
    frame.write_parquet(tmp_path / "tokens.parquet")
    return read_masks(Recipe(method="train", inputs={"tokens": str(tmp_path / "tokens.parquet")}, params={}))


class TestReading:
    def test_records_come_in_the_order_of_their_ids(self, rows, tmp_path):
        keep, score = rows.response.copy(), np.arange(60, dtype=np.float32)
        found, kept, scores = read(rows.to_frame(keep=keep, score=score), tmp_path)
        assert found.unit_ids.to_list() == sorted(rows.unit_ids)
        order = np.asarray(rows.unit_ids.arg_sort())
        np.testing.assert_array_equal(kept, keep[rows.places(order)])
        np.testing.assert_array_equal(scores, score[rows.places(order)])
        assert (kept.dtype, scores.dtype) == (np.bool_, np.float32)

    def test_no_parquet(self, tmp_path):
        path = tmp_path / "tokens.parquet"
        path.write_text("{}")
        with pytest.raises(DataError, match=r"is no mask file \(\w+\); give a run of 'tamis tokens'\.$"):
            read_masks(Recipe(method="train", inputs={"tokens": str(path)}, params={}))

    @pytest.mark.parametrize("name", ["keep", "score"])
    def test_no_mask(self, rows, tmp_path, name):
        given = {"keep": rows.response, "score": np.zeros(60, np.float32)}
        del given[name]
        with pytest.raises(DataError, match=rf"it has no column '{name}'"):
            read(rows.to_frame(**given), tmp_path)

    @pytest.mark.parametrize("name", ["unit_id", "input_ids", "response"])
    def test_no_tokens(self, rows, tmp_path, name):
        frame = rows.to_frame(keep=rows.response, score=np.zeros(60, np.float32)).drop(name)
        with pytest.raises(DataError, match=name):
            read(frame, tmp_path)

    @pytest.mark.parametrize("name", ["keep", "score"])
    def test_lists_of_another_length(self, rows, tmp_path, name):
        frame = rows.to_frame(keep=rows.response, score=np.zeros(60, np.float32))
        frame = frame.with_columns(pl.col(name).list.head(2))
        with pytest.raises(DataError, match=name):
            read(frame, tmp_path)


class TestSplit:
    def test_every_record_with_an_answer_is_on_one_side(self, rows):
        silent = TokenRows(rows.unit_ids, rows.ids, rows.offsets, rows.response & (rows.row_of != 5))
        trained, held = split_records(silent, 0.25, seed=1)
        assert sorted([*trained, *held]) == [i for i in range(20) if i != 5]
        assert len(held) == round(0.25 * 19)
        assert trained.tolist() == sorted(trained)
        assert held.tolist() == sorted(held)

    def test_by_the_seed(self, rows):
        one, again, other = (split_records(rows, 0.3, seed=s)[1].tolist() for s in (1, 1, 2))
        assert one == again != other

    def test_none_and_at_least_one(self, rows):
        trained, held = split_records(rows, 0.0, seed=0)
        assert (len(trained), len(held)) == (20, 0)
        assert len(split_records(rows, 0.001, seed=0)[1]) == 1

    def test_none_left(self, rows):
        with pytest.raises(DataError, match=r"^Of 1 records with an answer, 1 held out leave none to train on\.$"):
            split_records(rows.take([0]), 0.1, seed=0)
        with pytest.raises(DataError, match="Of 0 records"):
            split_records(TokenRows(rows.unit_ids, rows.ids, rows.offsets, ~rows.response & False), 0.1, seed=0)
