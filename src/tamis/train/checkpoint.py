"""Checkpoints without pickle: tensors as safetensors, the rest as JSON, whole or absent, the newest kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import RunStateError
from tamis.runs.digests import DIGEST_BYTES, digest_json
from tamis.runs.whole_folder import clear_temporary_folders, whole_folder
from tamis.train.batches import Batches
from tamis.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "checkpoint-"
_PROBED = 16


class Checkpoints:
    """The checkpoint of a training run: ``checkpoint-<step>`` in its folder.

    Parameters
    ----------
    folder : Path
        It must exist. One process writes to it at a time.
    key : str
        Digest of everything the run's result depends on.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key

    def load(self, network: Any, optimizer: Any) -> tuple[dict[str, Any], dict[str, Tensor] | None] | None:
        """Put the newest checkpoint into a network and its optimiser.

        Returns
        -------
        state : dict
        best : dict of Tensor or None
            As they were saved; None in place of both if there is no checkpoint.

        Raises
        ------
        RunStateError
            If it belongs to other settings, data or weights, or cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        newest = max(self._folder.glob(f"{_PREFIX}*"), default=None)
        if newest is None:
            return None
        try:
            state: dict[str, Any] = json.loads((newest / "state.json").read_text(encoding="utf-8"))
            if state["key"] != self._key:
                raise RunStateError(
                    f"The checkpoint {newest} belongs to a training run with other settings, data or weights; "
                    "train in another folder, or delete this one to start anew."
                )
            put(network, load_file(newest / "network.safetensors"))
            _put_moments(optimizer, load_file(newest / "optimizer.safetensors"))
            best = newest / "best.safetensors"
            return state["state"], load_file(best) if best.exists() else None
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise RunStateError(
                f"The checkpoint {newest} cannot be read ({type(error).__name__}: {error}); delete it to start anew."
            ) from error

    def save(
        self, network: Any, optimizer: Any, state: Mapping[str, Any], *, best: Mapping[str, Tensor] | None = None
    ) -> None:
        """Write a checkpoint and then remove the one before it.

        Parameters
        ----------
        network : torch.nn.Module
            What it changes in training is saved: weights that learn, and buffers.
        optimizer : torch.optim.Optimizer
        state : mapping
            Values of JSON; ``state["steps"]`` names the checkpoint.
        best : mapping of Tensor, optional
            Weights to go back to.

        Raises
        ------
        RunStateError
            If it cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        target = self._folder / f"{_PREFIX}{state['steps']:08d}"
        try:
            clear_temporary_folders(self._folder)
            with whole_folder(target) as temporary:
                save_file(copied(network), temporary / "network.safetensors")
                save_file(_moments(optimizer), temporary / "optimizer.safetensors")
                if best is not None:
                    save_file(dict(best), temporary / "best.safetensors")
                text = json.dumps({"key": self._key, "state": state})
                (temporary / "state.json").write_text(text + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise RunStateError(
                f"The checkpoint {target} cannot be written ({error}); free some space and train again: training goes "
                "on from the checkpoint before."
            ) from error
        for other in self._folder.glob(f"{_PREFIX}*"):
            if other != target:
                shutil.rmtree(other)


def checkpoint_key(network: Any, batches: Batches, settings: TrainSettings) -> str:
    """Digest of what a training run's result depends on.

    Frozen weights count by a few values each, since reading all would take as long as many steps. How often a
    checkpoint is written does not count, nor what memory a micro-batch takes where that changes rounding only.
    """
    import torch

    left_out = {"checkpoint_every"} | ({"micro_tokens"} if settings.normalise == "step" else set())
    kept = {name: value for name, value in settings.to_json().items() if name not in left_out}
    parameters = list(network.named_parameters())
    shapes = [[name, list(each.shape), each.requires_grad] for name, each in parameters]
    frozen = [each.detach().flatten()[:_PROBED].float() for _, each in parameters if not each.requires_grad]
    probe = torch.cat(frozen).cpu().numpy() if frozen else np.zeros(0)
    return digest_json([kept, shapes, *map(_digest, (batches.weights, batches.lengths, probe))])


def _digest(values: NDArray[Any]) -> str:
    return hashlib.blake2b(values.tobytes(), digest_size=DIGEST_BYTES).hexdigest()


def copied(network: Any) -> dict[str, Tensor]:
    """Copies, on the CPU, of the weights that learn and of the buffers that belong to the model's state."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in _changing(network).items()}


def put(network: Any, tensors: Mapping[str, Tensor]) -> None:
    """Put copies back into the network that they were made of."""
    import torch

    with torch.no_grad():
        for name, tensor in _changing(network).items():
            tensor.copy_(tensors[name])


def _changing(network: Any) -> dict[str, Any]:
    kept = network.state_dict(keep_vars=True).keys()
    buffers = {name: buffer for name, buffer in network.named_buffers() if name in kept}
    return {name: each for name, each in network.named_parameters() if each.requires_grad} | buffers


def _names(optimizer: Any) -> list[str]:
    return [name for group in optimizer.param_groups for name in group["param_names"]]


def _moments(optimizer: Any) -> dict[str, Tensor]:
    names = _names(optimizer)
    return {
        f"{key}/{names[index]}": value.detach().cpu().contiguous()
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def _put_moments(optimizer: Any, tensors: Mapping[str, Tensor]) -> None:
    index_of = {name: index for index, name in enumerate(_names(optimizer))}
    state: dict[int, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        key, _, name = full.partition("/")
        state.setdefault(index_of[name], {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
