"""Who executes the shards of a step. Engines only schedule; correctness and resume live in ``runs``."""

from tamis.engine.base import Engine, get_engine

__all__ = ["Engine", "get_engine"]
