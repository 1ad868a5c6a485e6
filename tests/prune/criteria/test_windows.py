"""Calibration windows lie inside documents, are the same with the same seed, and say so when there are too few."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import DataError, RecipeError
from tamis.prune.criteria.windows import calibration_windows, counted_tokens, joined_windows, window_batches

# Token 100 * d + i is the i-th of document d: a window tells where it was cut.
DOCUMENTS = [[100 * d + i for i in range(length)] for d, length in enumerate([30, 7, 8, 50, 8, 3, 22])]
LONG = [0, 2, 3, 4, 6]


@pytest.mark.parametrize("seed", range(20))
def test_each_window_lies_inside_a_document_of_its_own(seed):
    windows = calibration_windows(DOCUMENTS, n=5, seq_len=8, seed=seed)
    assert windows.dtype == np.int64
    assert windows.shape == (5, 8)
    assert sorted(set((windows // 100).ravel().tolist())) == LONG, "each once, none that is shorter"
    for window in windows.tolist():
        document = window[0] // 100
        assert window == DOCUMENTS[document][window[0] % 100 :][:8]


def test_every_place_is_drawn():
    starts = {int(calibration_windows([list(range(11))], n=1, seq_len=8, seed=seed)[0, 0]) for seed in range(60)}
    assert starts == {0, 1, 2, 3}


def test_the_seed_decides():
    first = calibration_windows(DOCUMENTS, n=3, seq_len=8)
    np.testing.assert_array_equal(first, calibration_windows(DOCUMENTS, n=3, seq_len=8, seed=42))
    np.testing.assert_array_equal(first, calibration_windows(DOCUMENTS, n=5, seq_len=8)[:3])
    assert (first != calibration_windows(DOCUMENTS, n=3, seq_len=8, seed=43)).any()


def test_too_few_documents():
    with pytest.raises(DataError, match=r"needs 6 documents of at least 8 tokens, and 5 of the 7 .* join"):
        calibration_windows(DOCUMENTS, n=6, seq_len=8)
    with pytest.raises(DataError, match="0 of the 0"):
        calibration_windows([])


@pytest.mark.parametrize(("changes", "name"), [({"n": 0}, "'n'"), ({"seq_len": 1}, "'seq_len'")])
def test_parameters(changes, name):
    with pytest.raises(RecipeError, match=name):
        calibration_windows(DOCUMENTS, **changes)


def test_joined_windows_do_not_overlap_and_lose_only_the_end():
    separator = [9000, 9001]
    windows = joined_windows(DOCUMENTS, seq_len=8, separator=separator)
    stream = [token for at, tokens in enumerate(DOCUMENTS) for token in (separator if at else []) + tokens]
    assert windows.ravel().tolist() == stream[: len(stream) // 8 * 8]
    assert windows.shape == (len(stream) // 8, 8)
    with pytest.raises(DataError, match="have 3 tokens together, less than one window of 4"):
        joined_windows([[1], [2]], seq_len=4, separator=[0])
    with pytest.raises(RecipeError, match="'seq_len'"):
        joined_windows(DOCUMENTS, seq_len=1)


def test_windows_that_the_network_cannot_read(decoder, windows):
    network = decoder("llama", layers=1)
    assert [len(each) for each in window_batches("bi", network, windows, 3)] == [3, 3, 1]
    with pytest.raises(DataError, match="token ids from 3 to 64, and the model knows 0 to 63"):
        window_batches("bi", network, np.array([[3, 64]]), 1)
    for wrong in (windows[0], windows[:0], windows[:, :1], windows / 1):
        with pytest.raises(DataError, match=r"of shape \(n, seq_len\)"):
            window_batches("bi", network, wrong, 1)
    with pytest.raises(RecipeError, match="'batch_size'"):
        window_batches("bi", network, windows, 0)


def test_masks(windows):
    assert counted_tokens("bi", windows, None).all()
    nothing = np.zeros(windows.shape, dtype=bool)
    for wrong in (nothing, nothing[:2], nothing.astype(int)):
        with pytest.raises(DataError, match="one bool for each token"):
            counted_tokens("bi", windows, wrong)
