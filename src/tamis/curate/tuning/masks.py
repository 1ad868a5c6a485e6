"""The mask file of a token run, and which of its records are held out."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.token_rows import TokenRows, flat_of
from tamis.errors import DataError
from tamis.recipe import Recipe
from tamis.runs.digests import derive_seed

Mask = NDArray[np.bool_]


def read_masks(recipe: Recipe) -> tuple[TokenRows, Mask, NDArray[np.float32]]:
    """Read the tokens, the mask and the scores that a recipe names, records in the order of their ids.

    Raises
    ------
    DataError
        If the file is no mask file.
    """
    path = recipe.input_path("tokens")
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} is no mask file ({type(error).__name__}); give a run of 'tamis tokens'.") from error
    for name in ("unit_id", "input_ids", "response", "keep", "score"):
        if name not in frame.columns:
            raise DataError(f"{path} is no mask file: it has no column {name!r}; give a run of 'tamis tokens'.")
    frame = frame.sort("unit_id")
    rows = TokenRows.from_frame(frame)
    for name in ("keep", "score"):
        if not isinstance(frame.schema[name], pl.List) or frame[name].list.len().to_list() != rows.lengths.tolist():
            raise DataError(f"{path} is no mask file: the column {name!r} must hold a list with one value a token.")
    return rows, flat_of(frame["keep"], np.bool_), flat_of(frame["score"], np.float32)


def split_records(rows: TokenRows, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the records to train on and of those held out, both in order."""
    usable = np.flatnonzero(np.bincount(rows.row_of[rows.response], minlength=len(rows)))
    n = round(share * len(usable)) if share else 0
    if share:
        n = max(1, n)
    if n >= len(usable):
        raise DataError(f"Of {len(usable)} records with an answer, {n} held out leave none to train on.")
    drawn = np.random.default_rng(derive_seed(seed, "held out")).permutation(usable)
    return np.sort(drawn[n:]), np.sort(drawn[:n])
