"""One small world for each registered method: what the contract suite needs to know about it, and nothing more.

A new method adds a module and an entry to ``WORLDS``; the suite then runs over it.
"""

from .ds2 import DS2World
from .forget import ForgetWorld
from .peers import PeersWorld
from .prune import PruneWorld
from .tokens import TokensWorld
from .world import EditorWorld, SelectorWorld, World

__all__ = ["WORLDS", "EditorWorld", "SelectorWorld", "World"]

WORLDS: dict[str, type[World]] = {
    "ds2": DS2World,
    "forget": ForgetWorld,
    "peers": PeersWorld,
    "prune": PruneWorld,
    "tokens": TokensWorld,
}
