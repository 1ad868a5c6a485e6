"""What kind of text a token is: word, number, punctuation, white space, end of answer, other."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

CLASSES = ("word", "number", "punctuation", "symbol", "white space", "end of answer", "part of a character", "other")
_OF_CATEGORY = {"L": "word", "M": "word", "N": "number", "P": "punctuation", "S": "symbol", "Z": "white space"}
BROKEN = "\N{REPLACEMENT CHARACTER}"


def token_class(text: str, *, special: bool = False) -> str:
    r"""Class of a token by its first character that is no white space.

    Examples
    --------
    >>> [token_class(text) for text in (" the", "42", ").", " +", "\n\n")]
    ['word', 'number', 'punctuation', 'symbol', 'white space']
    """
    if special:
        return "end of answer"
    stripped = text.strip()
    if not stripped:
        return "white space" if text else "other"
    if BROKEN in stripped:
        return "part of a character"
    return _OF_CATEGORY.get(unicodedata.category(stripped[0])[0], "other")


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Text of each token by itself; half a character is U+FFFD."""
    return list(
        tokenizer.batch_decode([[i] for i in ids], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )


class Vocabulary:
    """Texts and classes of the tokens that occur, looked up for whole arrays at once.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    ids : ndarray of int32
        All ids that will be asked for.
    """

    def __init__(self, tokenizer: Any, ids: NDArray[np.int32]) -> None:
        self.known = np.unique(ids)
        self.texts = token_texts(tokenizer, self.known.tolist())
        special = set(tokenizer.all_special_ids)
        classes = [
            token_class(text, special=i in special) for text, i in zip(self.texts, self.known.tolist(), strict=True)
        ]
        self._classes = np.array([CLASSES.index(name) for name in classes], dtype=np.int8)

    def classes(self, ids: NDArray[np.int32]) -> NDArray[np.int8]:
        """Index into :data:`CLASSES` of each token."""
        found: NDArray[np.int8] = self._classes[np.searchsorted(self.known, ids)]
        return found

    def text(self, ids: NDArray[np.int32]) -> list[str]:
        """Text of each token."""
        return [self.texts[i] for i in np.searchsorted(self.known, ids).tolist()]


def valued_ngrams(
    ids: NDArray[np.int32],
    score: NDArray[np.float32],
    kept: NDArray[np.bool_],
    row_of: NDArray[np.int64],
    *,
    n: int = 3,
    fewest: int = 3,
    shown: int = 12,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Runs of n ranked tokens with the highest and the lowest mean score.

    Parameters
    ----------
    ids, score, kept, row_of : ndarray, shape (T,)
        ``score`` is nan where a token is not ranked; such runs do not count.
    n : int, default 3
    fewest : int, default 3
        Records that a run must occur in.
    shown : int, default 12

    Returns
    -------
    most, least : polars.DataFrame
        Columns ``ids`` (list), ``n`` (occurrences), ``records``, ``score``, ``low``, ``high`` (a normal interval over
        occurrences) and ``kept`` (share of the tokens).
    """
    if len(ids) < n:
        ids, score, kept, row_of = ids[:0], score[:0], kept[:0], row_of[:0]
    width = max(len(ids) - n + 1, 0)
    frame = pl.DataFrame(
        {
            **{f"t{i}": ids[i : width + i] for i in range(n)},
            "row": row_of[:width],
            "last": row_of[n - 1 : width + n - 1],
            "score": sum(score[i : width + i].astype(np.float64) for i in range(n)) / n if width else np.zeros(0),
            "kept": sum(kept[i : width + i].astype(np.float64) for i in range(n)) / n if width else np.zeros(0),
        }
    )
    names = [f"t{i}" for i in range(n)]
    found = (
        frame.lazy()
        .filter((pl.col("row") == pl.col("last")) & pl.col("score").is_finite())
        .group_by(names)
        .agg(pl.len().alias("n"), pl.col("row").n_unique().alias("records"), pl.col("score").mean(),
             pl.col("score").std().alias("sd"), pl.col("kept").mean())
        .filter(pl.col("records") >= fewest)
        .with_columns(half=1.96 * pl.col("sd") / pl.col("n").sqrt())
        .with_columns(ids=pl.concat_list(names), low=pl.col("score") - pl.col("half"),
                      high=pl.col("score") + pl.col("half"))
        .sort("score", *names, descending=[True, *[False] * n])
        .select("ids", "n", "records", "score", "low", "high", "kept")
        .collect()
    )  # fmt: skip
    half = -(-found.height // 2)
    return found.head(min(shown, half)), found.tail(min(shown, found.height - half)).reverse()
