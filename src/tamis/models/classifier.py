"""Classifiers on this machine: a folder of safetensors with a description, or a model of transformers."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import DataError, RecipeError
from tamis.models import hf_classifier
from tamis.models._transformers import first_line, quiet, require
from tamis.models.small_networks import make_network
from tamis.runs.digests import digest_file, digest_json

DESCRIPTION = "classifier.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class LocalClassifier:
    """A trained classifier in a folder.

    Attributes
    ----------
    name : str
        As the user named it.
    folder : str
    fingerprint : str
        Digest of its files.
    factory : str or None
        ``"module:function"`` that makes the network, where the folder holds weights only.
    """

    name: str
    folder: str
    fingerprint: str
    factory: str | None = None

    @property
    def title(self) -> str:
        """The folder's own name."""
        return Path(self.folder).name


def find_classifier(name: str, *, factory: str | None = None) -> LocalClassifier:
    """Find a classifier; nothing is loaded yet.

    Parameters
    ----------
    name : str
        A folder: weights as ``model.safetensors`` beside ``classifier.json`` (which names one of
        :data:`tamis.models.small_networks.NETWORKS` and its arguments), weights alone with ``factory``, or what
        transformers' ``save_pretrained`` writes of a sequence or image classifier.
    factory : str, optional
        ``"module:function"``, code of the user's own: called without arguments, returns the network.

    Raises
    ------
    RecipeError
        If there is no such folder, or it holds no classifier.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise RecipeError(f"There is no folder {folder}; expected a classifier: {WEIGHTS} and {DESCRIPTION}.")
    own = {path for path in folder.iterdir() if path.suffix in (".json", ".safetensors") and path.is_file()}
    files = sorted(own.union(hf_classifier.processor_files(folder)))
    if not any(path.suffix == ".safetensors" for path in files):
        raise RecipeError(f"The folder {folder} holds no weights; expected {WEIGHTS}.")
    if factory is None and not (folder / DESCRIPTION).is_file() and hf_classifier.kind_and_class(folder) is None:
        classes = ", ".join(map(str, hf_classifier.configuration(folder).get("architectures") or []))
        raise RecipeError(
            f"The folder {folder} holds no classifier that can be loaded: it has neither {DESCRIPTION} nor the "
            f"config.json of a sequence or image classifier ({classes or 'no architectures'}); give --network "
            "MODULE:FUNCTION for weights of your own network."
        )
    fingerprint = digest_json([factory, *([path.name, digest_file(path)] for path in files)])
    return LocalClassifier(name, str(folder.resolve()), fingerprint, factory)


def load_classifier(model: LocalClassifier, *, device: str = "cpu") -> Any:
    """Load a classifier whose weights may be changed, in evaluation mode and float32.

    Raises
    ------
    RecipeError
        If its description or factory makes no network.
    DataError
        If the weights are damaged, or belong to another network.
    """
    require("torch")
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(model.folder)
    if kind_of_inputs(model) is not None:
        return hf_classifier.load(folder).to(device)
    network = untrained_classifier(model)
    if not isinstance(network, torch.nn.Module):
        raise RecipeError(f"{model.factory} returns a {type(network).__name__}; expected a torch.nn.Module.")
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise DataError(f"The weights {folder / WEIGHTS} cannot be read: {first_line(error)}.") from error
    except RuntimeError as error:
        raise DataError(f"The weights {folder / WEIGHTS} belong to another network: {first_line(error)}") from error
    return network.float().eval().to(device)


def untrained_classifier(model: LocalClassifier) -> Any:
    """Make the network with random weights, as its description, configuration or factory says.

    Raises
    ------
    RecipeError
        If there is none of them.
    """
    if model.factory is not None:
        return _factory(model.factory)()
    if kind_of_inputs(model) is not None:
        return hf_classifier.untrained(Path(model.folder))
    said = describe_classifier(model)
    return make_network(str(said["network"]), dict(said.get("arguments") or {}))


def pretrained_classifier(model: LocalClassifier, start: Path) -> Any:
    """Make the network with the weights of the checkpoint that its training began from.

    Raises
    ------
    RecipeError, DataError
        If that is no checkpoint of this network.
    """
    if kind_of_inputs(model) is not None:
        return hf_classifier.started_from(Path(model.folder), start)
    began = load_classifier(find_classifier(str(start), factory=model.factory))
    ours, theirs = (
        {name: tuple(each.shape) for name, each in network.state_dict().items()}
        for network in (untrained_classifier(model), began)
    )
    if ours != theirs:
        raise DataError(f"{model.folder} was not fine-tuned from {start}: their networks have other weights.")
    return began


def kind_of_inputs(model: LocalClassifier) -> str | None:
    """``"text"`` or ``"image"`` of a model of transformers; None of all others, which take one tensor."""
    if model.factory is not None or "network" in describe_classifier(model):
        return None
    found = hf_classifier.kind_and_class(Path(model.folder))
    return None if found is None else found[0]


def describe_classifier(model: LocalClassifier) -> dict[str, Any]:
    """What ``classifier.json`` says: ``network``, ``arguments``, and what else was saved; empty if there is none.

    A model of transformers needs none, and no ``network`` in it; its ``classes`` are those of ``id2label``.

    Raises
    ------
    DataError
        If it is no such description.
    """
    folder = Path(model.folder)
    path = folder / DESCRIPTION
    names = hf_classifier.class_names(folder) if model.factory is None else []
    of_config = {"classes": names} if names else {}
    if not path.is_file():
        return of_config
    try:
        said: dict[str, Any] = {**of_config, **json.loads(path.read_text(encoding="utf-8"))}
        if model.factory is not None or hf_classifier.kind_and_class(folder) is None:
            said["network"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no description of a classifier ({error!r}); expected network and arguments."
        ) from error
    return said


def save_classifier(network: Any, folder: Path, description: dict[str, Any], *, like: Path | None = None) -> None:
    """Write weights and description; a model of transformers writes its own configuration.

    Parameters
    ----------
    network : torch.nn.Module
    folder : Path
    description : dict
        ``network`` and ``arguments``, and what else is to be kept. Empty where a factory makes the network.
    like : Path, optional
        Folder of a model of transformers, whose tokenizer or image processor and description are copied.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(network, "save_pretrained"):
        with quiet():
            network.save_pretrained(folder)
        if like is not None:
            hf_classifier.copy_processor(like, folder)
            if (like / DESCRIPTION).is_file():
                shutil.copyfile(like / DESCRIPTION, folder / DESCRIPTION)
        return
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    if description:
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _factory(name: str) -> Callable[[], Any]:
    module, sign, attribute = name.partition(":")
    if not sign:
        raise RecipeError(f"The network {name!r} must be given as MODULE:FUNCTION.")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"The network {name!r} cannot be imported: {error}.") from error
