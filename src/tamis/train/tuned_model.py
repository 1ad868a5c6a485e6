"""``TunedModel``: a model on this machine with the weights that it has at one point of its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tamis.models.causal_lm import LocalModel, load_own
from tamis.models.lm_head import require_split
from tamis.train.settings import TrainSettings


@dataclass(frozen=True)
class TunedModel:
    """A model with the weights that it has at one point.

    Attributes
    ----------
    model : LocalModel
    learned : tuple of str
        Files of :func:`tamis.train.learned.save_learned`, in the order of training.
    settings : TrainSettings
        Of those trainings.
    dtype, device : str
        As for :func:`tamis.models.causal_lm.load`.
    """

    model: LocalModel
    learned: tuple[str, ...] = ()
    settings: TrainSettings = field(default_factory=TrainSettings)
    dtype: str = "auto"
    device: str = "auto"

    def network(self) -> Any:
        """Load it; a process keeps the last one that it loaded."""
        return _network(self)

    def own(self) -> Any:
        """Load a copy in float32 whose weights may be changed."""
        from tamis.train.learned import with_learned

        network = load_own(self.model, device=self.device)
        for path in self.learned:
            network = with_learned(network, Path(path), self.settings)
        return network


@lru_cache(maxsize=1)
def _network(tuned: TunedModel) -> Any:
    import torch

    if tuned.learned:
        network = tuned.own()
        if tuned.dtype != "auto" or network.device.type != "cpu":
            network = network.to(torch.bfloat16 if tuned.dtype == "auto" else getattr(torch, tuned.dtype))
    else:
        network = load_own(tuned.model, dtype=tuned.dtype, device=tuned.device)
    require_split(network, tuned.model.name)
    return network
