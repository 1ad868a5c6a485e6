"""Surgery: cut layers out of a checkpoint or of a live model, so that what is left is an ordinary model again.

`Checkpoint.open` reads the headers of a folder. `pruned_config` says what the configuration of the cut model is, and
`require_same_layers` proves that every kept layer stays what it was under it. `write_cut` then copies the kept layers
on disk, without torch; `cut_network` does the same to a model in memory. `mergekit_yaml` writes the cut as a recipe.
"""

from tamis.prune.surgery.checkpoint import Checkpoint
from tamis.prune.surgery.config import pruned_config
from tamis.prune.surgery.in_memory import cut_network
from tamis.prune.surgery.mergekit import mergekit_yaml
from tamis.prune.surgery.same_layers import require_same_layers
from tamis.prune.surgery.streaming import write_cut

__all__ = ["Checkpoint", "cut_network", "mergekit_yaml", "pruned_config", "require_same_layers", "write_cut"]
