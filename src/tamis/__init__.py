"""tamis: find what cannot be trusted in training data and models, take it out, and keep the evidence.

Public names are imported on first use, so ``import tamis`` is fast and pulls in no numerical library.

Examples
--------
>>> import tamis
>>> sorted(tamis.__all__)[:3]
['DS2', 'DataError', 'Evidence']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tamis.errors import DataError, RecipeError, TamisError

if TYPE_CHECKING:
    from tamis.curate import DS2
    from tamis.curate.rating import Rubric, rate
    from tamis.curate.tokens import TokenCleaner, self_evolving
    from tamis.data import Signal, Table, read, read_answers, read_llm_labels, write
    from tamis.data.token_rows import TokenRows
    from tamis.evidence import Evidence
    from tamis.forget import UGradSL
    from tamis.models.chat_tokens import encode_chats
    from tamis.neighbors import NeighborGraph, knn_graph
    from tamis.noise import TransitionMatrix, estimate_transition
    from tamis.people import PeerPrediction
    from tamis.prune import LayerPruner, LayerScores
    from tamis.recipe import Recipe
    from tamis.report import write_report
    from tamis.runs import Run
    from tamis.select import Selection
    from tamis.train import token_losses

__version__ = "0.1.0"

_HOMES = {
    "DS2": "tamis.curate",
    "Evidence": "tamis.evidence",
    "LayerPruner": "tamis.prune",
    "LayerScores": "tamis.prune",
    "NeighborGraph": "tamis.neighbors",
    "PeerPrediction": "tamis.people",
    "Recipe": "tamis.recipe",
    "Rubric": "tamis.curate.rating",
    "Run": "tamis.runs",
    "Selection": "tamis.select",
    "Signal": "tamis.data",
    "Table": "tamis.data",
    "TokenCleaner": "tamis.curate.tokens",
    "TokenRows": "tamis.data.token_rows",
    "TransitionMatrix": "tamis.noise",
    "UGradSL": "tamis.forget",
    "encode_chats": "tamis.models.chat_tokens",
    "estimate_transition": "tamis.noise",
    "knn_graph": "tamis.neighbors",
    "rate": "tamis.curate.rating",
    "read": "tamis.data",
    "read_answers": "tamis.data",
    "read_llm_labels": "tamis.data",
    "self_evolving": "tamis.curate.tokens",
    "token_losses": "tamis.train",
    "write": "tamis.data",
    "write_report": "tamis.report",
}

__all__ = [
    "DS2",
    "DataError",
    "Evidence",
    "LayerPruner",
    "LayerScores",
    "NeighborGraph",
    "PeerPrediction",
    "Recipe",
    "RecipeError",
    "Rubric",
    "Run",
    "Selection",
    "Signal",
    "Table",
    "TamisError",
    "TokenCleaner",
    "TokenRows",
    "TransitionMatrix",
    "UGradSL",
    "__version__",
    "encode_chats",
    "estimate_transition",
    "knn_graph",
    "rate",
    "read",
    "read_answers",
    "read_llm_labels",
    "self_evolving",
    "token_losses",
    "write",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tamis' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
