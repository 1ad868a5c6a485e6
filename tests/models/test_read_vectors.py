"""Vectors that the user brings: taken whole and in the right order, or refused with one sentence."""

import numpy as np
import polars as pl
import pytest

from tamis.errors import DataError
from tamis.models import read_vectors
from tamis.neighbors import unit_rows


class TestReadVectors:
    IDS = ("a", "b", "c")
    ROWS = ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0])

    def read(self, path, **options):
        return read_vectors(path, n_rows=3, ids=self.IDS, **options)

    def parquet(self, tmp_path, **columns):
        pl.DataFrame(columns).write_parquet(tmp_path / "v.parquet")
        return tmp_path / "v.parquet"

    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
    def test_npy_is_taken_in_row_order(self, tmp_path, dtype):
        np.save(tmp_path / "v.npy", np.array(self.ROWS, dtype=dtype))
        found = self.read(tmp_path / "v.npy")
        assert found.tolist() == list(self.ROWS)
        assert found.dtype == np.float32

    @pytest.mark.parametrize("key", ["id", "unit_id"])
    def test_parquet_is_matched_by_id(self, tmp_path, key):
        rows = [self.ROWS[2], self.ROWS[0], self.ROWS[1], [9.0, 9.0]]
        path = self.parquet(tmp_path, **{key: ["c", "a", "b", "unknown"], "embedding": rows})
        assert self.read(path).tolist() == list(self.ROWS)

    def test_integer_ids_match_as_text(self, tmp_path):
        path = self.parquet(tmp_path, id=[2, 1], v=[[2.0], [1.0]])
        assert read_vectors(path, n_rows=2, ids=["1", "2"]).tolist() == [[1.0], [2.0]]

    def test_parquet_without_ids_is_taken_in_row_order(self, tmp_path):
        assert self.read(self.parquet(tmp_path, v=list(self.ROWS))).tolist() == list(self.ROWS)

    def test_arrays_of_fixed_width_do_too(self, tmp_path):
        fixed = pl.Series(list(self.ROWS), dtype=pl.Array(pl.Float32, 2))
        assert self.read(self.parquet(tmp_path, v=fixed)).tolist() == list(self.ROWS)

    def test_a_column_by_name_among_several(self, tmp_path):
        path = self.parquet(tmp_path, v=list(self.ROWS), w=[[0.0]] * 3)
        assert self.read(path, column="v").tolist() == list(self.ROWS)
        with pytest.raises(DataError, match=r"one list column.*\['v', 'w'\]"):
            self.read(path)
        with pytest.raises(DataError, match="one list column"):
            self.read(path, column="x")

    def test_what_does_not_fit_is_one_sentence(self, tmp_path):
        np.save(tmp_path / "short.npy", np.ones((2, 4)))
        np.save(tmp_path / "flat.npy", np.ones(3))
        np.save(tmp_path / "objects.npy", np.array([{}, {}, {}]), allow_pickle=True)
        (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY\x01")
        (tmp_path / "empty.npy").write_bytes(b"")
        (tmp_path / "v.txt").write_text("1 2")
        (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
        for name, message in {
            "absent.npy": "no embeddings file",
            "short.npy": r"shape \(2, 4\); expected \(3, d\)",
            "flat.npy": r"shape \(3,\); expected \(3, d\)",
            "objects.npy": "not a readable .npy",
            "torn.npy": "not a readable .npy",
            "empty.npy": "not a readable .npy",
            "v.txt": r"must be a \.npy or \.parquet file; got 'v\.txt'",
            "torn.parquet": "not a readable Parquet",
        }.items():
            with pytest.raises(DataError, match=message) as caught:
                self.read(tmp_path / name)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"id": ["a", "b"], "v": [[1.0], [2.0]]}, r"no vector for 1 of 3 pool rows \(first: 'c'\)"),
            ({"id": ["a", "b", "c"], "v": [[1.0], None, [3.0]]}, r"no vector for 1 of 3 pool rows \(first: 'b'\)"),
            ({"v": [[1.0, 2.0], [3.0], [4.0, 5.0]]}, r"differ in length \(from 1 to 2"),
            ({"v": [[1.0], None, [3.0]]}, "vector"),
            ({"v": [[1.0], [2.0]]}, r"shape \(2, 1\); expected \(3, d\)"),
            ({"v": [1.0, 2.0, 3.0]}, "one list column"),
            ({"v": [["x"], ["y"], ["z"]]}, "number"),
            ({"id": ["a", "a", "b", "c"], "v": [[1.0], [2.0], [3.0], [4.0]]}, "more than one vector"),
        ],
        ids=["absent id", "null by id", "ragged", "null", "short", "no list", "words", "id twice"],
    )
    def test_parquet_that_does_not_fit_is_one_sentence(self, tmp_path, columns, message):
        with pytest.raises(DataError, match=message) as caught:
            self.read(self.parquet(tmp_path, **columns))
        assert "\n" not in str(caught.value)

    def test_nan_is_left_to_the_check_that_names_the_row(self, tmp_path):
        np.save(tmp_path / "v.npy", np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, 4.0]]))
        found = self.read(tmp_path / "v.npy")
        with pytest.raises(DataError, match=r"1 of 3 rows with NaN or infinite values \(rows 1\)"):
            unit_rows(found, copy=False)
