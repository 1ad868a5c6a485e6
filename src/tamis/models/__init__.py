"""Models that measure: embedders, with a cache so that no text is embedded twice; judges, with one for replies.

The public names are imported on first use, so that a module of this package that needs no numbers loads none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.models.embedder import Embedder, get_embedder
    from tamis.models.embedding import embed_texts, read_vectors
    from tamis.models.vector_store import VectorStore

_HOMES = {
    "Embedder": "tamis.models.embedder",
    "VectorStore": "tamis.models.vector_store",
    "embed_texts": "tamis.models.embedding",
    "get_embedder": "tamis.models.embedder",
    "read_vectors": "tamis.models.embedding",
}

__all__ = ["Embedder", "VectorStore", "embed_texts", "get_embedder", "read_vectors"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tamis.models' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
