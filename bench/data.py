"""Seeded data that the benchmarks share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 16384


def clustered_unit_vectors(n: int, d: int, n_centres: int, seed: int, *, cosine: float = 0.7) -> NDArray[np.float32]:
    """Return ``n`` unit vectors around ``n_centres`` random centres, like sentence embeddings around topics.

    Each vector is ``cosine * centre + sqrt(1 - cosine**2) * noise`` with a random centre and isotropic noise of
    expected length one, scaled to length one. Two vectors of one centre have a cosine of about ``cosine**2``.

    Parameters
    ----------
    n, d : int
        Rows and dimensions.
    n_centres : int
        Centres, drawn uniformly from the sphere; rows choose theirs uniformly.
    seed : int
        The same seed gives the same vectors; the first rows do not depend on ``n``, in steps of 16,384.
    cosine : float, default=0.7
        Typical cosine to the centre.

    Returns
    -------
    ndarray of shape (n, d), float32
        Beyond it, only the centres and one block are held.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_centres, d), dtype=np.float32)
    centres *= np.float32(cosine) / np.linalg.norm(centres, axis=1, keepdims=True)
    noise_scale = np.float32(np.sqrt((1.0 - cosine**2) / d))
    X = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        block = X[start : start + _BLOCK_ROWS]
        rng.standard_normal(dtype=np.float32, out=block)
        block *= noise_scale
        block += centres[rng.integers(n_centres, size=block.shape[0])]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return X
