"""unit_rows: lengths, memory, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.neighbors import unit_rows


def raw(n=9000, d=7, dtype=np.float32):
    return (np.random.default_rng(0).normal(size=(n, d)) * 5).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_rows_get_length_one_and_keep_their_direction(dtype):
    X = raw(dtype=dtype)
    X = X[(X != 0).any(axis=1)]
    unit = unit_rows(X, copy=True)
    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous
    expected = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-7)


def test_input_is_never_written_to():
    X = raw()
    before = X.copy()
    unit_rows(X, copy=False)
    np.testing.assert_array_equal(X, before)


def test_unit_input_is_returned_without_a_copy_and_bit_for_bit():
    X = unit_rows(raw(), copy=True)
    assert np.shares_memory(unit_rows(X, copy=False), X)
    copied = unit_rows(X, copy=True)
    assert not np.shares_memory(copied, X)
    np.testing.assert_array_equal(copied, X)


def test_a_row_does_not_depend_on_its_place_or_company():
    X = raw()
    X[::3] = unit_rows(X[::3], copy=True)
    whole = unit_rows(X, copy=False)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(unit_rows(X[order], copy=False), whole[order])
    np.testing.assert_array_equal(np.concatenate([unit_rows(row[None], copy=False) for row in X[:50]]), whole[:50])


def test_memory_map(tmp_path):
    X = unit_rows(raw(), copy=True)
    path = tmp_path / "x.f32"
    X.tofile(path)
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=X.shape)
    assert np.shares_memory(unit_rows(mapped, copy=False), mapped)
    (3 * X).tofile(path)
    np.testing.assert_allclose(unit_rows(mapped, copy=False), X, atol=1e-7)


def test_fortran_order_is_made_contiguous():
    unit = unit_rows(np.asfortranarray(unit_rows(raw(), copy=True)), copy=False)
    assert unit.flags.c_contiguous


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_in_float32(value):
    X = raw(dtype=np.float64)
    X[[5, 8000], 2] = value
    with pytest.raises(DataError, match=r"2 of 9000 rows with NaN or infinite values \(rows 5, 8000\)"):
        unit_rows(X, copy=True)


def test_zero_rows_are_counted_and_the_first_named():
    X = raw()
    X[10:20] = 0
    with pytest.raises(DataError, match=r"10 of 9000 rows with only zeros.*\(rows 10, 11, 12, 13, 14, \.\.\.\)"):
        unit_rows(X, copy=False)


def test_float64_values_below_float32_count_as_zero():
    with pytest.raises(DataError, match="only zeros"):
        unit_rows([[1e-60, 0.0], [1.0, 0.0]], copy=True)


def test_very_small_and_very_large_rows_are_normalised():
    np.testing.assert_allclose(unit_rows([[3e-38, 4e-38], [1.8e38, 2.4e38]], copy=True), [[0.6, 0.8]] * 2, rtol=1e-6)


@pytest.mark.parametrize("X", [[], [[]], np.zeros((0, 4)), np.zeros(4), np.zeros((2, 2, 2)), [["a", "b"]], [[1j, 2.0]]])
def test_not_a_matrix_of_numbers(X):
    with pytest.raises(DataError, match="X must"):
        unit_rows(X, copy=True)
