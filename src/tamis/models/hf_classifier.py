"""Sequence and image classifiers of transformers in folders: what they are, their classes, weights and processors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tamis.errors import DataError, RecipeError
from tamis.models._transformers import first_line, quiet, require

CONFIG = "config.json"
PROCESSORS = ("tokenizer*", "vocab*", "merges.txt", "added_tokens.json", "special_tokens_map.json", "*.model",
              "bpe.codes", "dict.txt", "preprocessor_config.json", "processor_config.json")  # fmt: skip
"""Names of the files that turn texts and images into inputs."""
_IMAGES = "preprocessor_config.json"
_HEADS = {"ForSequenceClassification": ("text", "AutoModelForSequenceClassification"),
          "ForImageClassification": ("image", "AutoModelForImageClassification")}  # fmt: skip


def configuration(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says; empty if there is none.

    Raises
    ------
    DataError
        If it is no such file.
    """
    path = folder / CONFIG
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is no model configuration: {error}.") from error


def kind_and_class(folder: Path) -> tuple[str, str] | None:
    """Return ``"text"`` or ``"image"`` with the name of transformers' auto class; None if it is neither.

    Raises
    ------
    RecipeError
        If an example may have several labels.
    """
    said = configuration(folder)
    for name in said.get("architectures") or []:
        for ending, found in _HEADS.items():
            if str(name).endswith(ending):
                if said.get("problem_type") == "multi_label_classification":
                    raise RecipeError(f"The model in {folder} gives an example several labels; expected one of each.")
                return found
    return None


def class_names(folder: Path) -> list[str]:
    """Names of the classes by ``id2label``, in their order; empty if it has none."""
    names = configuration(folder).get("id2label") or {}
    return [str(names[number]) for number in sorted(names, key=int)]


def processor_files(folder: Path) -> list[Path]:
    """Files of the tokenizer or image processor, in order of their names."""
    return sorted({path for name in PROCESSORS for path in folder.glob(name) if path.is_file()})


def copy_processor(folder: Path, target: Path) -> None:
    """Copy the files of the tokenizer or image processor, as they are."""
    for path in processor_files(folder):
        shutil.copyfile(path, target / path.name)


def load_processor(folder: Path) -> Any:
    """Load the tokenizer of a text classifier, or the image processor of an image classifier.

    Raises
    ------
    DataError
        If it is missing or cannot be loaded.
    """
    require("transformers")
    import transformers

    kind, _ = _required(folder)
    has = (folder / _IMAGES).is_file() if kind == "image" else bool(processor_files(folder))
    what, auto = ("image processor", "AutoImageProcessor") if kind == "image" else ("tokenizer", "AutoTokenizer")
    if not has:  # transformers would make a tokenizer without words
        raise DataError(
            f"The folder {folder} has no {what}; save it beside the model with {what.split()[-1]}.save_pretrained."
        )
    try:
        with quiet():
            return getattr(transformers, auto).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DataError(f"The {what} in {folder} cannot be loaded: {first_line(error)}.") from error


def load(folder: Path) -> Any:
    """Load a classifier in evaluation mode and float32.

    Raises
    ------
    DataError
        If it cannot be loaded, or lacks weights.
    """
    network, said = _from_pretrained(folder, folder, ignore_mismatched_sizes=True)
    lacking = sorted([*said["missing_keys"], *(name for name, *_ in said["mismatched_keys"])])
    if lacking:
        raise DataError(
            f"The classifier in {folder} lacks the weights {', '.join(lacking[:3])}{' and more' * (len(lacking) > 3)}, "
            "or they have other shapes than config.json says; fine-tune it first, and save it again."
        )
    return network.float().eval()


def untrained(folder: Path) -> Any:
    """Make the classifier with random weights, drawn from torch's random numbers."""
    auto, config = _auto(folder)
    with quiet():
        return auto.from_config(config).float().eval()


def started_from(folder: Path, start: Path) -> Any:
    """Make the classifier with the weights of a pretrained checkpoint; those that it lacks, as of the head, are random.

    Raises
    ------
    DataError
        If the checkpoint cannot be loaded, or belongs to another architecture.
    """
    network, said = _from_pretrained(folder, start, ignore_mismatched_sizes=True)
    body = network.base_model_prefix + "."
    wrong = [name for name, *_ in said["mismatched_keys"] if name.startswith(body)]
    lacking = len(said["missing_keys"]) + len(wrong)
    if wrong or 2 * lacking > len(network.state_dict()):
        raise DataError(
            f"{folder} was not fine-tuned from {start}: {lacking} of its {len(network.state_dict())} tensors are "
            "missing there or have other shapes; give the checkpoint that it began from."
        )
    return network.float().eval()


def _from_pretrained(folder: Path, weights: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    auto, config = _auto(folder)
    from safetensors import SafetensorError

    try:
        with quiet():
            found: tuple[Any, dict[str, Any]] = auto.from_pretrained(
                weights, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(f"The classifier in {weights} cannot be loaded: {first_line(error)}.") from error
    return found


def _auto(folder: Path) -> tuple[Any, Any]:
    require("torch", "transformers")
    import transformers

    _, name = _required(folder)
    try:
        return getattr(transformers, name), transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"The classifier in {folder} cannot be loaded: {first_line(error)}.") from error


def _required(folder: Path) -> tuple[str, str]:
    found = kind_and_class(folder)
    if found is None:
        raise RecipeError(f"The folder {folder} holds no sequence or image classifier of transformers.")
    return found
