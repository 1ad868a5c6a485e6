"""One process of several that train a small network together: ``python one_of_several.py FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path, name: str) -> None:
    """Train, and write the weights and what was returned to ``<name>.json``."""
    import torch

    from tamis.train import TrainSettings, train

    class Squares:
        """Points of weights 1 and 2 and unequal lengths; 9 in all, so that the last step has a single one."""

        x = torch.linspace(-1, 1, 9)[:, None]
        weights = 1.0 + np.arange(9) % 2
        lengths = 1 + np.arange(9)

        def __len__(self):
            return 9

        def loss(self, network, positions):
            scale = torch.from_numpy(self.weights[positions]).float()
            return (scale * (network(self.x[positions])[:, 0] - self.x[positions, 0] ** 2) ** 2).sum()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    settings = TrainSettings(batch_rows=4, micro_tokens=10, epochs=1, learning_rate=0.1, clip=0.5, eval_every=1)
    values = iter(range(9))
    offset = 0 if name == "0" else 10  # what other processes measure does not count
    trained = train(network, Squares(), settings, folder=folder, held_out=lambda _: next(values) + offset)
    weights = torch.cat([tensor.flatten() for tensor in network.parameters()]).tolist()
    (folder / f"{name}.json").write_text(json.dumps({"weights": weights, **trained.to_json()}))


if __name__ == "__main__":
    import os

    main(Path(sys.argv[1]), os.environ["RANK"])
