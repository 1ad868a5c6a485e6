"""The k-NN graph over embeddings: exact by default, copies merged, a row never its own neighbour.

One graph is built and reused by every method that looks at neighbourhoods. Similarity is the cosine; distance is
``1 - cosine``. Exact search is faiss' brute force followed by a re-ranking whose order depends on the vectors alone, so
that neither the block size nor the number of threads shows in the result.
"""

from tamis.neighbors.approximate import ApproximateIndex, ApproximateSearch, recall_at_k, search_approximate
from tamis.neighbors.blocks import GraphBlock, assemble, query_blocks, search_block
from tamis.neighbors.build import knn_graph
from tamis.neighbors.duplicates import Duplicates, merge_duplicates
from tamis.neighbors.graph import NeighborGraph
from tamis.neighbors.search import search_exact, self_excluded
from tamis.neighbors.similarity import cosine_distance, pair_similarity
from tamis.neighbors.vectors import unit_rows

__all__ = [
    "ApproximateIndex",
    "ApproximateSearch",
    "Duplicates",
    "GraphBlock",
    "NeighborGraph",
    "assemble",
    "cosine_distance",
    "knn_graph",
    "merge_duplicates",
    "pair_similarity",
    "query_blocks",
    "recall_at_k",
    "search_approximate",
    "search_block",
    "search_exact",
    "self_excluded",
    "unit_rows",
]
