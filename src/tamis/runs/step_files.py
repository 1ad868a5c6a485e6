"""Frames and arrays in a step's folder, whole or absent, always with the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tamis.runs import atomic_path


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame as Parquet."""
    with atomic_path(path) as temporary:
        frame.write_parquet(temporary, statistics=False)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array as ``.npy``."""
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)
