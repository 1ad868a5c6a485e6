"""Token Cleaning: score the tokens of a fine-tuning set by two models, keep the share that carries the loss."""

from tamis.curate.tokens.cleaner import TokenCleaner
from tamis.curate.tokens.stages import self_evolving

__all__ = ["TokenCleaner", "self_evolving"]
