"""Layer pruning: take whole layers out of a decoder, heal what is left, show what it cost (arXiv 2411.15558)."""

from tamis.prune.layer_scores import LayerScores
from tamis.prune.pruner import LayerPruner

__all__ = ["LayerPruner", "LayerScores"]
