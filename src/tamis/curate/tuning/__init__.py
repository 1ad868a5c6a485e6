"""Masked fine-tuning: train a model on the tokens that a run has kept, and measure what that did."""

from tamis.curate.tuning.arms import ARMS, arm_mask

__all__ = ["ARMS", "arm_mask"]
