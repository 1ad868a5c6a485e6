"""Calibration text: windows of token ids, all of one length, that lie inside documents or run across them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows
from tamis.errors import DataError, parameter_error
from tamis.runs.digests import derive_seed
from tamis.train.masked_lm import MaskedTokens

BATCH_WINDOWS = 4
"""Windows that a model reads at a time by default: their logits are one piece for windows of 128 tokens."""


def calibration_windows(
    documents: Sequence[Sequence[int]], *, n: int = 10, seq_len: int = 128, seed: int = 42
) -> NDArray[np.int64]:
    """Draw a random window out of each of ``n`` random documents; none is drawn twice.

    Documents shorter than a window are passed over, so that no window is padded (arXiv 2411.15558, calibration).

    Parameters
    ----------
    documents : sequence of sequences of int
        Token ids. Their order counts: sort them by id.
    n : int, default=10
    seq_len : int, default=128
        Tokens of a window, at least 2.
    seed : int, default=42
        With the same seed, the windows of a smaller ``n`` are the first of a larger one.

    Returns
    -------
    ndarray of int64, shape (n, seq_len)

    Raises
    ------
    DataError
        If fewer than ``n`` documents are long enough.
    RecipeError
        If ``n`` or ``seq_len`` is too small.

    Examples
    --------
    >>> calibration_windows([[1, 2, 3], [4], [5, 6]], n=2, seq_len=2).tolist()
    [[2, 3], [5, 6]]
    """
    if n < 1:
        raise parameter_error("calibration_windows", "n", "an int >= 1", n)
    _require_length("calibration_windows", seq_len)
    long = [place for place, tokens in enumerate(documents) if len(tokens) >= seq_len]
    if len(long) < n:
        raise DataError(
            f"Calibration needs {n} documents of at least {seq_len} tokens, and {len(long)} of the {len(documents)} "
            "documents have as many; give longer or more documents, ask for fewer or shorter windows, or join the "
            "documents."
        )
    rng = np.random.default_rng(derive_seed(seed, "calibration windows"))
    drawn = [long[place] for place in rng.permutation(len(long))[:n]]
    starts = [int(rng.integers(len(documents[place]) - seq_len + 1)) for place in drawn]
    rows = [documents[place][start : start + seq_len] for place, start in zip(drawn, starts, strict=True)]
    return np.array(rows, dtype=np.int64)


def joined_windows(
    documents: Sequence[Sequence[int]], *, seq_len: int = 128, separator: Sequence[int] = ()
) -> NDArray[np.int64]:
    """Join all documents and cut them into windows that do not overlap; what is left at the end is dropped.

    The text of a perplexity as the field measures it on WikiText (arXiv 2411.15558, metric "PPL").

    Parameters
    ----------
    documents : sequence of sequences of int
        Token ids.
    seq_len : int, default=128
        Tokens of a window, at least 2.
    separator : sequence of int
        Tokens between two documents, those of a blank line for instance.

    Returns
    -------
    ndarray of int64, shape (n, seq_len)

    Raises
    ------
    DataError
        If all documents together are shorter than one window.
    RecipeError
        If ``seq_len`` is too small.

    Examples
    --------
    >>> joined_windows([[1, 2, 3], [4], [5, 6]], seq_len=3, separator=[0]).tolist()
    [[1, 2, 3], [0, 4, 0]]
    """
    _require_length("joined_windows", seq_len)
    parts: list[Sequence[int]] = []
    for tokens in documents:
        parts += [separator, tokens] if parts else [tokens]
    joined = np.concatenate([np.zeros(0, np.int64), *(np.asarray(part, dtype=np.int64) for part in parts)])
    n = len(joined) // seq_len
    if not n:
        raise DataError(
            f"The {len(documents)} documents have {len(joined)} tokens together, less than one window of {seq_len}; "
            "give more text or ask for shorter windows."
        )
    return joined[: n * seq_len].reshape(n, seq_len)


def window_batches(
    criterion: str, network: Any, windows: NDArray[np.int64], batch_size: int
) -> list[NDArray[np.int64]]:
    """Positions of the windows that the network reads at a time.

    Raises
    ------
    DataError
        If the windows are not token ids of this network, of shape (n, seq_len) with n >= 1 and seq_len >= 2.
    RecipeError
        If ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise parameter_error(criterion, "batch_size", "an int >= 1", batch_size)
    if windows.ndim != 2 or not len(windows) or windows.shape[1] < 2 or windows.dtype.kind not in "iu":
        raise DataError(
            f"The windows of {criterion!r} must be token ids of shape (n, seq_len), n >= 1 and seq_len >= 2. "
            f"Got {windows.dtype} of shape {windows.shape} instead."
        )
    known = int(network.get_input_embeddings().weight.shape[0])
    if windows.min() < 0 or windows.max() >= known:
        raise DataError(
            f"The windows of {criterion!r} hold token ids from {windows.min()} to {windows.max()}, and the model knows "
            f"0 to {known - 1}; tokenise with the model's own tokenizer."
        )
    return [np.arange(start, min(start + batch_size, len(windows))) for start in range(0, len(windows), batch_size)]


def counted_tokens(criterion: str, windows: NDArray[np.int64], mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return which tokens of the windows are text: all without a mask.

    Raises
    ------
    DataError
        If the mask is not one bool a token, or leaves none of a window.
    """
    if mask is None:
        return np.ones(windows.shape, dtype=np.bool_)
    if mask.shape != windows.shape or mask.dtype != np.bool_ or not mask.any(axis=1).all():
        raise DataError(
            f"The mask of {criterion!r} must be one bool for each token, at least one of each window true. "
            f"Got {mask.dtype} of shape {mask.shape} for windows of shape {windows.shape} instead."
        )
    return mask


def predicted_tokens(windows: NDArray[np.int64]) -> MaskedTokens:
    """The windows as a loss over each token but the first of each, in nats."""
    everywhere = np.ones(windows.shape, dtype=np.bool_)
    rows = TokenRows.from_lists([str(place) for place in range(len(windows))], list(windows), list(everywhere))
    return MaskedTokens(rows, rows.response, pad_id=0)


def _require_length(owner: str, seq_len: int) -> None:
    if seq_len < 2:
        raise parameter_error(owner, "seq_len", "an int >= 2", seq_len)
