"""Models that measure: embedders, with a cache so that no text is embedded twice."""

from tamis.models.embedder import Embedder, get_embedder
from tamis.models.embedding import embed_texts, read_vectors
from tamis.models.vector_store import VectorStore

__all__ = ["Embedder", "VectorStore", "embed_texts", "get_embedder", "read_vectors"]
