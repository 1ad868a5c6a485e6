"""Small worlds with known truth: an OpenAI-compatible server whose every answer and every fault is known beforehand.

Nothing here is needed to curate data. It is for trying a recipe without a bill, for tests and for benches. The names
are loaded when they are asked for, so that ``python -m tamis.toy.endpoint`` starts the module once.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.toy.answers import prompt_digest, true_rating
    from tamis.toy.endpoint import Endpoint
    from tamis.toy.faults import FAULTS, FaultSchedule

__all__ = ["FAULTS", "Endpoint", "FaultSchedule", "prompt_digest", "true_rating"]

_MODULES = {
    "FAULTS": "faults",
    "FaultSchedule": "faults",
    "Endpoint": "endpoint",
    "prompt_digest": "answers",
    "true_rating": "answers",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
