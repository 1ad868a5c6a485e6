"""merge_duplicates against a dictionary of row bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import DataError
from tamis.neighbors import duplicates, merge_duplicates
from tamis.neighbors.duplicates import unique_rows


def grouped_by_bytes(X):
    """Return (first, group) by a plain dictionary."""
    seen, group, first = {}, [], []
    for row, values in enumerate(np.asarray(X, dtype=np.float32)):
        key = tuple(0.0 if v == 0 else float(v) for v in values)
        if key not in seen:
            seen[key] = len(first)
            first.append(row)
        group.append(seen[key])
    return first, group


few_values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.0 + 2**-23, 3e38, 1e-45])


@given(st.integers(1, 4).flatmap(lambda d: st.lists(st.lists(few_values, min_size=d, max_size=d), min_size=1)))
def test_groups_equal_a_dictionary_of_rows(rows):
    X = np.array(rows, dtype=np.float32)
    found = merge_duplicates(X)
    first, group = grouped_by_bytes(X)
    assert found.first.tolist() == first
    assert found.group.tolist() == group
    assert found.n_merged == len(group) - len(first)
    assert found.share == pytest.approx(found.n_merged / len(group))
    assert found.first.dtype == found.group.dtype == np.int64


def test_copies_across_blocks_are_found():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 6)).astype(np.float32)
    copies = rng.choice(5000, size=900, replace=False)
    X[copies] = X[rng.choice(50, size=900)]
    found = merge_duplicates(X)
    first, group = grouped_by_bytes(X)
    assert found.first.tolist() == first
    assert found.group.tolist() == group
    assert found.n_merged >= 800


@pytest.mark.parametrize("buckets", [1, 3])
def test_rows_that_only_share_a_hash_stay_apart(monkeypatch, buckets):
    X = np.random.default_rng(1).integers(0, 3, size=(200, 3)).astype(np.float32)
    honest = merge_duplicates(X)
    monkeypatch.setattr(
        duplicates,
        "_row_hashes",
        lambda matrix: (np.arange(len(matrix)) * 0 + matrix[:, 0] % buckets).astype(np.uint64),
    )
    collided = merge_duplicates(X)
    np.testing.assert_array_equal(collided.first, honest.first)
    np.testing.assert_array_equal(collided.group, honest.group)


def test_one_bit_makes_another_row():
    X = np.array([[1.0, 2.0], [np.nextafter(np.float32(1), np.float32(2)), 2.0]], dtype=np.float32)
    assert merge_duplicates(X).n_merged == 0


def test_hashes_differ_for_permuted_columns_and_flipped_signs():
    X = np.random.default_rng(2).normal(size=(1, 64)).astype(np.float32)
    variants = np.concatenate([X, X[:, ::-1], -X, np.roll(X, 1, axis=1), X * 2])
    assert np.unique(duplicates._row_hashes(variants)).size == 5


def test_unique_rows_in_place_equals_a_copy():
    X = np.random.default_rng(3).normal(size=(4000, 3)).astype(np.float32)
    first = np.sort(np.random.default_rng(4).choice(4000, size=2500, replace=False))
    copied = unique_rows(X, first, in_place=False)
    assert not np.shares_memory(copied, X)
    compacted = unique_rows(X, first, in_place=True)
    assert np.shares_memory(compacted, X)
    np.testing.assert_array_equal(compacted, copied)


@pytest.mark.parametrize("X", [np.empty((0, 3)), np.empty((3, 0)), [1.0, 2.0], [["a"]]])
def test_not_a_matrix(X):
    with pytest.raises(DataError, match="X must"):
        merge_duplicates(X)
