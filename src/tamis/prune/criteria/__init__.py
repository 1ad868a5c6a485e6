"""Criteria: which layers of a language model can go, as scores of layers of which the lowest is pruned first.

Read the text with `calibration_windows`, or `joined_windows` for perplexities. Each criterion is a function of a
network and windows: `block_influence`, `angular_block`, `taylor`, `losses_without` with `perplexity`, `sleb`.
`layer_magnitude` needs the tensors of a layer alone, `reverse_scores` and `random_scores` nothing. `skipped` shows a
network without some layers, uncut.
"""

from tamis.prune.criteria.angular import AngularBlocks, angular_block
from tamis.prune.criteria.block_influence import block_influence
from tamis.prune.criteria.flow import layer_flow
from tamis.prune.criteria.leave_one_out import SlebOrder, losses_without, perplexity, sleb, window_losses
from tamis.prune.criteria.magnitude import layer_magnitude
from tamis.prune.criteria.order import random_scores, require_finite, reverse_scores
from tamis.prune.criteria.skipping import skipped
from tamis.prune.criteria.taylor import taylor
from tamis.prune.criteria.windows import calibration_windows, joined_windows

__all__ = [
    "AngularBlocks",
    "SlebOrder",
    "angular_block",
    "block_influence",
    "calibration_windows",
    "joined_windows",
    "layer_flow",
    "layer_magnitude",
    "losses_without",
    "perplexity",
    "random_scores",
    "require_finite",
    "reverse_scores",
    "skipped",
    "sleb",
    "taylor",
    "window_losses",
]
