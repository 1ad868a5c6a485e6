"""A checkpoint by its headers: which tensors are where, and which layer each belongs to. Weights stay on disk."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import DataError
from tamis.prune.surgery.layer_keys import OTHER_TOWERS, layer_count, refuse_encoder_decoder
from tamis.prune.surgery.safetensors_header import TensorPlace, read_header

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_NUMBERED = re.compile(r"(.*?(?:^|\.))(\d+)\.(.+)")


@dataclass(frozen=True)
class Checkpoint:
    """A folder as transformers' ``save_pretrained`` writes it, read up to the headers of its files.

    Attributes
    ----------
    folder : Path
    config : dict
        ``config.json`` as it stands.
    n_layers : int
    prefix : str
        What the names of the layers' tensors begin with, such as ``"model.layers."``; the index follows.
    tensors : dict of str to TensorPlace
        In the order of the files and of the bytes within.
    """

    folder: Path
    config: dict[str, Any]
    n_layers: int
    prefix: str
    tensors: dict[str, TensorPlace]

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Read configuration and headers.

        Raises
        ------
        DataError
            If a file is missing, cut short or damaged, if the index does not say what the files hold, or if the layers
            cannot be told from the names of the tensors.
        RecipeError
            If the model has an encoder and a decoder.
        """
        config = _read_json(folder / "config.json")
        refuse_encoder_decoder(config)
        tensors = _read_tensors(folder)
        n_layers, prefix = _find_layers(folder, config, tensors)
        return cls(folder, config, n_layers, prefix, tensors)

    def layer_of(self, name: str) -> int | None:
        """Index of the layer that a tensor belongs to, None for embeddings, final norm, head and other towers."""
        if not name.startswith(self.prefix):
            return None
        return int(name[len(self.prefix) :].partition(".")[0])

    def names_of(self, layer: int) -> list[str]:
        """Names of the tensors of a layer."""
        return [name for name in self.tensors if self.layer_of(name) == layer]

    def kept_tensors(self, kept: Iterable[int]) -> dict[str, TensorPlace]:
        """The tensors of these layers and of no layer."""
        layers = {None, *kept}
        return {name: place for name, place in self.tensors.items() if self.layer_of(name) in layers}

    def n_parameters(self, kept: Iterable[int] | None = None) -> int:
        """Numbers stored, with all layers or only those to keep; a tied matrix counts as often as it is stored."""
        tensors = self.tensors if kept is None else self.kept_tensors(kept)
        return sum(place.n_elements for place in tensors.values())

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(place.n_bytes for place in self.tensors.values())

    @property
    def dtype_bytes(self) -> dict[str, int]:
        """Bytes by dtype, most first."""
        counts: Counter[str] = Counter()
        for place in self.tensors.values():
            counts[place.dtype] += place.n_bytes
        return dict(counts.most_common())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"The folder {path.parent} has no {path.name}; expected a model as transformers' save_pretrained writes it."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a JSON {type(content).__name__}, expected an object.")
    return content


def _read_tensors(folder: Path) -> dict[str, TensorPlace]:
    if (folder / WEIGHTS).exists():
        tensors = read_header(folder / WEIGHTS)
    elif (folder / INDEX).exists():
        tensors = _read_shards(folder)
    else:
        raise DataError(f"The folder {folder} has neither {WEIGHTS} nor {INDEX}{_instead(folder)}.")
    if not tensors:
        raise DataError(f"The folder {folder} holds no tensors.")
    return tensors


def _instead(folder: Path) -> str:
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        return (
            "; convert its pickled weights once: python -c 'from transformers import AutoModelForCausalLM as A; "
            'A.from_pretrained("OLD", dtype="auto").save_pretrained("NEW")\' and copy the tokenizer'
        )
    return "; expected a model as transformers' save_pretrained writes it"


def _read_shards(folder: Path) -> dict[str, TensorPlace]:
    index = folder / INDEX
    listed = _read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
        raise DataError(f"{index} has no weight_map from names of tensors to files; fetch it again.")
    tensors: dict[str, TensorPlace] = {}
    for file in sorted(set(listed.values())):
        if Path(file).name != file:
            raise DataError(f"{index} names the file {file!r}, expected one in the same folder.")
        if not (folder / file).exists():
            raise DataError(f"The shard {folder / file} is missing, though {INDEX} names it; fetch it again.")
        held = read_header(folder / file)
        for name in held:
            if listed.get(name) != file:
                where = f"in {listed[name]}" if name in listed else "nowhere"
                raise DataError(f"{index} does not fit: {file} holds the tensor {name!r}, by the index it is {where}.")
        tensors |= held
    missing = next((name for name in listed if name not in tensors), None)
    if missing is not None:
        raise DataError(f"{index} does not fit: by it {listed[missing]} holds the tensor {missing!r}, but it does not.")
    return tensors


def _find_layers(folder: Path, config: dict[str, Any], tensors: Iterable[str]) -> tuple[int, str]:
    """The number of layers and the prefix whose numbers are 0 to that."""
    numbers: dict[str, set[int]] = {}
    for name in tensors:
        if match := _NUMBERED.match(name):
            numbers.setdefault(match[1], set()).add(int(match[2]))
    numbers = {prefix: found for prefix, found in numbers.items() if not OTHER_TOWERS.search(prefix)} or numbers
    count = layer_count(config)
    if count is None:
        whole = [prefix for prefix, found in numbers.items() if found == set(range(len(found)))]
        count = len(numbers[whole[0]]) if len(whole) == 1 else None
    if count is None or not numbers:
        raise DataError(
            f"No layers found in {folder}: expected tensors PREFIX.0.NAME to PREFIX.N-1.NAME with the N of config.json "
            f"(num_hidden_layers or n_layer: {count}), found numbers behind {', '.join(numbers) or 'no prefix'}."
        )
    expected = set(range(count))
    matching = [prefix for prefix, found in numbers.items() if found == expected]
    if len(matching) == 1:
        return count, matching[0]
    if matching:
        raise DataError(f"The layers in {folder} are ambiguous: {' and '.join(matching)} both have {count}.")
    prefix = max(numbers, key=lambda each: len(numbers[each] & expected))
    if missing := expected - numbers[prefix]:
        raise DataError(
            f"Layers are missing in {folder}: there are no tensors {prefix}N.* for N = "
            f"{', '.join(map(str, sorted(missing)))}, though config.json says {count} layers."
        )
    beyond = [name for name in tensors if name.startswith(prefix) and int(name[len(prefix) :].split(".")[0]) >= count]
    raise DataError(
        f"{folder} has tensors of layers beyond the {count} of config.json ({beyond[0]} and {len(beyond) - 1} more); "
        "if they are for multi-token prediction, load the model with transformers and save it without them first."
    )
