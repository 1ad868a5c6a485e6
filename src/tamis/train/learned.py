"""What a network learned, as one file: the weights that changed, put back on top of the model that they changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.errors import RunStateError
from tamis.runs.atomic import atomic_path
from tamis.train.checkpoint import copied, put
from tamis.train.settings import TrainSettings
from tamis.train.tuning import merge, prepare


def save_learned(network: Any, path: Path) -> None:
    """Write the weights of a prepared network that learn, as safetensors.

    Parameters
    ----------
    network : transformers.PreTrainedModel or peft.PeftModel
        As :func:`~tamis.train.tuning.prepare` returned it.
    path : Path
    """
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file(copied(network), temporary)


def with_learned(network: Any, path: Path, settings: TrainSettings) -> Any:
    """Return a network with what :func:`save_learned` wrote, adapters merged.

    Parameters
    ----------
    network : transformers.PreTrainedModel
        The one that training began with. It is changed in place.
    path : Path
    settings : TrainSettings
        Those of the training: they say which weights learned.

    Raises
    ------
    RunStateError
        If the file is damaged, or belongs to another model or other settings.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    prepared, _ = prepare(network, settings)
    try:
        put(prepared, load_file(path))
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise RunStateError(
            f"The trained weights {path} do not fit the model ({type(error).__name__}: {error}); delete the step's "
            "folder and resume."
        ) from error
    return merge(prepared).eval().requires_grad_(False)
