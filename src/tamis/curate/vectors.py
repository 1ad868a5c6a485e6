"""The vectors of a pool as a step of a run: brought by the user, or embedded once."""

from __future__ import annotations

import time

import numpy as np

from tamis.data import Table, text_digests
from tamis.engine import Engine
from tamis.models import embed_texts, get_embedder, read_vectors
from tamis.runs import Run, digest_file, digest_json
from tamis.runs.step_files import save_array
from tamis.runs.steps import Progress

VERSION = 1


def pool_vectors(
    run: Run, table: Table, *, embedder: str, engine: Engine, progress: Progress | None
) -> tuple[np.ndarray, dict[str, str]]:
    """Return the vectors in row order, and what they came from: the part of later keys that stands for them.

    Parameters
    ----------
    run : Run
        If its recipe has the input ``embeddings``, they are read from there.
    table : Table
        n records.
    embedder : str
        Who embeds them otherwise.
    engine : Engine
    progress : callable or None

    Returns
    -------
    vectors : ndarray of shape (n, d), float32
    source : dict of str to str
    """
    if "embeddings" in run.recipe.inputs:
        given = run.recipe.inputs["embeddings"]
        return read_vectors(given, n_rows=len(table), ids=table.ids.to_list()), {"embeddings": digest_file(given)}
    chosen, texts = get_embedder(embedder), table.texts()
    source = {"embedder": chosen.fingerprint, "texts": digest_json(text_digests(texts))}
    step = run.step("embed", version=VERSION, **source)
    path = step.folder / "vectors.npy"
    if not step.complete:
        started = time.monotonic()
        vectors = embed_texts(texts, embedder=chosen, engine=engine, progress=progress)
        save_array(path, vectors)
        step.finish(units=len(texts), embedder=chosen.name, seconds=time.monotonic() - started)
    return np.load(path, mmap_mode="r", allow_pickle=False), source
